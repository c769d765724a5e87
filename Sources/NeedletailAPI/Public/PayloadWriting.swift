import CNeedletailMessages
import CProtobufC
import NeedletailCore

/// Turns stored payload bytes into the entries of `map<string, Value>`, without building values in between.
struct PayloadWriter {
    private let arena: MessageArena
    private var reader: ByteReader

    /// - Throws: `dataLoss` when the bytes are no payload.
    static func entries<Entry>(
        _ payload: [UInt8], in arena: MessageArena
    ) throws(NeedletailError) -> (count: Int, entries: UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>?) {
        if payload.isEmpty { return (0, nil) }
        var writer = PayloadWriter(arena: arena, reader: ByteReader(payload))
        guard try writer.reader.u8() == 7 else {
            throw NeedletailError(.dataLoss, "stored payload is damaged: it is not a map; \(NeedletailError.damagedReplicaAdvice)")
        }
        let count = try writer.reader.count(minimumItemBytes: 2)
        let entries: UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>? = try writer.map(count, depth: 0)
        try writer.reader.expectEnd()
        return (count, entries)
    }

    private mutating func map<Entry>(
        _ count: Int, depth: Int
    ) throws(NeedletailError) -> UnsafeMutablePointer<UnsafeMutablePointer<Entry>?>? {
        if count == 0 { return nil }
        let entries = try arena.array(count, of: UnsafeMutablePointer<Entry>?.self)
        for index in 0..<count {
            let entry = try arena.make(ValueEntry.self)
            entry.pointee.key = try text()
            entry.pointee.value = try value(depth: depth + 1)
            entries[index] = UnsafeMutableRawPointer(entry).assumingMemoryBound(to: Entry.self)
        }
        return entries
    }

    private mutating func value(depth: Int) throws(NeedletailError) -> UnsafeMutablePointer<ValueMessage> {
        guard depth <= PayloadCoding.maximumDepth + 1 else {
            throw NeedletailError(.dataLoss, "stored payload is damaged: nested too deeply")
        }
        let message = try arena.make(ValueMessage.self)
        switch try reader.u8() {
        case 0: message.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_NULL_VALUE
        case 1: message.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_BOOL_VALUE
        case 2:
            message.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_BOOL_VALUE
            message.pointee.bool_value = 1
        case 3:
            message.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_INT_VALUE
            message.pointee.int_value = Int64(bitPattern: try reader.u64())
        case 4:
            message.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_DOUBLE_VALUE
            message.pointee.double_value = try reader.f64()
        case 5:
            message.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_STRING_VALUE
            message.pointee.string_value = try text()
        case 6: try list(into: message, depth: depth)
        case 7:
            let map = try arena.make(Needletail__V1__MapValue.self)
            let count = try reader.count(minimumItemBytes: 2)
            map.pointee.n_entries = count
            map.pointee.entries = try self.map(count, depth: depth)
            message.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_MAP_VALUE
            message.pointee.map_value = map
        default: throw NeedletailError(.dataLoss, "stored payload is damaged: unknown value tag")
        }
        return message
    }

    private mutating func list(into message: UnsafeMutablePointer<ValueMessage>, depth: Int) throws(NeedletailError) {
        let list = try arena.make(Needletail__V1__ListValue.self)
        let count = try reader.count()
        let values = try arena.array(count, of: UnsafeMutablePointer<ValueMessage>?.self)
        for index in 0..<count { values[index] = try value(depth: depth + 1) }
        list.pointee.n_values = count
        list.pointee.values = values
        message.pointee.kind_case = NEEDLETAIL__V1__VALUE__KIND_LIST_VALUE
        message.pointee.list_value = list
    }

    private mutating func text() throws(NeedletailError) -> UnsafeMutablePointer<CChar> {
        let utf8 = try reader.bytes()
        let copy = utf8.withUnsafeBytes { bytes in Result { () throws(NeedletailError) in try arena.text(bytes) } }
        return try copy.get()
    }
}
