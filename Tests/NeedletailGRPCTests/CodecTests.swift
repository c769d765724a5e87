import NIOCore
import NeedletailCore
import Testing

@testable import NeedletailGRPC
@testable import NeedletailHTTP2

/// The pieces of the protocol that are pure functions and state machines.
@Suite struct CodecTests {
    /// Every way to cut a stream of messages in chunks gives the same messages.
    @Test func readsMessagesHoweverTheyAreCut() throws {
        let bodies = [0, 1, 5, 300, 0, 70_000].map { ByteBuffer.pattern($0) }
        var stream = ByteBuffer()
        for (index, body) in bodies.enumerated() {
            stream.writeInteger(UInt8(index % 2))
            stream.writeInteger(UInt32(body.readableBytes))
            stream.writeImmutableBuffer(body)
        }
        for chunk in [1, 2, 3, 4, 5, 6, 7, 100, 4096, stream.readableBytes] {
            for sharing in [false, true] {
                var rest = stream
                var reader = MessageReader(limit: 70_000)
                var messages: [RawMessage] = []
                var returned = 0
                while var part = rest.readSlice(length: min(chunk, rest.readableBytes)), part.readableBytes > 0 {
                    while let message = try reader.next(&part, sharing: sharing) { messages.append(message) }
                    returned += reader.takePartialCredit()
                }
                #expect(messages.map(\.body) == bodies, "chunks of \(chunk)")
                #expect(messages.map(\.isCompressed) == bodies.indices.map { $0 % 2 == 1 })
                // Every byte's credit comes back exactly once.
                #expect(returned + messages.reduce(0) { $0 + $1.credit } == stream.readableBytes)
                #expect(reader.isBetweenMessages)
            }
        }
    }

    @Test func refusesBadFraming() {
        var flag = ByteBuffer(bytes: [2, 0, 0, 0, 0])
        var reader = MessageReader(limit: 10)
        #expect(throws: NeedletailError.self) { try reader.next(&flag, sharing: true) }
        var long = ByteBuffer(bytes: [0, 0, 0, 0, 11])
        reader = MessageReader(limit: 10)
        #expect(throws: NeedletailError.self) { try reader.next(&long, sharing: true) }
    }

