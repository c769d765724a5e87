private import CZlib
import NIOCore
import NeedletailCore

/// gzip of whole messages. Each call owns its zlib stream and frees it before it returns.
enum Gzip {
    /// zlib's window size (15) plus 16: the gzip format instead of zlib's own (zlib manual, `deflateInit2`).
    private static let gzipWindowBits: Int32 = 15 + 16

    static func compress(_ message: ByteBuffer) throws -> ByteBuffer {
        let stream = makeStream()
        defer { stream.deallocate() }
        let size = Int32(MemoryLayout<z_stream>.size)
        // Level 1: between nodes the wire is fast, so time matters more than the last per cent.
        guard deflateInit2_(stream, 1, Z_DEFLATED, gzipWindowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, size) == Z_OK else {
            throw outOfMemory
        }
        defer { deflateEnd(stream) }
        var output = ByteBufferAllocator().buffer(capacity: Int(deflateBound(stream, UInt(message.readableBytes))))
        let result = run(stream, message, from: message.readerIndex, into: &output) { deflate($0, Z_FINISH) }
        guard result == Z_STREAM_END else { throw NeedletailError(.internal, "zlib could not compress a message (\(result)).") }
        return output
    }

    /// Throws `resourceExhausted` as soon as the message would be longer than `limit`, before it is unpacked any further.
    static func decompress(_ message: ByteBuffer, limit: Int) throws -> ByteBuffer {
        let stream = makeStream()
        defer { stream.deallocate() }
        guard inflateInit2_(stream, gzipWindowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw outOfMemory
        }
        defer { inflateEnd(stream) }
        var output = ByteBufferAllocator().buffer(capacity: min(limit + 1, max(256, message.readableBytes * 4)))
        var position = message.readerIndex
        while true {
            let result = run(stream, message, from: position, into: &output) { inflate($0, Z_NO_FLUSH) }
            position = message.writerIndex - Int(stream.pointee.avail_in)
            guard output.readableBytes <= limit else {
                throw MessageReader.tooLarge("more than \(limit) bytes when unpacked", limit)
            }
            if result == Z_STREAM_END { return output }
            guard result == Z_OK || result == Z_BUF_ERROR, stream.pointee.avail_out == 0 else {
                throw NeedletailError(
                    .internal, "A compressed message is damaged (zlib says \(result)). Send it again, or without compression.")
            }
            output.reserveCapacity(minimumWritableBytes: min(max(output.readableBytes, 4096), limit + 1 - output.readableBytes))
        }
    }

    /// zlib keeps the address of its stream, so the stream must not be a local variable that Swift may move.
    private static func makeStream() -> UnsafeMutablePointer<z_stream> {
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        return stream
    }

    /// One step of zlib from the rest of `message` into the free space of `output`.
    private static func run(
        _ stream: UnsafeMutablePointer<z_stream>, _ message: ByteBuffer, from position: Int, into output: inout ByteBuffer,
        _ step: (UnsafeMutablePointer<z_stream>) -> Int32
    ) -> Int32 {
        message.withVeryUnsafeBytes { input in
            let rest = UnsafeMutableRawBufferPointer(
                mutating: UnsafeRawBufferPointer(rebasing: input[position..<message.writerIndex]))
            stream.pointee.next_in = rest.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_in = UInt32(rest.count)
            var result = Z_OK
            output.writeWithUnsafeMutableBytes(minimumWritableBytes: 1) { space in
                stream.pointee.next_out = space.baseAddress?.assumingMemoryBound(to: UInt8.self)
                stream.pointee.avail_out = UInt32(clamping: space.count)
                let before = stream.pointee.avail_out
                result = step(stream)
                return Int(before - stream.pointee.avail_out)
            }
            return result
        }
    }

    private static var outOfMemory: NeedletailError {
        NeedletailError(.resourceExhausted, "No memory to (un)pack a message. Lower the load or add memory.")
    }
}
