import CNeedletailMessages
import CProtobufC
import NeedletailCore

/// Walks a message's bytes along its descriptor before protobuf-c sees them, and refuses what protobuf-c would accept to our harm:
///
/// - nesting beyond a depth: protobuf-c recurses without a limit;
/// - a part given twice: protobuf-c merges the two, and a part given a million times costs the square of it;
/// - text that is not UTF-8, or holds a NUL: protobuf-c's strings end at the first NUL, and the rest would be lost silently.
///
/// One pass, no allocation; the contents of vectors are stepped over.
struct MessageCheck {
    /// A payload value nests 64 levels at most, each of which is up to three messages (value, map, entry), inside an entry of a point
    /// of a list.
    static let maximumDepth = 3 * (PayloadCoding.maximumDepth + 1) + 8

    private let bytes: UnsafeRawBufferPointer
    private var offset = 0

    /// - Throws: `invalidArgument`.
    static func check(_ bytes: UnsafeRawBufferPointer, _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>)
        throws(NeedletailError)
    {
        var check = MessageCheck(bytes: bytes)
        try check.message(descriptor, end: bytes.count, depth: 0)
    }

    private init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    private mutating func message(
        _ descriptor: UnsafePointer<ProtobufCMessageDescriptor>, end: Int, depth: Int
    ) throws(NeedletailError) {
        guard depth <= Self.maximumDepth else {
            throw NeedletailError(
                .invalidArgument, "the message nests too deeply; a payload value may nest \(PayloadCoding.maximumDepth) levels")
        }
        let fields = UnsafeBufferPointer(start: descriptor.pointee.fields, count: Int(descriptor.pointee.n_fields))
        var seen: UInt64 = 0
        var hint = 0
        while offset < end {
            let tag = try varint(end: end)
            let index = Self.find(tag >> 3, fields, from: &hint)
            switch tag & 7 {
            case 0: _ = try varint(end: end)
            case 1: try skip(8, end: end)
            case 5: try skip(4, end: end)
            case 2:
                let length = try varint(end: end)
                guard length <= UInt64(end - offset) else { throw Self.malformed("a length goes past the end") }
                try content(index, fields, length: Int(length), seen: &seen, depth: depth)
            default: throw Self.malformed("wire type \(tag & 7) is not used by proto3")
            }
        }
    }

    private mutating func content(
        _ index: Int?, _ fields: UnsafeBufferPointer<ProtobufCFieldDescriptor>, length: Int, seen: inout UInt64, depth: Int
    ) throws(NeedletailError) {
        guard let index else {
            offset += length
            return
        }
        switch fields[index].type {
        case PROTOBUF_C_TYPE_STRING:
            try text(length, fields[index])
        case PROTOBUF_C_TYPE_MESSAGE:
            if fields[index].label != PROTOBUF_C_LABEL_REPEATED {
                let bit: UInt64 = 1 << UInt64(index & 63)
                guard seen & bit == 0 else { throw Self.malformed("field \"\(String(cString: fields[index].name))\" stands twice") }
                seen |= bit
            }
            guard let inner = fields[index].descriptor else { throw Self.malformed("a field has no type") }
            try message(inner.assumingMemoryBound(to: ProtobufCMessageDescriptor.self), end: offset + length, depth: depth + 1)
        default:
            offset += length
        }
    }

    /// Fields mostly come in order, each after the one before it or again.
    private static func find(_ number: UInt64, _ fields: UnsafeBufferPointer<ProtobufCFieldDescriptor>, from hint: inout Int)
        -> Int?
    {
        for step in 0..<fields.count {
            var index = hint + step
            if index >= fields.count { index -= fields.count }
            if UInt64(fields[index].id) == number {
                hint = index
                return index
            }
        }
        return nil
    }

    private mutating func text(_ length: Int, _ field: ProtobufCFieldDescriptor) throws(NeedletailError) {
        defer { offset += length }
        let text = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + length])
        if text.allSatisfy({ $0 != 0 && $0 < 0x80 }) { return }
        guard !text.contains(0) else {
            throw Self.malformed("field \"\(String(cString: field.name))\" contains the character NUL (U+0000), which text may not")
        }
        guard String(validating: text, as: UTF8.self) != nil else {
            throw Self.malformed("field \"\(String(cString: field.name))\" is not UTF-8")
        }
    }

    private mutating func varint(end: Int) throws(NeedletailError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while shift < 70 {
            guard offset < end else { throw Self.malformed("it is cut off") }
            let byte = bytes[offset]
            offset += 1
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
        throw Self.malformed("a varint is longer than 64 bits")
    }

    private mutating func skip(_ count: Int, end: Int) throws(NeedletailError) {
        guard end - offset >= count else { throw Self.malformed("it is cut off") }
        offset += count
    }

    static func malformed(_ what: String) -> NeedletailError {
        NeedletailError(.invalidArgument, "the message cannot be read: \(what)")
    }
}
