import Foundation
import NIOCore
import NeedletailCertificates
import NeedletailCore
import NeedletailGRPC
import NeedletailHTTP2
import NeedletailTestSupport
import Testing

@Suite(.timeLimit(.minutes(2))) struct TLSTests {
    @Test func encryptsAndVerifies() async throws {
        let files = try Certificates()
        let server = try await files.node("coordinator", .coordinator)
        let client = ConnectionTLS.client(try files.stranger(), serverName: "localhost")
        try await Loopback.run(server: { $0.tls = .server(server, .publicPort) }, client: { $0.tls = client }) { loop in
            for size in [0, 10, 100_000, 5 << 20] {
                let answer = try await loop.client.unary(Methods.echo, .pattern(size))
                #expect(answer == .pattern(size))
            }
            try await expectRefused(loop, .client(try TLSCredentials(try TLSFiles(authority: files["client-authority.pem"]), uses: [.client])), "authorities")
            try await expectRefused(loop, .client(try files.stranger(), serverName: "elsewhere"), "not for elsewhere")
            try await expectRefused(loop, .client(try files.stranger(), serverName: "localhost", wanted: .shard), "needletail://shard")
            try await expectRefused(loop, nil, "https://")
        }
    }

    /// A port of nodes wants a certificate of theirs; a service may want a role besides.
    @Test func tellsNodesFromOthers() async throws {
        let files = try Certificates()
        let server = try await files.node("server", .shard)
        let coordinator = try await files.node("coordinator", .coordinator)
        let shard = try await files.node("shard", .shard)
        func configure(_ configuration: inout GRPCServerConfiguration) {
            configuration.tls = .server(server, .nodesPort)
            configuration.nodesOnly = { _ in .coordinator }
        }
        let tls = ConnectionTLS.client(coordinator, serverName: "localhost")
        try await Loopback.run(server: configure, client: { $0.tls = tls }) { loop in
            #expect(try await loop.client.unary(Methods.echo, .pattern(10)) == .pattern(10))
            try await expectRefused(loop, .client(try files.stranger(), serverName: "localhost"), "wants a certificate")
            try await expectRefused(loop, .client(try files.user("alice"), serverName: "localhost"), "does not accept our certificate")
            // Users' authority signs it, and it names a role.
            try await expectRefused(loop, .client(try files.impostor("mallory"), serverName: "localhost"), "does not accept our certificate")
            try await expectRefused(loop, .client(shard, serverName: "localhost"), "needletail://coordinator", .permissionDenied)
        }
    }

    /// What handlers are told of their callers.
    @Test(arguments: [false, true]) func saysWhoCalls(isEncrypted: Bool) async throws {
        let files = try Certificates()
        let server = isEncrypted ? ConnectionTLS.server(try await files.node("coordinator", .coordinator, users: true), .publicPort) : nil
        let clients: [(PeerIdentity, ConnectionTLS?)] =
            isEncrypted
            ? [
                (.anonymous, .client(try files.stranger(), serverName: "localhost")),
                (.user("alice"), .client(try files.user("alice"), serverName: "localhost")),
                (.user("mallory"), .client(try files.impostor("mallory"), serverName: "localhost")),
                (.node(.shard, name: "shard"), .client(try await files.node("shard", .shard), serverName: "localhost")),
            ] : [(.unencrypted, nil)]
        var router = GRPCRouter()
        router.unary(Methods.echo) { _, context in ByteBuffer(string: "\(context.peerIdentity)") }
        var configuration = GRPCServerConfiguration()
        configuration.tls = server
        let listener = GRPCServer(configuration: configuration, router: router, group: Loopback.group)
        let port = try await listener.listen()
        for (identity, tls) in clients {
            var configuration = GRPCClientConfiguration()
            configuration.tls = tls
            let client = GRPCClient(host: "127.0.0.1", port: port, configuration: configuration, group: Loopback.group)
            #expect(String(buffer: try await client.unary(Methods.echo, ByteBuffer())) == "\(identity)")
            await client.close()
        }
        await listener.shutdown(grace: .zero)
    }

    @Test func namesTheBadFileButNoKey() throws {
        let files = try Certificates()
        let missing = #expect(throws: NeedletailError.self) {
            try TLSCredentials(try TLSFiles(certificate: "/nonexistent.pem", key: "/nonexistent.key"), uses: [.client])
        }
        #expect(missing?.message.contains("/nonexistent.pem") == true)
        _ = try files.node(files: "node", .shard)
        let hidden = #expect(throws: NeedletailError.self) {
            try TLSCredentials(try TLSFiles(certificate: files["node.pem"], key: "/hidden.key"), uses: [.client])
        }
        #expect(hidden?.description.contains("hidden") == false)
    }

    /// New files are taken once they rest, bad ones never.
    @Test func readsFilesAgain() async throws {
        let files = try Certificates()
        let credentials = try await files.node("node", .shard)
        var watch = credentials.watch()
        let atOnce = watch.hasChanged()
        #expect(!atOnce)
        let before = credentials.expiries.first { $0.label == "certificate" }?.moment
        _ = try files.node(files: "node", .shard, days: 30)
        let looks = (0..<3).map { _ in watch.hasChanged() }
        #expect(looks == [false, true, false], "not while they may still be written, and once")
        try await credentials.reload()
        let after = credentials.expiries.first { $0.label == "certificate" }?.moment
        #expect(before.map { $0 - 86_400 * 300 > after ?? 0 } == true)
        _ = try files.node(files: "node", .coordinator)
        await #expect(throws: NeedletailError.self) { try await credentials.reload() }
        #expect(credentials.expiries.first { $0.label == "certificate" }?.moment == after)
    }

    private func expectRefused(_ loop: Loopback, _ tls: ConnectionTLS?, _ words: String, _ code: NeedletailError.Code = .unavailable) async throws {
        var configuration = GRPCClientConfiguration()
        configuration.tls = tls
        let client = GRPCClient(host: "127.0.0.1", port: loop.port, configuration: configuration, group: Loopback.group)
        let error = await failure { _ = try await client.unary(Methods.echo, ByteBuffer()) }
        #expect(error?.code == code)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "no error")")
        await client.close()
    }
}

