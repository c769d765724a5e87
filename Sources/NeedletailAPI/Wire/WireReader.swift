internal import NeedletailCore

/// Walks the fields of an encoded message (Protocol Buffers, "Encoding").
struct WireReader {
    enum Value {
        case varint(UInt64)
        case fixed64(UInt64)
        case fixed32(UInt32)
        case bytes(ArraySlice<UInt8>)
    }

    private let bytes: ArraySlice<UInt8>
    private var offset: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        offset = bytes.startIndex
    }

    var isAtEnd: Bool { offset == bytes.endIndex }

    /// nil at the end.
    mutating func next() throws(NeedletailError) -> (field: UInt64, value: Value)? {
        if isAtEnd { return nil }
        let tag = try varint()
        let value: Value =
            switch tag & 7 {
            case 0: .varint(try varint())
            case 1: .fixed64(try fixed(8))
            case 2: .bytes(try take(Int(clamping: try varint())))
            case 5: .fixed32(UInt32(try fixed(4)))
            default: throw Self.broken
            }
        return (tag >> 3, value)
    }

    mutating func varint() throws(NeedletailError) -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 64, by: 7) {
            guard offset < bytes.endIndex else { break }
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
        }
        throw Self.broken
    }

    /// Little-endian.
    mutating func fixed(_ count: Int) throws(NeedletailError) -> UInt64 {
        try take(count).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    }

    private mutating func take(_ count: Int) throws(NeedletailError) -> ArraySlice<UInt8> {
        guard count <= bytes.endIndex - offset else { throw Self.broken }
        defer { offset += count }
        return bytes[offset..<offset + count]
    }

    private static var broken: NeedletailError { NeedletailError(.internal, "a message ends too early or is damaged") }
}

/// Appends fields to an encoded message.
struct WireWriter {
    private(set) var bytes: [UInt8] = []

    mutating func varint(_ value: UInt64) {
        var left = value
        while left > 0x7f {
            bytes.append(UInt8(left & 0x7f) | 0x80)
            left >>= 7
        }
        bytes.append(UInt8(left))
    }

    mutating func tag(_ field: UInt64, _ wireType: UInt64) { varint(field << 3 | wireType) }

    mutating func fixed(_ value: UInt64, _ count: Int) {
        for index in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
    }

    mutating func bytes(_ field: UInt64, _ content: some Collection<UInt8>) {
        tag(field, 2)
        varint(UInt64(content.count))
        bytes.append(contentsOf: content)
    }

    mutating func append(_ other: WireWriter) { bytes.append(contentsOf: other.bytes) }
}