    @Test func base64() {
        for (bytes, text) in [
            ("", ""), ("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("fooba", "Zm9vYmE"), ("foobar", "Zm9vYmFy"),
        ] {
            #expect(Base64.encode(Array(bytes.utf8)) == text)
            #expect(Base64.decode(text.utf8) == Array(bytes.utf8))
            #expect(Base64.decode((text + String(repeating: "=", count: (4 - text.count % 4) % 4)).utf8) == Array(bytes.utf8))
        }
        for bad in ["A", "Zm9vY", "Zm!v", "Zm\u{e9}v"] { #expect(Base64.decode(bad.utf8) == nil) }
    }

    @Test func statusMessages() {
        for (plain, wire) in [("a b", "a b"), ("100%", "100%25"), ("ü\n", "%C3%BC%0A"), ("~", "~")] {
            #expect(GRPCStatus.encode(plain) == wire)
            #expect(GRPCStatus.decode(Array(wire.utf8).span.bytes) == plain)
        }
        for odd in ["%", "%4", "%zz", "100%"] { #expect(GRPCStatus.decode(Array(odd.utf8).span.bytes) == odd) }
        #expect(GRPCStatus.error(99, "x").code == .unknown)
        #expect(GRPCStatus.error(httpStatus: 503).code == .unavailable)
        #expect(GRPCStatus.error(httpStatus: 404).code == .unimplemented)
    }

    @Test func timeouts() {
        func parse(_ text: String) -> Duration? { GRPCTimeout.parse(Array(text.utf8).span.bytes) }
        #expect(parse("5S") == .seconds(5))
        #expect(parse("99999999H") == .seconds(99_999_999 * 3600))
        #expect(parse("1n") == .nanoseconds(1))
        for bad in ["", "S", "1", "-1S", "123456789S", "1s", "1 S"] { #expect(parse(bad) == nil, "\(bad)") }
        for nanoseconds: Int64 in [0, 1, 99_999_999, 100_000_000, 123_456_789_123, 7_200_000_000_000, .max / 2] {
            let text = GRPCTimeout.text(nanoseconds: nanoseconds)
            #expect(text.utf8.count <= 9)
            #expect(parse(text)! >= .nanoseconds(nanoseconds))
        }
    }

    @Test func findsRoutes() {
        var router = GRPCRouter()
        let methods = (0..<200).map { GRPCMethod(service: "service\($0 % 7)", name: "method\($0)") }
        for method in methods { router.unary(method) { message, _ in message } }
        let table = RouteTable(router)
        for method in methods { #expect(table.find(Array(method.path.utf8).span.bytes)?.method == method) }
        for path in ["", "/", "/service0", "/service0/method1", "/service0/method00"] {
            #expect(table.find(Array(path.utf8).span.bytes) == nil)
        }
        #expect(router.services() == (0..<7).map { "service\($0)" })
    }

    /// The queue against a plain array of bytes.
    @Test func outboundQueueKeepsBytesInOrder() {
        var random = Seeded(Seeded.seed("outboundQueue"))
        var queue = OutboundQueue()
        var expected: [UInt8] = []
        var actual: [UInt8] = []
        for _ in 0..<5000 {
            if Bool.random(using: &random) {
                let prefix = UInt64.random(in: 0 ... .max, using: &random)
                let count = Int.random(in: 0...8, using: &random)
                let body = ByteBuffer.pattern(
                    Int.random(in: 0...10_000, using: &random), seed: UInt8.random(in: 0...255, using: &random))
                queue.append(OutboundPiece(prefix: prefix, prefixCount: count, body: body))
                expected += withUnsafeBytes(of: prefix.littleEndian) { Array($0.prefix(count)) } + body.readableBytesView
            } else {
                let count = Int.random(in: 0...min(20_000, queue.byteCount), using: &random)
                queue.take(count, small: { actual += $0 }, large: { actual += $0.readableBytesView })
            }
        }
        queue.take(queue.byteCount, small: { actual += $0 }, large: { actual += $0.readableBytesView })
        #expect(actual == expected)
        #expect(queue.byteCount == 0)
    }

    @Test func gzipRoundTrip() throws {
        for size in [0, 1, 1000, 1 << 20] {
            let message = ByteBuffer.pattern(size)
            let packed = try Gzip.compress(message)
            #expect(try Gzip.decompress(packed, limit: size) == message)
            if size > 0 { #expect(throws: NeedletailError.self) { try Gzip.decompress(packed, limit: size - 1) } }
            var cut = packed
            cut.moveWriterIndex(to: max(0, packed.writerIndex - 9))
            #expect(throws: NeedletailError.self) { try Gzip.decompress(cut, limit: 1 << 20) }
        }
        #expect(throws: NeedletailError.self) { try Gzip.decompress(.pattern(100), limit: 1000) }
    }

    @Test func floodGuardRefills() {
        var bucket = FloodGuard(perSecond: 10, burst: 5, now: .uptimeNanoseconds(0))
        var taken: [Bool] = []
        for (cost, milliseconds) in [(4, 0), (1, 0), (1, 0), (1, 50), (1, 200), (5, 900_000), (1, 900_000)] as [(Int, UInt64)] {
            taken.append(bucket.take(cost, now: .uptimeNanoseconds(milliseconds * 1_000_000)))
        }
        #expect(taken == [true, true, false, false, true, true, false])
        bucket.give(100)
        let given = (0..<6).map { _ in bucket.take(1, now: .uptimeNanoseconds(900_000_000_000)) }
        #expect(given == [true, true, true, true, true, false], "no more than a burst")
    }
}
