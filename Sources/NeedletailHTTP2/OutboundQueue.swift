import NIOCore

/// A short prefix and the bytes after it: a gRPC message with its five-byte header, without a buffer for the header.
struct OutboundPiece {
    /// The prefix, lowest byte first.
    var prefix: UInt64
    var prefixCount: Int
    var body: ByteBuffer

    var count: Int { prefixCount + body.readableBytes }
}

/// What a stream has yet to send, first in, first out. The first piece is stored in line: most streams never have a second.
struct OutboundQueue {
    private var first: OutboundPiece?
    private var rest: [OutboundPiece] = []
    private var restStart = 0
    private(set) var byteCount = 0

    mutating func append(_ piece: OutboundPiece) {
        byteCount += piece.count
        if first == nil { first = piece } else { rest.append(piece) }
    }

    mutating func removeAll() {
        first = nil
        rest = []
        restStart = 0
        byteCount = 0
    }

    /// Moves the next `count` bytes out: prefixes and short bodies into `small`, long bodies whole through `large`.
    mutating func take(_ count: Int, small: (UnsafeRawBufferPointer) -> Void, large: (ByteBuffer) -> Void) {
        var left = count
        byteCount -= count
        while left > 0, first != nil {
            left -= takeFromFirst(left, small: small, large: large)
            if first!.count == 0 { popFirst() }
        }
    }

    private mutating func takeFromFirst(
        _ limit: Int, small: (UnsafeRawBufferPointer) -> Void, large: (ByteBuffer) -> Void
    ) -> Int {
        var taken = 0
        if first!.prefixCount > 0 {
            taken = min(limit, first!.prefixCount)
            withUnsafeBytes(of: first!.prefix.littleEndian) { small(UnsafeRawBufferPointer(rebasing: $0[..<taken])) }
            first!.prefix = taken == 8 ? 0 : first!.prefix >> UInt64(8 * taken)
            first!.prefixCount -= taken
        }
        let bodyCount = min(limit - taken, first!.body.readableBytes)
        guard bodyCount > 0 else { return taken }
        if bodyCount >= Self.sharedBodyBytes, let slice = first!.body.readSlice(length: bodyCount) {
            large(slice)
        } else {
            first!.body.readWithUnsafeReadableBytes { bytes in
                small(UnsafeRawBufferPointer(rebasing: bytes[..<bodyCount]))
                return bodyCount
            }
        }
        return taken + bodyCount
    }

    private mutating func popFirst() {
        guard restStart < rest.count else {
            first = nil
            rest.removeAll(keepingCapacity: true)
            restStart = 0
            return
        }
        first = rest[restStart]
        rest[restStart].body = ByteBuffer()
        restStart += 1
        // Give sent pieces back now and then; amortised constant.
        if restStart >= 32, restStart * 2 >= rest.count {
            rest.removeFirst(restStart)
            restStart = 0
        }
    }

    /// From this size on, handing the slice to `writev` is cheaper than copying it beside the frame headers.
    private static let sharedBodyBytes = 4096
}
