import CNeedletailMessages
import CProtobufC
import NeedletailCore

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

typealias ValueMessage = Needletail__V1__Value
typealias ValueEntry = Needletail__V1__MapValue__EntriesEntry

/// Turns a payload's messages into the bytes `PayloadCoding` stores, without building values in between.
struct PayloadReader {
    private var bytes: [UInt8] = []

    /// The entries of `map<string, Value>`. All such maps have the same layout, whatever message they stand in.
    ///
    /// - Throws: `invalidArgument` when the payload is too large or nests too deeply.
    static func encode<Entry>(
        _ entries: UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>?, _ count: Int
    ) throws(NeedletailError) -> [UInt8] {
        guard let entries, count > 0 else { return [] }
        var reader = PayloadReader()
        try reader.map(pairs(entries, count), depth: 0)
        return reader.bytes
    }

    private typealias Pair = UnsafePointer<ValueEntry>

    /// The entries by key; of those with one key the last.
    private static func pairs<Entry>(_ entries: UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>, _ count: Int) -> [Pair] {
        var pairs: [Pair] = []
        pairs.reserveCapacity(count)
        for index in 0..<count {
            if let entry = entries[index] { pairs.append(UnsafeRawPointer(entry).assumingMemoryBound(to: ValueEntry.self)) }
        }
        if isAscending(pairs) { return pairs }
        // The standard library's sort is stable, so equal keys stay in the order they came in.
        pairs.sort { order($0, $1) < 0 }
        var last: [Pair] = []
        for pair in pairs {
            if let before = last.last, order(before, pair) == 0 { last.removeLast() }
            last.append(pair)
        }
        return last
    }

    private static func isAscending(_ pairs: [Pair]) -> Bool {
        for index in pairs.indices.dropFirst() where order(pairs[index - 1], pairs[index]) >= 0 { return false }
        return true
    }

    private static func order(_ left: Pair, _ right: Pair) -> Int32 { strcmp(left.pointee.key, right.pointee.key) }

    private mutating func map(_ pairs: [Pair], depth: Int) throws(NeedletailError) {
        bytes.append(7)
        varint(UInt64(pairs.count))
        for pair in pairs {
            text(pair.pointee.key)
            try value(pair.pointee.value, depth: depth + 1)
        }
    }

    private mutating func value(_ message: UnsafePointer<ValueMessage>?, depth: Int) throws(NeedletailError) {
        guard depth <= PayloadCoding.maximumDepth + 1 else {
            throw NeedletailError(
                .invalidArgument, "a payload value nests deeper than \(PayloadCoding.maximumDepth) levels; flatten it")
        }
        guard bytes.count <= Limits.payloadBytes else {
            throw NeedletailError(
                .invalidArgument, "a point's payload exceeds \(Limits.payloadBytes) bytes; keep large contents elsewhere")
        }
        guard let message else { return bytes.append(0) }
        switch message.pointee.kind_case {
        case NEEDLETAIL__V1__VALUE__KIND_BOOL_VALUE: bytes.append(message.pointee.bool_value != 0 ? 2 : 1)
        case NEEDLETAIL__V1__VALUE__KIND_INT_VALUE: fixed(3, UInt64(bitPattern: message.pointee.int_value))
        case NEEDLETAIL__V1__VALUE__KIND_DOUBLE_VALUE: fixed(4, message.pointee.double_value.bitPattern)
        case NEEDLETAIL__V1__VALUE__KIND_STRING_VALUE:
            bytes.append(5)
            text(message.pointee.string_value)
        case NEEDLETAIL__V1__VALUE__KIND_LIST_VALUE:
            let list = message.pointee.list_value
            bytes.append(6)
            varint(UInt64(list?.pointee.n_values ?? 0))
            for index in 0..<(list?.pointee.n_values ?? 0) { try value(list!.pointee.values[index], depth: depth + 1) }
        case NEEDLETAIL__V1__VALUE__KIND_MAP_VALUE:
            let map = message.pointee.map_value
            let entries = map?.pointee.entries
            try self.map(entries.map { Self.pairs($0, map?.pointee.n_entries ?? 0) } ?? [], depth: depth)
        default: bytes.append(0)
        }
    }

    private mutating func text(_ text: UnsafePointer<CChar>?) {
        guard let text else { return varint(0) }
        let utf8 = UnsafeRawBufferPointer(start: text, count: strlen(text))
        varint(UInt64(utf8.count))
        bytes.append(contentsOf: utf8)
    }

    private mutating func fixed(_ tag: UInt8, _ value: UInt64) {
        bytes.append(tag)
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    private mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
