import NIOCore
import NIOPosix
import NeedletailCore
import NeedletailGRPC
import Testing

@Suite(.timeLimit(.minutes(2))) struct LifecycleTests {
    @Test func shutdownLetsCallsFinish() async throws {
        let (started, gate) = (Counter(), Counter())
        try await Loopback.run(router: .gated(started, gate)) { loop in
            async let answer = loop.client.unary(Methods.sleep, ByteBuffer(string: "300"))
            #expect(await eventually { started.count == 1 })
            let start = ContinuousClock.now
            async let down: Void = loop.server.shutdown(grace: .seconds(60))
            // The call ends only after the shutdown has begun, which a port that takes no connection shows.
            #expect(await eventually { (try? await RawPeer.connect(loop.port).close()) == nil })
            gate.add(1)
            expectEqual(String(buffer: try await answer), "300")
            await down
            #expect(ContinuousClock.now - start < .seconds(30), "the server does not wait for longer than the calls take")
            let error = await failure { _ = try await loop.client.unary(Methods.echo, ByteBuffer()) }
            #expect(error?.code == .unavailable)
        }
    }

    @Test func shutdownEndsCallsThatTakeTooLong() async throws {
        let started = Counter()
        try await Loopback.run(router: .counting(started)) { loop in
            let task = Task { try await loop.client.unary(Methods.sleep, ByteBuffer(string: "60000")) }
            #expect(await eventually { started.count == 1 })
            await loop.server.shutdown(grace: .milliseconds(100))
            let error = await failure { _ = try await task.value }
            #expect(error?.code == .unavailable)
            #expect(loop.server.connectionCount == 0)
        }
    }

    @Test func failsFastWithoutAServer() async throws {
        try await Loopback.run { loop in
            await loop.server.shutdown(grace: .zero)
            // The first call may still find the old connection closing.
            _ = await failure { _ = try await loop.client.unary(Methods.echo, ByteBuffer()) }
            let error = await failure { _ = try await loop.client.unary(Methods.echo, ByteBuffer()) }
            #expect(error?.code == .unavailable)
            #expect(
                error?.message == "Cannot connect to 127.0.0.1:\(loop.port): nothing listens there. "
                    + "Check that the server runs and the address is right.")
            var options = CallOptions(deadline: .after(.milliseconds(300)))
            options.waitForReady = true
            let waiting = await failure { _ = try await loop.client.unary(Methods.echo, ByteBuffer(), options: options) }
            #expect(waiting?.code == .deadlineExceeded)
        }
    }

    @Test func reconnects() async throws {
        try await Loopback.run(client: { $0.minBackoff = .milliseconds(20) }) { loop in
            expectEqual(try await loop.client.unary(Methods.echo, .pattern(10)).readableBytes, 10)
            await loop.server.shutdown(grace: .zero)
            let error = await failure { _ = try await loop.client.unary(Methods.echo, ByteBuffer()) }
            #expect(error?.code == .unavailable)

            var options = CallOptions(deadline: .after(.seconds(20)))
            options.waitForReady = true
            async let waiting = loop.client.unary(Methods.echo, .pattern(20), options: options)
            try await Task.sleep(for: .milliseconds(200))
            var configuration = GRPCServerConfiguration()
            configuration.port = loop.port
            let second = GRPCServer(configuration: configuration, router: .testing(), group: Loopback.group)
            _ = try await second.start()
            expectEqual(try await waiting.readableBytes, 20)
            await second.shutdown(grace: .zero)
        }
    }

    /// More calls than the server allows at once: the rest wait for their turn.
    @Test func respectsTheStreamLimit() async throws {
        try await Loopback.run(server: { $0.maxConcurrentStreams = 4 }) { loop in
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<40 {
                    group.addTask { try await loop.client.unary(Methods.sleep, ByteBuffer(string: "10")).readableBytes }
                }
                for try await size in group { #expect(size == 2) }
            }
        }
    }

    /// Four calls run and fifty wait: of a hundred that come while none ends, the rest is refused.
    @Test func boundsTheCallsThatWait() async throws {
        let (started, gate) = (Counter(), Counter())
        try await Loopback.run(
            router: .gated(started, gate), server: { $0.maxConcurrentStreams = 4 }, client: { $0.maxPendingCalls = 50 }
        ) { loop in
            // Once one runs, the client knows the server's limit.
            async let first = loop.client.unary(Methods.sleep, ByteBuffer())
            #expect(await eventually { started.count == 1 })
            let refused = Counter()
            try await withThrowingTaskGroup(of: NeedletailError.Code?.self) { group in
                for _ in 0..<99 {
                    group.addTask {
                        let code = await failure { _ = try await loop.client.unary(Methods.sleep, ByteBuffer()) }?.code
                        if code == .resourceExhausted { refused.add(1) }
                        return code
                    }
                }
                #expect(await eventually { refused.count == 46 })
                gate.add(1)
                var codes: [NeedletailError.Code?] = []
                for try await code in group { codes.append(code) }
                #expect(codes.count { $0 == nil } == 53)
            }
            _ = try await first
        }
    }

    @Test func boundsConnections() async throws {
        try await Loopback.run(server: { $0.maxConnections = 1 }) { loop in
            _ = try await loop.client.unary(Methods.echo, ByteBuffer())
            let other = GRPCClient(host: "127.0.0.1", port: loop.port, group: Loopback.group)
            let error = await failure { _ = try await other.unary(Methods.echo, ByteBuffer()) }
            #expect(error?.code == .unavailable)
            await other.close()
            expectEqual(try await loop.client.unary(Methods.echo, .pattern(5)).readableBytes, 5)
        }
    }

    /// A server that accepts and says nothing.
    @Test func keepaliveAndHandshakeFindDeadServers() async throws {
        let silent = try await ServerBootstrap(group: Loopback.group).bind(host: "127.0.0.1", port: 0).get()
        var configuration = GRPCClientConfiguration()
        configuration.handshakeTimeout = .milliseconds(100)
        let client = GRPCClient(
            host: "127.0.0.1", port: silent.localAddress?.port ?? 0, configuration: configuration, group: Loopback.group)
        let start = ContinuousClock.now
        let error = await failure { _ = try await client.unary(Methods.echo, ByteBuffer()) }
        #expect(error?.code == .unavailable)
        #expect(ContinuousClock.now - start < .seconds(5))
        await client.close()
        try await silent.close()
    }

    @Test func keepaliveKeepsQuietConnections() async throws {
        try await Loopback.run(
            server: { $0.keepaliveInterval = .milliseconds(40) }, client: { $0.keepaliveInterval = .milliseconds(40) }
        ) { loop in
            expectEqual(try await loop.client.unary(Methods.sleep, ByteBuffer(string: "500")).readableBytes, 3)
            #expect(loop.server.connectionCount == 1)
        }
    }

    @Test func idleConnectionsClose() async throws {
        try await Loopback.run(server: { $0.idleTimeout = .milliseconds(50) }) { loop in
            _ = try await loop.client.unary(Methods.echo, ByteBuffer())
            #expect(await eventually { loop.server.connectionCount == 0 })
            // The next connection may be closed as well, before the call is on it.
            #expect(await eventually { (try? await loop.client.unary(Methods.echo, ByteBuffer())) != nil })
        }
    }

    @Test func closedClientsRefuse() async throws {
        let started = Counter()
        try await Loopback.run(router: .counting(started)) { loop in
            let task = Task { try await loop.client.unary(Methods.sleep, ByteBuffer(string: "60000")) }
            #expect(await eventually { started.count == 1 })
            await loop.client.close()
            #expect(await failure { _ = try await task.value }?.code == .cancelled)
            #expect(await failure { _ = try await loop.client.unary(Methods.echo, ByteBuffer()) }?.code == .cancelled)
        }
    }
}
