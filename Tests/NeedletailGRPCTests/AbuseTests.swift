import Glibc
import NIOCore
import NIOPosix
import NeedletailCore
import NeedletailGRPC
import Testing

/// Peers that mean harm, or are broken: the server ends their connection and serves the others.
@Suite(.timeLimit(.minutes(3))) struct AbuseTests {
    private static let calm: UInt32 = 11

    /// Runs `attack`, then checks that the server is well and holds no connection but the client's.
    private func survive(
        router: GRPCRouter = .testing(), _ configure: (inout GRPCServerConfiguration) -> Void = { _ in },
        _ attack: (Loopback) async throws -> Void
    ) async throws {
        try await Loopback.run(
            router: router,
            server: {
                $0.handshakeTimeout = .seconds(3)
                $0.maxMessageBytes = 1 << 20
                configure(&$0)
            }
        ) { loop in
            try await attack(loop)
            let answer = try await loop.client.unary(Methods.echo, .pattern(1000))
            #expect(answer == .pattern(1000))
            #expect(await eventually { loop.server.connectionCount == 1 }, "\(loop.server.connectionCount) connections are left")
        }
    }

    /// Sends `bytes` after a proper start and expects the connection to end.
    private func expectClosed(
        _ loop: Loopback, after bytes: [UInt8], code: UInt32? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let peer = try await RawPeer.connect(loop.port)
        await peer.send(Frames.preface + Frames.settings + bytes)
        #expect(await peer.closes(), sourceLocation: sourceLocation)
        if let code { expectEqual(try await peer.goAway(), code, sourceLocation: sourceLocation) }
        await peer.close()
    }

    @Test func handmadeCallWorks() async throws {
        try await survive { loop in
            let peer = try await RawPeer.connect(loop.port)
            await peer.send(Frames.preface + Frames.settings + Frames.call(1, Array("needle".utf8)))
            let arrived = try await eventually { String(decoding: try await peer.bytes(), as: UTF8.self).contains("needle") }
            #expect(arrived)
            await peer.close()
        }
    }

    @Test func randomBytes() async throws {
        var random = Seeded(Seeded.seed("randomBytes"))
        try await survive { loop in
            for number in 0..<150 {
                let peer = try await RawPeer.connect(loop.port, keeps: false)
                let start = number % 2 == 0 ? [] : Frames.preface + Frames.settings
                await peer.send(
                    start + (0..<Int.random(in: 1...5000, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
                if number % 10 == 0 { #expect(await peer.closes()) }
                await peer.close()
            }
        }
    }

    @Test func mutatedSessions() async throws {
        var random = Seeded(Seeded.seed("mutatedSessions"))
        var session = Frames.preface + Frames.settings + Frames.settingsAck
        for stream in [1, 3, 5] as [UInt32] { session += Frames.call(stream, Array(repeating: 9, count: 100)) }
        session += Frames.frame(6, 0, 0, Array(repeating: 1, count: 8)) + Frames.frame(8, 0, 0, Frames.big(1000))
        session += Frames.frame(1, 4, 7, Frames.request("/test.Echo/Chat", extra: Frames.field("grpc-timeout", "1S")))
        session +=
            Frames.frame(0, 0, 7, [0, 0, 0, 0, 3, 1, 2]) + Frames.frame(0, 0, 7, [3, 1]) + Frames.frame(3, 0, 7, Frames.big(8))
        session +=
            Frames.frame(1, 0, 9, Array(Frames.request().prefix(30))) + Frames.frame(9, 4, 9, Array(Frames.request().dropFirst(30)))
        session += Frames.frame(2, 0, 9, [0, 0, 0, 1, 5]) + Frames.frame(7, 0, 0, Frames.big(9) + Frames.big(0))
        let valid = session
        try await survive { loop in
            // `NEEDLETAIL_ABUSE_ROUNDS` for a longer search.
            for _ in 0..<(getenv("NEEDLETAIL_ABUSE_ROUNDS").flatMap { Int(String(cString: $0)) } ?? 25) {
                let cases = (0..<40).map { _ in random.mutate(valid) }
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for bytes in cases {
                        group.addTask {
                            let peer = try await RawPeer.connect(loop.port, keeps: false)
                            let cut = bytes.count / 2
                            await peer.send(Array(bytes[..<cut]))
                            await peer.send(Array(bytes[cut...]))
                            await peer.close()
                        }
                    }
                    try await group.waitForAll()
                }
            }
        }
    }

    /// CVE-2023-44487: open and reset, over and over.
    @Test func rapidReset() async throws {
        let started = Counter()
        let isOver = Counter()
        var router = GRPCRouter.testing()
        let slow = GRPCMethod(service: "test.Echo", name: "Stubborn")
        router.bidirectional(slow) { _, _, _ in
            started.add(1)
            // Does not listen to cancellation.
            _ = await Task { await eventually { isOver.count > 0 } }.value
        }
        try await survive(
            router: router,
            {
                $0.resetBurst = 1000
                $0.resetsPerSecond = 100
                $0.maxConcurrentStreams = 100
            }
        ) { loop in
            let peer = try await RawPeer.connect(loop.port)
            var bytes = Frames.preface + Frames.settings
            for number in 0..<10_000 as Range<UInt32> {
                bytes +=
                    Frames.frame(1, 4, number * 2 + 1, Frames.request(slow.path))
                    + Frames.frame(3, 0, number * 2 + 1, Frames.big(8))
            }
            await peer.send(bytes)
            #expect(await peer.closes())
            #expect(started.count <= 200, "\(started.count) handlers ran for one connection")
            isOver.add(1)
            await peer.close()
        }
    }

    @Test func floods() async throws {
        try await survive { loop in
            let ping = Frames.frame(6, 0, 0, Array(repeating: 0, count: 8))
            try await expectClosed(loop, after: repeatElement(ping, count: 20_000).flatMap { $0 }, code: Self.calm)
            try await expectClosed(loop, after: repeatElement(Frames.settings, count: 20_000).flatMap { $0 }, code: Self.calm)
            let priority = Frames.frame(2, 0, 1, [0, 0, 0, 3, 1])
            try await expectClosed(loop, after: repeatElement(priority, count: 20_000).flatMap { $0 }, code: Self.calm)
            let open = Frames.frame(1, 4, 1, Frames.request("/test.Echo/Chat"))
            let empty = Frames.frame(0, 0, 1, [])
            try await expectClosed(loop, after: open + repeatElement(empty, count: 20_000).flatMap { $0 }, code: Self.calm)
            let part = Frames.frame(9, 0, 1, [0])
            try await expectClosed(loop, after: Frames.frame(1, 0, 1, [0]) + repeatElement(part, count: 20_000).flatMap { $0 })
        }
    }

    @Test func brokenFrames() async throws {
        try await survive { loop in
            // Longer than SETTINGS_MAX_FRAME_SIZE allows.
            try await expectClosed(loop, after: Frames.frame(0, 0, 1, [], length: 0xff_ffff), code: 6)
            // The window overflows: on the connection that is fatal.
            try await expectClosed(loop, after: Frames.frame(8, 0, 0, Frames.big(0x7fff_ffff)), code: 3)
            // DATA on a stream nobody opened; SETTINGS of an odd size; a header block that is no HPACK; HTTP/1.1.
            try await expectClosed(loop, after: Frames.frame(0, 0, 5, [1, 2, 3]), code: 1)
            try await expectClosed(loop, after: Frames.frame(4, 0, 0, [1, 2, 3]), code: 6)
            try await expectClosed(loop, after: Frames.frame(1, 4, 1, [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), code: 9)
            let http1 = try await RawPeer.connect(loop.port)
            await http1.send(Array("GET / HTTP/1.1\r\nHost: test\r\n\r\n".utf8))
            #expect(await http1.closes())
            await http1.close()
        }
    }

    /// A small block that names one large field many times.
    @Test func headerBomb() async throws {
        try await survive { loop in
            let peer = try await RawPeer.connect(loop.port)
            let large = Frames.field("bomb", String(repeating: "x", count: 3900), indexed: true)
            await peer.send(Frames.preface + Frames.settings + Frames.frame(1, 4, 1, Frames.request(extra: large)))
            // 62 is the newest entry of the dynamic table.
            let bomb = Frames.request(extra: Array(repeating: 0x80 | 62, count: 10_000))
            await peer.send(Frames.frame(1, 5, 3, bomb))
            let refused = try await eventually { () async throws -> Bool in
                let ended = try await peer.frames().contains { $0.stream == 3 && $0.type == 1 && $0.flags & 1 != 0 || $0.type == 3 }
                return try await peer.goAway() != nil || ended
            }
            #expect(refused)
            await peer.close()
        }
    }

    @Test func slowPeersAreCutOff() async throws {
        try await survive({ $0.handshakeTimeout = .seconds(3) }) { loop in
            let silent = try await RawPeer.connect(loop.port)
            let half = try await RawPeer.connect(loop.port)
            await half.send(Array(Frames.preface.prefix(10)))
            let dripping = try await RawPeer.connect(loop.port)
            await dripping.send(Frames.preface + Array(Frames.settings.prefix(5)))
            #expect(await silent.closes(within: .seconds(20)))
            #expect(await half.closes(within: .seconds(20)))
            #expect(await dripping.closes(within: .seconds(20)))
        }
    }

    /// A message whose length is a lie: memory follows the bytes that come.
    @Test func longPromises() async throws {
        try await survive({ $0.maxMessageBytes = 1 << 30 }) { loop in
            let peer = try await RawPeer.connect(loop.port)
            var bytes = Frames.preface + Frames.settings
            for stream in 0..<250 as Range<UInt32> {
                bytes +=
                    Frames.frame(1, 4, stream * 2 + 1, Frames.request())
                    + Frames.frame(0, 0, stream * 2 + 1, [0, 0x3f, 0xff, 0xff, 0xff, 1])
            }
            // Answered once everything before it has been read.
            await peer.send(bytes + Frames.frame(6, 0, 0, Frames.big(1) + Frames.big(2)))
            let isRead = try await eventually { try await peer.frames().contains { $0.type == 6 && $0.flags & 1 == 1 } }
            #expect(isRead)
            await peer.close()
        }
    }

    /// A client that never reads: what the server holds for it is bounded, and goes when it goes.
    @Test func clientThatNeverReads() async throws {
        let written = Counter()
        var router = GRPCRouter.testing()
        let pour = GRPCMethod(service: "test.Echo", name: "Pour")
        router.serverStreaming(pour) { _, writer, _ in
            while true {
                try await writer.write(ByteBuffer(repeating: 1, count: 32 << 10))
                written.add(32 << 10)
            }
        }
        try await survive(router: router) { loop in
            let peer = try await RawPeer.connect(loop.port, keeps: false)
            var bytes = Frames.preface + Frames.settings
            for stream in 0..<10 as Range<UInt32> { bytes += Frames.call(stream * 2 + 1, [], path: pour.path) }
            await peer.send(bytes)
            await written.settle()
            // Ten streams of one send queue each; the window is HTTP/2's first 64 KiB and is never given back.
            #expect(written.count < 5 << 20)
            await peer.close()
        }
    }

    /// A client that goes on sending after it was answered: its stream is reset, and its bytes are dropped.
    @Test func sendsAfterTheAnswer() async throws {
        try await survive { loop in
            let peer = try await RawPeer.connect(loop.port)
            await peer.send(Frames.preface + Frames.settings + Frames.frame(1, 4, 1, Frames.request("/test.Echo/Missing")))
            await peer.send(Frames.frame(0, 0, 1, Array(repeating: 0, count: 10_000)))
            let isReset = try await eventually {
                try await peer.frames().contains { $0.type == 3 && $0.stream == 1 && $0.payload == [0, 0, 0, 0] }
            }
            #expect(isReset)
            await peer.close()
        }
    }

    /// A client that asks for long answers and never reads: beyond the budget it, and only it, is refused.
    @Test func hoardsAnswers() async throws {
        let answered = Counter()
        var router = GRPCRouter.testing()
        let long = GRPCMethod(service: "test.Echo", name: "Long")
        router.unary(long) { _, _ in
            answered.add(1)
            return ByteBuffer(repeating: 1, count: 1 << 20)
        }
        try await survive(router: router, { $0.maxBufferedResponseBytes = 10 << 20 }) { loop in
            let peer = try await RawPeer.connect(loop.port)
            var bytes = Frames.preface + Frames.settings
            for stream in 0..<50 as Range<UInt32> { bytes += Frames.call(stream * 2 + 1, [], path: long.path) }
            await peer.send(bytes)
            #expect(await eventually { answered.count == 50 })
            let refused = try await eventually {
                // Trailers-only answers: HEADERS that end their stream.
                try await peer.frames().count { $0.type == 1 && $0.flags & 1 != 0 } == 40
            }
            #expect(refused)
            await peer.close()
            // The server has to notice first that the peer is gone.
            #expect(await eventually { (try? await loop.client.unary(long, ByteBuffer()))?.readableBytes == 1 << 20 })
        }
    }

    /// A hostile server: the client reports an error for every call and lives on.
    @Test func hostileServer() async throws {
        var random = Seeded(Seeded.seed("hostileServer"))
        let headers = Frames.frame(1, 4, 1, [0x88] + Frames.field("content-type", "application/grpc"))
        let data = Frames.frame(0, 0, 1, [0, 0, 0, 0, 2, 7, 7])
        let trailers = Frames.frame(1, 5, 1, Frames.field("grpc-status", "0"))
        let valid =
            Frames.settings + Frames.settingsAck + headers + data + trailers + Frames.frame(7, 0, 0, Frames.big(1) + Frames.big(0))
        let script = Script(valid)
        let server = try await ServerBootstrap(group: Loopback.group)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(ScriptedServer(script)) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        var configuration = GRPCClientConfiguration()
        configuration.handshakeTimeout = .milliseconds(100)
        let port = server.localAddress?.port ?? 0
        var good = 0
        for number in 0..<400 {
            script.bytes = number == 0 ? valid : random.mutate(valid)
            let client = GRPCClient(host: "127.0.0.1", port: port, configuration: configuration, group: Loopback.group)
            let options = CallOptions(deadline: .after(number == 0 ? .seconds(10) : .milliseconds(100)))
            let result = await failure { _ = try await client.unary(Methods.echo, ByteBuffer(bytes: [7, 7]), options: options) }
            if result == nil { good += 1 } else if number == 0 { Issue.record("the valid script failed: \(result!)") }
            await client.close()
        }
        #expect(good > 0)
        try await server.close()
    }
}

/// What the scripted server says; set between calls.
private final class Script: @unchecked Sendable {  // written only while no call runs
    var bytes: [UInt8]
    init(_ bytes: [UInt8]) { self.bytes = bytes }
}

private final class ScriptedServer: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer
    private let script: Script
    private var sent = false
    private var received: [UInt8] = []

    init(_ script: Script) { self.script = script }

    func channelActive(context: ChannelHandlerContext) {
        // SETTINGS first: the client sends its request only then.
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: script.bytes.prefix(9))), promise: nil)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        received += unwrapInboundIn(data).readableBytesView
        guard !sent, RawPeer.frames(received.dropFirst(Frames.preface.count)).contains(where: { $0.type == 1 }) else { return }
        sent = true
        context.writeAndFlush(wrapOutboundOut(ByteBuffer(bytes: script.bytes.dropFirst(9))), promise: nil)
    }
}
