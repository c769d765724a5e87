/// Walks the fields of a protobuf message. The descriptors it reads are our own, but it stays within bounds whatever they are.
struct DescriptorReader {
    private let bytes: ArraySlice<UInt8>
    private var offset: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        offset = bytes.startIndex
    }

    /// The next length-delimited field: its number and content; nil at the end, or where the bytes make no sense.
    mutating func next() -> (field: UInt64, content: ArraySlice<UInt8>)? {
        while offset < bytes.endIndex, let tag = varint() {
            switch tag & 7 {
            case 0: if varint() == nil { return nil }
            case 1: offset += 8
            case 5: offset += 4
            case 2:
                guard let length = varint(), length <= UInt64(bytes.endIndex - offset) else { return nil }
                defer { offset += Int(length) }
                return (tag >> 3, bytes[offset..<offset + Int(length)])
            default: return nil
            }
        }
        return nil
    }

    private mutating func varint() -> UInt64? {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while offset < bytes.endIndex, shift < 64 {
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        return nil
    }

    /// The contents of all fields with this number.
    static func all(_ field: UInt64, in bytes: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
        var reader = DescriptorReader(bytes)
        var found: [ArraySlice<UInt8>] = []
        while let next = reader.next() { if next.field == field { found.append(next.content) } }
        return found
    }

    static func text(_ field: UInt64, in bytes: ArraySlice<UInt8>) -> String {
        all(field, in: bytes).last.map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
