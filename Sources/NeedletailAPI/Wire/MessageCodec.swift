import CNeedletailMessages
import CProtobufC
public import NIOCore
package import NeedletailCore

/// How one value travels as one protobuf message.
///
/// `decode` takes bytes that nobody vouches for: it throws `invalidArgument` for whatever is wrong with them, and never traps.
/// `encode` throws `invalidArgument` for a value that the message has no place for.
public struct MessageCodec<Value: Sendable>: Sendable {
    private let packing: @Sendable (Value) throws -> ByteBuffer
    private let unpacking: @Sendable (ByteBuffer) throws -> Value

    public func encode(_ value: Value) throws -> ByteBuffer { try packing(value) }
    public func decode(_ message: ByteBuffer) throws -> Value { try unpacking(message) }

    /// `expectedBytes`: about how much memory a value's structs take.
    init<Message: WireMessage>(
        expectedBytes: @escaping @Sendable (Value) -> Int = { _ in 0 },
        write: @escaping @Sendable (Value, MessageArena) throws(NeedletailError) -> UnsafeMutablePointer<Message>,
        read: @escaping @Sendable (UnsafePointer<Message>) throws(NeedletailError) -> Value
    ) {
        packing = { value in
            let arena = MessageArena(expectedBytes: expectedBytes(value))
            return try WireCoding.pack(try write(value, arena), in: arena)
        }
        unpacking = { message in try WireCoding.unpack(message, read) }
    }
}

package enum WireCoding {
    /// The packed message that `write` builds.
    package static func pack<Message: WireMessage>(
        _ write: (MessageArena) throws(NeedletailError) -> UnsafeMutablePointer<Message>
    ) throws(NeedletailError) -> ByteBuffer {
        let arena = MessageArena(expectedBytes: 0)
        return try pack(try write(arena), in: arena)
    }

    static func pack<Message: WireMessage>(
        _ message: UnsafeMutablePointer<Message>, in arena: MessageArena
    ) throws(NeedletailError) -> ByteBuffer {
        // The arena owns what `message` points to.
        defer { withExtendedLifetime(arena) {} }
        let base = UnsafeRawPointer(message).assumingMemoryBound(to: ProtobufCMessage.self)
        let size = protobuf_c_message_get_packed_size(base)
        guard size <= Limits.messageBytes else {
            throw NeedletailError(
                .resourceExhausted,
                "a message of \(size) bytes exceeds the limit of \(Limits.messageBytes); ask for or send fewer points at a time")
        }
        var buffer = ByteBufferAllocator().buffer(capacity: size)
        buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: size) { space in
            guard let start = space.baseAddress, size > 0 else { return 0 }
            return protobuf_c_message_pack(base, start.assumingMemoryBound(to: UInt8.self))
        }
        return buffer
    }

    /// - Throws: `invalidArgument` for bytes that are no such message, or what `read` throws.
    package static func unpack<Message: WireMessage, Value>(
        _ buffer: ByteBuffer, _ read: (UnsafePointer<Message>) throws(NeedletailError) -> Value
    ) throws -> Value {
        try buffer.withUnsafeReadableBytes { bytes in
            try MessageCheck.check(bytes, Message.descriptor)
            let limit = MessageArena.unpackLimitBytes(bytes.count)
            let arena = MessageArena(expectedBytes: 512 + 2 * bytes.count, limitBytes: limit)
            var allocator = arena.allocator
            return try withExtendedLifetime(arena) {
                let start = bytes.baseAddress?.assumingMemoryBound(to: UInt8.self)
                guard let message = protobuf_c_message_unpack(Message.descriptor, &allocator, bytes.count, start) else {
                    throw arena.isExhausted
                        ? NeedletailError(
                            .resourceExhausted,
                            "the message takes more than \(limit >> 20) MiB once unpacked; send fewer points or values"
                        )
                        : MessageCheck.malformed("a field has another type than the API gives it")
                }
                return try read(UnsafeRawPointer(message).assumingMemoryBound(to: Message.self))
            }
        }
    }
}
