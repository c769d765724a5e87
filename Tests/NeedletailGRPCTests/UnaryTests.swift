import NIOCore
import NeedletailCore
import NeedletailGRPC
import Testing

@Suite(.timeLimit(.minutes(2))) struct UnaryTests {
    @Test func echoesEverySize() async throws {
        try await Loopback.run { loop in
            for size in [0, 1, 4, 5, 100, 2047, 8192, 16_379, 16_384, 65_536, 100_000, 1 << 20, (1 << 20) + 1, 5_000_000] {
                let message = ByteBuffer.pattern(size)
                let answer = try await loop.client.unary(Methods.echo, message)
                #expect(answer == message, "\(size) bytes")
            }
        }
    }

    @Test func echoes64MiB() async throws {
        try await Loopback.run { loop in
            let message = ByteBuffer.pattern(64 << 20)
            let answer = try await loop.client.unary(Methods.echo, message)
            #expect(answer == message)
        }
    }

    @Test func runsManyAtOnce() async throws {
        try await Loopback.run { loop in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<1000 {
                    group.addTask {
                        let message = ByteBuffer(string: "message \(number)")
                        let answer = try await loop.client.unary(Methods.echo, message)
                        #expect(answer == message)
                    }
                }
                try await group.waitForAll()
            }
        }
    }

    @Test func carriesErrors() async throws {
        try await Loopback.run { loop in
            for text in ["no such collection", "", "percent % and ünïcode\nand lines"] {
                let error = await failure { _ = try await loop.client.unary(Methods.fail, ByteBuffer(string: text)) }
                #expect(error?.code == .notFound)
                #expect(error?.message == text)
            }
            let missing = await failure { _ = try await loop.client.unary(Methods.missing, ByteBuffer()) }
            #expect(missing?.code == .unimplemented)
            #expect(missing?.message.contains("/test.Echo/Missing") == true)
        }
    }

    @Test func saysWhenToComeAgain() async throws {
        try await Loopback.run { loop in
            let error = await failure { _ = try await loop.client.unary(Methods.busy, ByteBuffer(string: "1500")) }
            #expect(error?.code == .resourceExhausted && error?.retryAfter == .milliseconds(1500))
            let other = await failure { _ = try await loop.client.unary(Methods.fail, ByteBuffer(string: "x")) }
            #expect(other != nil && other?.retryAfter == nil)
        }
    }

    @Test func keepsDeadlines() async throws {
        try await Loopback.run { loop in
            let start = ContinuousClock.now
            let error = await failure {
                let options = CallOptions(deadline: .after(.milliseconds(100)))
                _ = try await loop.client.unary(Methods.sleep, ByteBuffer(string: "30000"), options: options)
            }
            #expect(error?.code == .deadlineExceeded)
            #expect(ContinuousClock.now - start < .seconds(10))
            let late = await failure {
                _ = try await loop.client.unary(Methods.echo, ByteBuffer(), options: CallOptions(deadline: .after(.seconds(-1))))
            }
            #expect(late?.code == .deadlineExceeded)
            let options = CallOptions(deadline: .after(.seconds(20)))
            expectEqual(try await loop.client.unary(Methods.sleep, ByteBuffer(string: "20"), options: options).readableBytes, 2)
        }
    }

    @Test func cancelsWithItsTask() async throws {
        let started = Counter()
        try await Loopback.run(router: .counting(started)) { loop in
            let task = Task { try await loop.client.unary(Methods.sleep, ByteBuffer(string: "60000")) }
            #expect(await eventually { started.count == 1 })
            task.cancel()
            let error = await failure { _ = try await task.value }
            #expect(error?.code == .cancelled)
        }
    }

    @Test func carriesMetadata() async throws {
        try await Loopback.run { loop in
            var options = CallOptions()
            options.metadata.append("hello", for: "Text")
            options.metadata.append([0, 255, 1, 2], for: "bytes-bin")
            options.metadata.append([], for: "empty-bin")
            let stream = try await loop.client.serverStreaming(Methods.metadata, ByteBuffer(), options: options)
            var answers: [String] = []
            for try await message in stream { answers.append(String(buffer: message)) }
            #expect(answers == ["hello"])
            let initial = await stream.initialMetadata()
            #expect(initial["initial-text"] == "hello")
            #expect(initial.binary("initial-bytes-bin") == [0, 255, 1, 2])
            #expect(await stream.trailers()["trailer-text"] == "hello")
            let response = try await loop.client.unaryResponse(Methods.metadata, ByteBuffer(), options: options)
            #expect(String(buffer: response.message) == "hello")
            #expect(response.initialMetadata.binary("initial-empty-bin") == [])
            #expect(response.trailers["trailer-text"] == "hello")

            options.metadata = ["bad": "line\nbreak"]
            let error = await failure { _ = try await loop.client.unary(Methods.echo, ByteBuffer(), options: options) }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test func boundsMessages() async throws {
        try await Loopback.run(server: { $0.maxMessageBytes = 1000 }) { loop in
            let error = await failure { _ = try await loop.client.unary(Methods.echo, .pattern(1001)) }
            #expect(error?.code == .resourceExhausted)
            expectEqual(try await loop.client.unary(Methods.echo, .pattern(1000)).readableBytes, 1000)
            var options = CallOptions()
            options.maxMessageBytes = 10
            let answer = await failure { _ = try await loop.client.unary(Methods.echo, .pattern(11), options: options) }
            #expect(answer?.code == .resourceExhausted)
        }
    }

    @Test func compresses() async throws {
        try await Loopback.run(server: { $0.maxMessageBytes = 1 << 20 }) { loop in
            var options = CallOptions()
            options.compress = true
            for size in [0, 10, 511, 512, 100_000, 1 << 20] {
                let message = ByteBuffer.pattern(size)
                expectEqual(try await loop.client.unary(Methods.echo, message, options: options), message)
            }
            // A bomb: a few kilobytes that unpack to more than the server allows.
            let bomb = ByteBuffer(repeating: 0, count: 20 << 20)
            let error = await failure { _ = try await loop.client.unary(Methods.echo, bomb, options: options) }
            #expect(error?.code == .resourceExhausted)
        }
    }
}
