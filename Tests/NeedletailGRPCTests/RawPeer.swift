import Glibc
import NIOCore
import NIOPosix
import NeedletailCore
import Testing

/// A socket that sends what it is told, whether that is HTTP/2 or not.
final class RawPeer: ChannelInboundHandler, @unchecked Sendable {  // the event loop guards `received`
    typealias InboundIn = ByteBuffer

    private(set) var received = [UInt8]()
    private let keeps: Bool
    private var channel: (any Channel)!

    private init(keeps: Bool) { self.keeps = keeps }

    static func connect(_ port: Int, keeps: Bool = true) async throws -> RawPeer {
        let peer = RawPeer(keeps: keeps)
        peer.channel = try await ClientBootstrap(group: Loopback.group)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(peer) }
            }
            .connect(host: "127.0.0.1", port: port).get()
        return peer
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if keeps { received += unwrapInboundIn(data).readableBytesView }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }

    /// Sends; false when the other side has closed.
    @discardableResult func send(_ bytes: [UInt8]) async -> Bool {
        (try? await channel.writeAndFlush(ByteBuffer(bytes: bytes)).get()) != nil
    }

    /// Whether the other side closes within `limit`.
    func closes(within limit: Duration = .seconds(10)) async -> Bool {
        await eventually(limit) { !channel.isActive }
    }

    func bytes() async throws -> [UInt8] { try await channel.eventLoop.submit { self.received }.get() }

    struct Frame {
        let type: UInt8
        let flags: UInt8
        let stream: UInt32
        let payload: ArraySlice<UInt8>
    }

    func frames() async throws -> [Frame] { Self.frames(try await bytes()[...]) }

    static func frames(_ bytes: ArraySlice<UInt8>) -> [Frame] {
        var frames: [Frame] = []
        var index = bytes.startIndex
        while index + 9 <= bytes.endIndex {
            let end = index + 9 + Int(Frames.number(bytes[index..<index + 3]))
            guard end <= bytes.endIndex else { break }
            let stream = Frames.number(bytes[index + 5..<index + 9])
            frames.append(Frame(type: bytes[index + 3], flags: bytes[index + 4], stream: stream, payload: bytes[index + 9..<end]))
            index = end
        }
        return frames
    }

    /// The error code of the GOAWAY frame, once one has come.
    func goAway() async throws -> UInt32? {
        try await frames().first { $0.type == 7 }.map { Frames.number($0.payload.dropFirst(4).prefix(4)) }
    }

    func close() async { try? await channel.close().get() }
}

/// Frames made by hand: the right ones, and those no library would send.
enum Frames {
    static let preface = Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8)
    static let settings = frame(4, 0, 0, [])
    static let settingsAck = frame(4, 1, 0, [])

    static func frame(_ type: UInt8, _ flags: UInt8, _ stream: UInt32, _ payload: [UInt8], length: Int? = nil) -> [UInt8] {
        let length = length ?? payload.count
        return [UInt8(length >> 16 & 255), UInt8(length >> 8 & 255), UInt8(length & 255), type, flags] + big(stream) + payload
    }

    static func big(_ value: UInt32) -> [UInt8] { [24, 16, 8, 0].map { UInt8(value >> $0 & 255) } }

    static func number(_ bytes: ArraySlice<UInt8>) -> UInt32 { bytes.reduce(0) { $0 << 8 | UInt32($1) } }

    /// A literal field, not indexed, not Huffman-coded (RFC 7541, section 6.2.2). With `indexed`, it enters the dynamic table.
    static func field(_ name: String, _ value: String, indexed: Bool = false) -> [UInt8] {
        [indexed ? 0x40 : 0] + string(name) + string(value)
    }

    private static func string(_ text: String) -> [UInt8] {
        let count = text.utf8.count
        guard count >= 127 else { return [UInt8(count)] + text.utf8 }
        var rest = count - 127
        var bytes: [UInt8] = [127]
        while rest >= 128 {
            bytes.append(UInt8(rest & 127 | 128))
            rest >>= 7
        }
        return bytes + [UInt8(rest)] + text.utf8
    }

    static func request(_ path: String = "/test.Echo/Echo", extra: [UInt8] = [], contentType: String = "application/grpc")
        -> [UInt8]
    {
        field(":method", "POST") + field(":scheme", "http") + field(":path", path) + field(":authority", "test")
            + field("content-type", contentType) + field("te", "trailers") + extra
    }

    /// A whole unary call.
    static func call(_ stream: UInt32, _ message: [UInt8], path: String = "/test.Echo/Echo") -> [UInt8] {
        frame(1, 4, stream, request(path)) + frame(0, 1, stream, [0] + big(UInt32(message.count)) + message)
    }
}

/// SplitMix64: the same cases for the same seed.
struct Seeded: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
        return value ^ value >> 31
    }

    /// The seed of a random test: `NEEDLETAIL_TEST_SEED`, or a new one, printed.
    static func seed(_ test: String) -> UInt64 {
        let seed = getenv("NEEDLETAIL_TEST_SEED").flatMap { UInt64(String(cString: $0)) } ?? UInt64.random(in: 0 ... .max)
        print("\(test): NEEDLETAIL_TEST_SEED=\(seed)")
        return seed
    }

    /// `bytes` with a few changes: flips, cuts, copies, insertions.
    mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for _ in 0..<Int.random(in: 1...6, using: &self) where !bytes.isEmpty {
            let at = Int.random(in: 0..<bytes.count, using: &self)
            let end = min(bytes.count, at + Int.random(in: 1...40, using: &self))
            switch Int.random(in: 0..<6, using: &self) {
            case 0: bytes[at] ^= 1 << UInt8.random(in: 0...7, using: &self)
            case 1: bytes[at] = UInt8.random(in: 0...255, using: &self)
            case 2: bytes.removeSubrange(at..<end)
            case 3: bytes.insert(contentsOf: bytes[at..<end], at: Int.random(in: 0...bytes.count, using: &self))
            case 4: bytes.insert(contentsOf: (at..<end).map { _ in UInt8.random(in: 0...255, using: &self) }, at: at)
            default: bytes.removeSubrange(Int.random(in: 0..<bytes.count, using: &self)...)
            }
        }
        return bytes
    }
}
