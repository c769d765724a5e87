import NIOCore
import NIOPosix
import NeedletailCore
import NeedletailGRPC
import Testing

/// The methods the tests call.
enum Methods {
    static let echo = GRPCMethod(service: "test.Echo", name: "Echo")
    static let fail = GRPCMethod(service: "test.Echo", name: "Fail")
    static let busy = GRPCMethod(service: "test.Echo", name: "Busy")
    static let sleep = GRPCMethod(service: "test.Echo", name: "Sleep")
    static let metadata = GRPCMethod(service: "test.Echo", name: "Metadata")
    static let count = GRPCMethod(service: "test.Echo", name: "Count")
    static let sum = GRPCMethod(service: "test.Echo", name: "Sum")
    static let chat = GRPCMethod(service: "test.Echo", name: "Chat")
    static let missing = GRPCMethod(service: "test.Echo", name: "Missing")
}

/// A server and a client on real sockets, each on an event loop of its own.
struct Loopback {
    let server: GRPCServer
    let client: GRPCClient
    let port: Int

    static let group = MultiThreadedEventLoopGroup(numberOfThreads: 2)

    static func run(
        router: GRPCRouter = .testing(),
        server configure: (inout GRPCServerConfiguration) -> Void = { _ in },
        client configureClient: (inout GRPCClientConfiguration) -> Void = { _ in },
        _ body: (Loopback) async throws -> Void
    ) async throws {
        var configuration = GRPCServerConfiguration()
        configure(&configuration)
        var clientConfiguration = GRPCClientConfiguration()
        configureClient(&clientConfiguration)
        let server = GRPCServer(configuration: configuration, router: router, group: group)
        let address = try await server.start()
        let port = try #require(address.port)
        let client = GRPCClient(host: "127.0.0.1", port: port, configuration: clientConfiguration, group: group)
        let result: Result<Void, any Error>
        do {
            try await body(Loopback(server: server, client: client, port: port))
            result = .success(())
        } catch {
            result = .failure(error)
        }
        await client.close()
        await server.shutdown(grace: .zero)
        try result.get()
    }
}

extension GRPCRouter {
    /// Echo and its friends.
    static func testing() -> GRPCRouter {
        var router = GRPCRouter()
        router.unary(Methods.echo) { message, _ in message }
        router.unary(Methods.fail) { message, _ in throw NeedletailError(.notFound, String(buffer: message)) }
        router.unary(Methods.busy) { message, _ in
            throw NeedletailError(.resourceExhausted, "busy", retryAfter: .milliseconds(Int(String(buffer: message)) ?? 0))
        }
        router.unary(Methods.sleep) { message, _ in
            try await Task.sleep(for: .milliseconds(Int(String(buffer: message)) ?? 0))
            return message
        }
        router.unary(Methods.metadata) { message, context in
            for entry in context.metadata.entries {
                context.setInitialMetadata(entry.value, for: "initial-" + entry.key)
                context.setTrailer(entry.value, for: "trailer-" + entry.key)
            }
            return ByteBuffer(string: context.metadata["text"] ?? "none")
        }
        router.serverStreaming(Methods.count) { message, writer, _ in
            for number in 0..<(Int(String(buffer: message)) ?? 0) { try await writer.write(ByteBuffer(string: "\(number)")) }
        }
        router.clientStreaming(Methods.sum) { requests, _ in
            var sum = 0
            for try await request in requests { sum += Int(String(buffer: request)) ?? 0 }
            return ByteBuffer(string: "\(sum)")
        }
        router.bidirectional(Methods.chat) { requests, writer, _ in
            for try await request in requests { try await writer.write(request) }
        }
        return router
    }
}

extension GRPCRouter {
    /// A router whose one method says when it runs, and takes as many milliseconds as it is told.
    static func counting(_ started: Counter) -> GRPCRouter {
        var router = GRPCRouter()
        router.unary(Methods.sleep) { message, _ in
            started.add(1)
            try await Task.sleep(for: .milliseconds(Int(String(buffer: message)) ?? 0))
            return message
        }
        return router
    }

    /// A router whose one method says when it runs, and answers once `gate` has been opened.
    static func gated(_ started: Counter, _ gate: Counter) -> GRPCRouter {
        var router = GRPCRouter()
        router.unary(Methods.sleep) { message, _ in
            started.add(1)
            while gate.count == 0 { try await Task.sleep(for: .milliseconds(2)) }
            return message
        }
        return router
    }
}

/// The error `body` throws, which must be ours.
func failure(_ body: () async throws -> Void) async -> NeedletailError? {
    do { try await body() } catch { return error as? NeedletailError }
    return nil
}

extension ByteBuffer {
    static func pattern(_ count: Int, seed: UInt8 = 7) -> ByteBuffer {
        var bytes = [UInt8](repeating: 0, count: count)
        for index in bytes.indices { bytes[index] = UInt8(truncatingIfNeeded: index &* 31 &+ index >> 8) &+ seed }
        return ByteBuffer(bytes: bytes)
    }
}

/// `#expect(try await a == b)`, which the macro does not take inside a closure.
func expectEqual<Value: Equatable>(_ actual: Value, _ expected: Value, sourceLocation: SourceLocation = #_sourceLocation) {
    #expect(actual == expected, sourceLocation: sourceLocation)
}
