import Foundation
import NIOCore
import NeedletailCore
import NeedletailGRPC
import NeedletailHTTP2
import NeedletailTestSupport
import Testing

private let openssl = ["/usr/bin/openssl", "/usr/local/bin/openssl"].first { FileManager.default.isExecutableFile(atPath: $0) }

@Suite(.timeLimit(.minutes(2)), .enabled(if: openssl != nil)) struct TLSTests {
    @Test func encryptsAndVerifies() async throws {
        let files = try Certificates()
        defer { files.remove() }
        let serverTLS = try HTTP2TLS.server(certificateChain: files["server.pem"], privateKey: files["server.key"])
        let clientTLS = try HTTP2TLS.client(authorities: files["ca.pem"], serverName: "localhost")
        try await Loopback.run(server: { $0.tls = serverTLS }, client: { $0.tls = clientTLS }) { loop in
            for size in [0, 10, 100_000, 5 << 20] {
                let answer = try await loop.client.unary(Methods.echo, .pattern(size))
                #expect(answer == .pattern(size))
            }
            var stranger = GRPCClientConfiguration()
            stranger.tls = try .client(authorities: files["client.pem"], serverName: "localhost")
            try await expectRefused(loop, stranger)
            stranger.tls = try .client(authorities: files["ca.pem"], serverName: "elsewhere")
            try await expectRefused(loop, stranger)
            stranger.tls = nil
            try await expectRefused(loop, stranger)
        }
    }

    @Test func asksClientsForCertificates() async throws {
        let files = try Certificates()
        defer { files.remove() }
        let serverTLS = try HTTP2TLS.server(
            certificateChain: files["server.pem"], privateKey: files["server.key"], clientAuthorities: files["ca.pem"])
        let clientTLS = try HTTP2TLS.client(
            authorities: files["ca.pem"], serverName: "localhost", certificateChain: files["client.pem"],
            privateKey: files["client.key"])
        try await Loopback.run(server: { $0.tls = serverTLS }, client: { $0.tls = clientTLS }) { loop in
            let answer = try await loop.client.unary(Methods.echo, .pattern(10))
            #expect(answer == .pattern(10))
            var anonymous = GRPCClientConfiguration()
            anonymous.tls = try .client(authorities: files["ca.pem"], serverName: "localhost")
            try await expectRefused(loop, anonymous)
        }
    }

    @Test func namesTheBadFile() {
        let error = #expect(throws: NeedletailError.self) {
            try HTTP2TLS.server(certificateChain: "/nonexistent.pem", privateKey: "/nonexistent.key")
        }
        #expect(error?.message.contains("/nonexistent.pem") == true)
    }

    private func expectRefused(_ loop: Loopback, _ configuration: GRPCClientConfiguration) async throws {
        var configuration = configuration
        configuration.handshakeTimeout = .seconds(1)
        let client = GRPCClient(host: "127.0.0.1", port: loop.port, configuration: configuration, group: Loopback.group)
        let error = await failure { _ = try await client.unary(Methods.echo, ByteBuffer()) }
        #expect(error?.code == .unavailable)
        await client.close()
    }
}

/// A throw-away authority with a server's and a client's certificate, made by the openssl command.
private struct Certificates {
    private let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
        "needletail-tls-\(UInt64.random(in: 0 ... .max))")

    init() throws {
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        try "subjectAltName=DNS:localhost".write(
            to: directory.appendingPathComponent("extensions"), atomically: true, encoding: .utf8)
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
        try run("req -x509 \(key) -keyout ca.key -out ca.pem -days 2 -subj /CN=authority")
        for name in ["server", "client"] {
            try run("req \(key) -keyout \(name).key -out \(name).csr -subj /CN=\(name)")
            try run(
                "x509 -req -in \(name).csr -CA ca.pem -CAkey ca.key -CAcreateserial -out \(name).pem -days 2 -extfile extensions")
        }
    }

    subscript(name: String) -> String { directory.appendingPathComponent(name).path }

    func remove() { try? FileManager.default.removeItem(at: directory) }

    private func run(_ arguments: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(openssl))
        process.currentDirectoryURL = directory
        process.arguments = arguments.split(separator: " ").map(String.init)
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try #require(process.terminationStatus == 0)
    }
}
