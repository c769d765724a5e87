package import CNeedletailMessages
import CProtobufC
package import NeedletailCore

/// The memory of one message's C structs: blocks handed out from the front and freed together.
///
/// protobuf-c allocates every part of a message by itself; here an allocation is an addition, and `free` does nothing. An arena lives
/// inside one synchronous call, so at any moment there are no more of them than threads.
package final class MessageArena {
    /// The most that building a message may take.
    static let buildLimitBytes = 768 << 20

    /// The most that unpacking a message of `count` bytes may take. Structs are larger than their encoding (a value of 2 bytes takes about
    /// 100), so a message within the size limit of the wire could otherwise ask for gigabytes.
    static func unpackLimitBytes(_ count: Int) -> Int { (128 << 20) + 6 * count }

    private let limitBytes: Int
    private static let alignment = 16
    private var blocks: [UnsafeMutableRawPointer] = []
    private var next: UnsafeMutableRawPointer
    private var left: Int
    private var nextBlockBytes: Int
    private var totalBytes: Int
    /// Whether an allocation was refused.
    private(set) var isExhausted = false

    /// `expectedBytes`: what is likely needed; more is got in growing blocks.
    init(expectedBytes: Int, limitBytes: Int = MessageArena.buildLimitBytes) {
        self.limitBytes = limitBytes
        left = max(1024, expectedBytes)
        next = .allocate(byteCount: left, alignment: Self.alignment)
        blocks.append(next)
        totalBytes = left
        nextBlockBytes = 2 * left
    }

    deinit { for block in blocks { block.deallocate() } }

    /// `count` bytes, not set to anything; nil once the limit is reached.
    func allocate(_ count: Int) -> UnsafeMutableRawPointer? {
        guard count >= 0, count <= limitBytes else {
            isExhausted = true
            return nil
        }
        let size = (count + Self.alignment - 1) & ~(Self.alignment - 1)
        if size > left, !grow(size) { return nil }
        defer {
            next += size
            left -= size
        }
        return next
    }

    private func grow(_ size: Int) -> Bool {
        let bytes = max(size, min(nextBlockBytes, limitBytes - totalBytes))
        guard totalBytes + bytes <= limitBytes else {
            isExhausted = true
            return false
        }
        next = .allocate(byteCount: bytes, alignment: Self.alignment)
        blocks.append(next)
        left = bytes
        totalBytes += bytes
        nextBlockBytes = 2 * bytes
        return true
    }

    /// What protobuf-c calls; good while the arena lives.
    var allocator: ProtobufCAllocator {
        ProtobufCAllocator(
            // Called for each part of a message. The arena lives, so nothing is counted.
            alloc: { arena, size in Unmanaged<MessageArena>.fromOpaque(arena!)._withUnsafeGuaranteedRef { $0.allocate(Int(clamping: size)) } },
            free: { _, _ in },
            allocator_data: Unmanaged.passUnretained(self).toOpaque())
    }
}

// Building messages. What is built here comes from this process, so the limit throws where it is reached and nothing is left half made.
extension MessageArena {
    private func must(_ count: Int) throws(NeedletailError) -> UnsafeMutableRawPointer {
        guard let memory = allocate(count) else {
            throw NeedletailError(
                .resourceExhausted, "a message would take more than \(limitBytes >> 20) MiB; ask for fewer points at a time")
        }
        return memory
    }

    /// An empty message.
    package func make<Message: WireMessage>(_ type: Message.Type = Message.self) throws(NeedletailError) -> UnsafeMutablePointer<Message> {
        let message = try must(MemoryLayout<Message>.size).bindMemory(to: Message.self, capacity: 1)
        Message.initialise(message)
        return message
    }

    /// The array of pointers of a repeated field; nil for none, as protobuf-c has it.
    package func list<Element, Message>(
        _ elements: some Collection<Element>, _ convert: (Element) throws(NeedletailError) -> UnsafeMutablePointer<Message>
    ) throws(NeedletailError) -> UnsafeMutablePointer<UnsafeMutablePointer<Message>?>? {
        let count = elements.count
        if count == 0 { return nil }
        let pointers = try array(count, of: UnsafeMutablePointer<Message>?.self)
        var index = 0
        for element in elements {
            pointers[index] = try convert(element)
            index += 1
        }
        return pointers
    }

    func array<Element>(_ count: Int, of type: Element.Type) throws(NeedletailError) -> UnsafeMutablePointer<Element> {
        try must(count * MemoryLayout<Element>.stride).bindMemory(to: type, capacity: count)
    }

    /// A repeated text field.
    func texts(_ texts: [String]) throws(NeedletailError) -> UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? {
        try list(texts) { text throws(NeedletailError) in try self.text(text) }
    }

    /// A copy of the text that ends with NUL. Text with a NUL inside has no such form and is refused.
    package func text(_ text: String) throws(NeedletailError) -> UnsafeMutablePointer<CChar> {
        var text = text
        // `withUTF8` cannot throw a typed error.
        let copy = text.withUTF8 { utf8 in Result { () throws(NeedletailError) in try self.text(UnsafeRawBufferPointer(utf8)) } }
        return try copy.get()
    }

    func text(_ utf8: UnsafeRawBufferPointer) throws(NeedletailError) -> UnsafeMutablePointer<CChar> {
        guard !utf8.contains(0) else {
            throw NeedletailError(
                .invalidArgument, "text may not contain the character NUL (U+0000); remove it or use another encoding")
        }
        let copy = try must(utf8.count + 1)
        if let base = utf8.baseAddress { copy.copyMemory(from: base, byteCount: utf8.count) }
        copy.storeBytes(of: 0, toByteOffset: utf8.count, as: UInt8.self)
        return copy.bindMemory(to: CChar.self, capacity: utf8.count + 1)
    }

    package func bytes(_ bytes: [UInt8]) throws(NeedletailError) -> ProtobufCBinaryData {
        if bytes.isEmpty { return ProtobufCBinaryData(len: 0, data: nil) }
        let copy = try must(bytes.count)
        bytes.withUnsafeBytes { copy.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
        return ProtobufCBinaryData(len: bytes.count, data: copy.bindMemory(to: UInt8.self, capacity: bytes.count))
    }
}
