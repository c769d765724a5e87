import NIOCore
import NeedletailCore
import NeedletailGRPC
import Synchronization
import Testing

final class Counter: Sendable {
    private let value = Atomic<Int>(0)
    var count: Int { value.load(ordering: .relaxed) }
    func add(_ count: Int) { value.wrappingAdd(count, ordering: .relaxed) }

    /// Returns when the count has begun and has not changed for a while.
    func settle() async {
        var last = -1
        while last <= 0 || last != count {
            last = count
            try? await Task.sleep(for: .milliseconds(300))
        }
    }
}

/// Polls until `condition` holds; false after `limit`.
func eventually(_ limit: Duration = .seconds(10), _ condition: () async throws -> Bool) async rethrows -> Bool {
    let end = ContinuousClock.now + limit
    while ContinuousClock.now < end {
        if try await condition() { return true }
        try? await Task.sleep(for: .milliseconds(5))
    }
    return false
}

@Suite(.timeLimit(.minutes(2))) struct StreamingTests {
    @Test func streamsFromTheServer() async throws {
        try await Loopback.run { loop in
            for count in [0, 1, 2, 1000] {
                let stream = try await loop.client.serverStreaming(Methods.count, ByteBuffer(string: "\(count)"))
                var numbers: [Int] = []
                for try await message in stream { numbers.append(Int(String(buffer: message)) ?? -1) }
                #expect(numbers == Array(0..<count))
            }
        }
    }

    @Test func streamsFromTheClient() async throws {
        try await Loopback.run { loop in
            for count in [0, 1, 2, 1000] {
                let call = try await loop.client.clientStreaming(Methods.sum)
                for number in 0..<count { try await call.send(ByteBuffer(string: "\(number)")) }
                expectEqual(String(buffer: try await call.finish()), "\(count * (count - 1) / 2)")
            }
        }
    }

    @Test func streamsBothWays() async throws {
        try await Loopback.run { loop in
            for compress in [false, true] {
                var options = CallOptions()
                options.compress = compress
                let call = try await loop.client.bidirectional(Methods.chat, options: options)
                var answers = call.responses.makeAsyncIterator()
                for size in [0, 1, 1000, 70_000, 3 << 20, 5] {
                    let message = ByteBuffer.pattern(size)
                    try await call.send(message)
                    expectEqual(try await answers.next(), message)
                }
                call.finishSending()
                expectEqual(try await answers.next(), nil)
            }
        }
    }

    /// Sending and reading at full speed, both at once, with messages of many sizes: order and content survive.
    @Test func keepsOrderUnderLoad() async throws {
        try await Loopback.run { loop in
            let call = try await loop.client.bidirectional(Methods.chat)
            let count = 3000
            async let sending: Void = {
                for number in 0..<count { try await call.send(.pattern(number * 37 % 20_000, seed: UInt8(number & 255))) }
                call.finishSending()
            }()
            var number = 0
            for try await message in call.responses {
                let expected = ByteBuffer.pattern(number * 37 % 20_000, seed: UInt8(number & 255))
                if message != expected { Issue.record("message \(number) differs") }
                number += 1
            }
            try await sending
            #expect(number == count)
        }
    }

    @Test func slowReaderStopsTheServer() async throws {
        let written = Counter()
        var router = GRPCRouter()
        router.serverStreaming(Methods.count) { _, writer, _ in
            for _ in 0..<512 {
                try await writer.write(ByteBuffer(repeating: 1, count: 64 << 10))
                written.add(64 << 10)
            }
        }
        try await Loopback.run(router: router) { loop in
            let stream = try await loop.client.serverStreaming(Methods.count, ByteBuffer())
            var iterator = stream.makeAsyncIterator()
            _ = try await iterator.next()
            await written.settle()
            // One window (1 MiB), the send queue, and a message here and there; of 32 MiB.
            #expect(written.count < 2 << 20)
            var total = 64 << 10
            while let message = try await iterator.next() { total += message.readableBytes }
            #expect(total == 32 << 20)
        }
    }

    @Test func slowServerStopsTheClient() async throws {
        let gate = Counter()
        var router = GRPCRouter.testing()
        router.clientStreaming(GRPCMethod(service: "test.Echo", name: "Gated")) { requests, _ in
            _ = await eventually { gate.count > 0 }
            var total = 0
            for try await request in requests { total += request.readableBytes }
            return ByteBuffer(string: "\(total)")
        }
        try await Loopback.run(router: router) { loop in
            let call = try await loop.client.clientStreaming(GRPCMethod(service: "test.Echo", name: "Gated"))
            let sent = Counter()
            async let sending: Void = {
                for _ in 0..<512 {
                    try await call.send(ByteBuffer(repeating: 1, count: 64 << 10))
                    sent.add(64 << 10)
                }
            }()
            await sent.settle()
            #expect(sent.count > 512 << 10)
            #expect(sent.count < 2 << 20)
            // The stuck stream does not hold up others on the same connection.
            expectEqual(try await loop.client.unary(Methods.echo, .pattern(3 << 20)).readableBytes, 3 << 20)
            gate.add(1)
            try await sending
            expectEqual(String(buffer: try await call.finish()), "\(32 << 20)")
        }
    }

    @Test func cancellationReachesTheHandler() async throws {
        let cancelled = Counter()
        let started = Counter()
        var router = GRPCRouter()
        router.bidirectional(Methods.chat) { requests, writer, _ in
            do {
                try await writer.write(ByteBuffer(string: "ready"))
                for try await _ in requests {}
            } catch { cancelled.add(1) }
        }
        router.unary(Methods.sleep) { message, _ in
            started.add(1)
            do { try await Task.sleep(for: .seconds(60)) } catch { cancelled.add(100) }
            return message
        }
        try await Loopback.run(router: router) { loop in
            let call = try await loop.client.bidirectional(Methods.chat)
            var answers = call.responses.makeAsyncIterator()
            _ = try await answers.next()
            call.cancel()
            let error = await failure { _ = try await answers.next() }
            #expect(error?.code == .cancelled)
            #expect(await eventually { cancelled.count == 1 })

            let task = Task { try await loop.client.unary(Methods.sleep, ByteBuffer()) }
            #expect(await eventually { started.count == 1 })
            task.cancel()
            #expect(await eventually { cancelled.count == 101 })

            let options = CallOptions(deadline: .after(.milliseconds(500)))
            _ = await failure { _ = try await loop.client.unary(Methods.sleep, ByteBuffer(), options: options) }
            #expect(await eventually { cancelled.count == 201 })
        }
    }

    @Test func droppingTheStreamCancels() async throws {
        let cancelled = Counter()
        var router = GRPCRouter()
        router.serverStreaming(Methods.count) { _, writer, _ in
            do {
                while true { try await writer.write(ByteBuffer(repeating: 1, count: 10_000)) }
            } catch { cancelled.add(1) }
        }
        try await Loopback.run(router: router) { loop in
            for try await _ in try await loop.client.serverStreaming(Methods.count, ByteBuffer()) { break }
            #expect(await eventually { cancelled.count == 1 })
        }
    }

    /// The server answers before the client has sent everything.
    @Test func serverMayAnswerEarly() async throws {
        var router = GRPCRouter()
        router.clientStreaming(Methods.sum) { requests, _ in
            for try await _ in requests { throw NeedletailError(.failedPrecondition, "enough") }
            return ByteBuffer()
        }
        try await Loopback.run(router: router) { loop in
            let call = try await loop.client.clientStreaming(Methods.sum)
            let error = await failure {
                for _ in 0..<1000 { try await call.send(.pattern(64 << 10)) }
            }
            #expect(error?.code == .failedPrecondition)
            let final = await failure { _ = try await call.finish() }
            #expect(final?.code == .failedPrecondition)
        }
    }

    @Test func deadlineEndsAHandlerThatDoesNotListen() async throws {
        var router = GRPCRouter()
        router.serverStreaming(Methods.count) { _, writer, _ in
            try await writer.write(ByteBuffer(string: "first"))
            while !Task.isCancelled { try? await Task.sleep(for: .milliseconds(10)) }
            // Late, and stubborn.
            try? await Task.sleep(for: .milliseconds(10))
        }
        try await Loopback.run(router: router) { loop in
            let stream = try await loop.client.serverStreaming(
                Methods.count, ByteBuffer(), options: CallOptions(deadline: .after(.seconds(1))))
            var count = 0
            let error = await failure { for try await _ in stream { count += 1 } }
            #expect(count == 1)
            #expect(error?.code == .deadlineExceeded)
        }
    }
}
