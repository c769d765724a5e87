import Foundation
import NIOCore
import NeedletailCore
import NeedletailGRPC
import Testing

/// The other implementation, when there is one: `NEEDLETAIL_PYTHON=/path/to/python` with grpcio installed.
private let python = ProcessInfo.processInfo.environment["NEEDLETAIL_PYTHON"]
private let scripts = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("../Python")

@Suite(.timeLimit(.minutes(2)), .enabled(if: python != nil)) struct PythonInteropTests {
    @Test func pythonCallsSwift() async throws {
        try await Loopback.run { loop in
            let process = try launch("grpc_peer_client.py", ["\(loop.port)"])
            let output = try await process.output()
            #expect(output == "ok\n")
        }
    }

    @Test(arguments: [false, true]) func swiftCallsPython(gzip: Bool) async throws {
        let process = try launch("grpc_peer_server.py", gzip ? ["gzip"] : [])
        defer { process.stop() }
        let port = try #require(Int(process.line()))
        let client = GRPCClient(host: "127.0.0.1", port: port, group: Loopback.group)
        var options = CallOptions(deadline: .after(.seconds(60)))
        options.compress = gzip
        options.waitForReady = true
        try await checkUnary(client, options)
        try await checkErrors(client)
        try await checkStreams(client, options)
        await client.close()
    }

    private func checkUnary(_ client: GRPCClient, _ options: CallOptions) async throws {
        for size in [0, 1, 5, 600, 16_379, 16_384, 65_536, 1 << 20, 5_000_000, 64 << 20] {
            let message = ByteBuffer.pattern(size)
            let answer = try await client.unary(Methods.echo, message, options: options)
            #expect(answer == message, "\(size) bytes")
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<500 {
                group.addTask {
                    let answer = try await client.unary(Methods.echo, ByteBuffer(string: "\(number)"), options: options)
                    #expect(String(buffer: answer) == "\(number)")
                }
            }
            try await group.waitForAll()
        }
    }

    private func checkErrors(_ client: GRPCClient) async throws {
        let text = "ünï % code\nline"
        let error = await failure { _ = try await client.unary(Methods.fail, ByteBuffer(string: text)) }
        #expect(error?.code == .notFound)
        #expect(error?.message == text)
        #expect(await failure { _ = try await client.unary(Methods.missing, ByteBuffer()) }?.code == .unimplemented)
        let late = CallOptions(deadline: .after(.milliseconds(200)))
        #expect(
            await failure { _ = try await client.unary(Methods.sleep, ByteBuffer(string: "2000"), options: late) }?.code
                == .deadlineExceeded)
    }

    private func checkStreams(_ client: GRPCClient, _ options: CallOptions) async throws {
        var numbers: [Int] = []
        for try await message in try await client.serverStreaming(Methods.count, ByteBuffer(string: "1000"), options: options) {
            numbers.append(Int(String(buffer: message)) ?? -1)
        }
        #expect(numbers == Array(0..<1000))

        let sum = try await client.clientStreaming(Methods.sum, options: options)
        for number in 0..<1000 { try await sum.send(ByteBuffer(string: "\(number)")) }
        #expect(String(buffer: try await sum.finish()) == "499500")

        var withMetadata = options
        withMetadata.metadata = ["text": "hello", "bytes-bin": .binary([0, 255, 1])]
        let stream = try await client.serverStreaming(Methods.metadata, ByteBuffer(), options: withMetadata)
        for try await message in stream { #expect(String(buffer: message) == "hello") }
        #expect(await stream.initialMetadata().binary("initial-bytes-bin") == [0, 255, 1])
        #expect(await stream.trailers()["trailer-text"] == "hello")

        let chat = try await client.bidirectional(Methods.chat, options: options)
        async let sending: Void = {
            for number in 0..<500 { try await chat.send(.pattern(number * 97 % 30_000)) }
            chat.finishSending()
        }()
        var count = 0
        for try await message in chat.responses {
            #expect(message.readableBytes == count * 97 % 30_000)
            count += 1
        }
        try await sending
        #expect(count == 500)
    }
}

private struct Peer {
    let process: Process
    let input: Pipe
    let pipe: Pipe

    /// The first line it prints.
    func line() -> String {
        var text = ""
        while let byte = try? pipe.fileHandleForReading.read(upToCount: 1), !byte.isEmpty, byte != Data([10]) {
            text += String(decoding: byte, as: UTF8.self)
        }
        return text
    }

    /// All it prints, once it has ended.
    func output() async throws -> String {
        let handle = pipe.fileHandleForReading
        return await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                continuation.resume(returning: String(decoding: handle.readDataToEndOfFile(), as: UTF8.self))
            }
        }
    }

    func stop() {
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }
}

private func launch(_ script: String, _ arguments: [String]) throws -> Peer {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: try #require(python))
    process.arguments = [scripts.appendingPathComponent(script).path] + arguments
    let peer = Peer(process: process, input: Pipe(), pipe: Pipe())
    process.standardInput = peer.input
    process.standardOutput = peer.pipe
    try process.run()
    return peer
}