/// Two throw-away authorities and what they sign.
private struct Certificates {
    private let directory = TemporaryDirectory()
    private let folder: CertificateFolder

    init() throws {
        folder = CertificateFolder(directory.path)
        try folder.begin(days: 400)
    }

    subscript(name: String) -> String { directory.path + "/" + name }

    func node(files name: String, _ roles: NodeRoles, days: Int = 365, users: Bool = false) throws -> TLSFiles {
        let subject = CertificateAuthority.Subject(commonName: name, hosts: ["localhost"], roles: roles)
        let made = try folder.issue(name, subject, by: CertificateFolder.nodes, days: days)
        return try TLSFiles(
            certificate: made.certificate, key: made.key, authority: self["authority.pem"], clientAuthority: users ? self["client-authority.pem"] : nil)
    }

    func node(_ name: String, _ roles: NodeRoles, users: Bool = false) async throws -> TLSCredentials {
        try await TLSCredentials(try node(files: name, roles, users: users), uses: Set(TLSCredentials.Use.allCases), node: roles)
    }

    func stranger() throws -> TLSCredentials { try TLSCredentials(try TLSFiles(authority: self["authority.pem"]), uses: [.client]) }

    func user(_ name: String) throws -> TLSCredentials { try signedForUsers(CertificateAuthority.Subject(commonName: name)) }

    /// A user's certificate that says it is a node's.
    func impostor(_ name: String) throws -> TLSCredentials {
        try signedForUsers(CertificateAuthority.Subject(commonName: name, hosts: ["localhost"], roles: .any))
    }

    private func signedForUsers(_ subject: CertificateAuthority.Subject) throws -> TLSCredentials {
        let made = try folder.issue(subject.commonName, subject, by: CertificateFolder.users, days: 10)
        return try TLSCredentials(try TLSFiles(certificate: made.certificate, key: made.key, authority: self["authority.pem"]), uses: [.client])
    }
}
