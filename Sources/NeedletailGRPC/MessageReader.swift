import NIOCore
import NeedletailCore

/// A message as it came: perhaps still compressed.
struct RawMessage {
    var body: ByteBuffer
    var isCompressed: Bool
    /// Bytes of the stream's window that are still held by this message.
    var credit: Int
}

/// Cuts the body of a stream into messages: one byte for "compressed", four for the length, then the message (gRPC over HTTP2,
/// "Length-Prefixed-Message"). Any split over DATA frames is handled.
struct MessageReader {
    static let prefixBytes = 5

    private let limit: Int
    private var prefix: UInt64 = 0
    private var prefixCount = 0
    private var isCompressed = false
    private var length = 0
    private var body: ByteBuffer?
    /// Bytes taken into an unfinished message whose credit is still held.
    private var credit = 0

    init(limit: Int) { self.limit = limit }

    /// Bytes held in an unfinished message.
    var partialBytes: Int { body?.readableBytes ?? 0 }
    /// Whether the stream may end here.
    var isBetweenMessages: Bool { prefixCount == 0 && body == nil }

    /// The credit of the unfinished message so far; it then counts as returned.
    mutating func takePartialCredit() -> Int {
        defer { credit = 0 }
        return credit
    }

    /// The next whole message, if `bytes` completes one; call until nil. With `sharing`, a message that lies whole in `bytes` is a
    /// slice of it, however small; else small ones are copied, so that a short message in a queue does not keep a long read buffer.
    mutating func next(_ bytes: inout ByteBuffer, sharing: Bool) throws -> RawMessage? {
        if body == nil {
            guard try readPrefix(&bytes) else { return nil }
            if let whole = takeWhole(&bytes, sharing: sharing) { return whole }
            // The length is only a claim: memory grows with what arrives.
            body = ByteBufferAllocator().buffer(capacity: min(length, max(bytes.readableBytes, 64 << 10)))
        }
        append(&bytes)
        guard let body, body.readableBytes == length else { return nil }
        self.body = nil
        return finish(body)
    }

    private mutating func readPrefix(_ bytes: inout ByteBuffer) throws -> Bool {
        while prefixCount < Self.prefixBytes {
            guard let byte = bytes.readInteger(as: UInt8.self) else { return false }
            prefix = prefix << 8 | UInt64(byte)
            prefixCount += 1
            credit += 1
        }
        let flag = prefix >> 32
        length = Int(prefix & 0xffff_ffff)
        guard flag <= 1 else {
            throw NeedletailError(
                .internal, "A message starts with \(flag) where 0 or 1 is expected. The peer breaks gRPC's framing.")
        }
        guard length <= limit else { throw Self.tooLarge("\(length) bytes", limit) }
        isCompressed = flag == 1
        return true
    }

    private mutating func takeWhole(_ bytes: inout ByteBuffer, sharing: Bool) -> RawMessage? {
        guard bytes.readableBytes >= length else { return nil }
        let capacity = bytes.storageCapacity
        guard let slice = bytes.readSlice(length: length) else { return nil }
        credit += length
        if sharing || length * 4 >= capacity { return finish(slice) }
        return finish(ByteBufferAllocator().buffer(buffer: slice))
    }

    private mutating func append(_ bytes: inout ByteBuffer) {
        let count = min(length - partialBytes, bytes.readableBytes)
        guard count > 0, var part = bytes.readSlice(length: count) else { return }
        // Doubling keeps the copying linear; the message's length caps it.
        if body!.writableBytes < count {
            body!.reserveCapacity(min(length, max(body!.readableBytes * 2, body!.readableBytes + count)))
        }
        body!.writeBuffer(&part)
        credit += count
    }

    private mutating func finish(_ body: ByteBuffer) -> RawMessage {
        defer {
            prefix = 0
            prefixCount = 0
            credit = 0
        }
        return RawMessage(body: body, isCompressed: isCompressed, credit: credit)
    }

    static func tooLarge(_ size: String, _ limit: Int) -> NeedletailError {
        NeedletailError(
            .resourceExhausted, "A message of \(size) exceeds the limit of \(limit) bytes. Send smaller batches or raise the limit."
        )
    }
}
