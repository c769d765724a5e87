/// A JSON-like value. Integers and doubles stay what they were. Two are equal when what is stored of them is.
public indirect enum PayloadValue: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case double(Double)
    case string(String)
    case list([PayloadValue])
    case map(Payload)

    public static func == (left: PayloadValue, right: PayloadValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let left), .bool(let right)): left == right
        case (.integer(let left), .integer(let right)): left == right
        case (.double(let left), .double(let right)): left.bitPattern == right.bitPattern
        case (.string(let left), .string(let right)): left.utf8.elementsEqual(right.utf8)
        case (.list(let left), .list(let right)): left == right
        case (.map(let left), .map(let right)): left == right
        default: false
        }
    }
}

/// What a point carries beside its vectors.
public typealias Payload = [PayloadKey: PayloadValue]

/// The bytes a payload is stored as: a tag and its content, maps sorted by the bytes of their keys so that equal payloads have equal bytes.
public enum PayloadCoding {
    /// Deeper values are refused: the decoder recurses, and its stack is finite.
    public static let maximumDepth = 64

    public static func encode(_ payload: Payload) -> [UInt8] {
        if payload.isEmpty { return [] }
        var writer = ByteWriter()
        write(.map(payload), to: &writer)
        return writer.bytes
    }

    /// - Throws: `dataLoss` when the bytes are not a payload.
    public static func decode(_ bytes: some Sequence<UInt8>) throws(NeedletailError) -> Payload {
        let array = Array(bytes)
        if array.isEmpty { return [:] }
        var reader = ByteReader(array)
        guard case .map(let payload) = try read(&reader, depth: 0) else {
            throw NeedletailError(.dataLoss, "stored payload is damaged: it is not a map; \(NeedletailError.damagedReplicaAdvice)")
        }
        try reader.expectEnd()
        return payload
    }

    /// How deep lists and maps nest; 0 for a plain value.
    public static func depth(of value: PayloadValue) -> Int {
        switch value {
        case .list(let values): 1 + (values.map(depth).max() ?? 0)
        case .map(let entries): 1 + (entries.values.map(depth).max() ?? 0)
        default: 0
        }
    }

    private static func write(_ value: PayloadValue, to writer: inout ByteWriter) {
        switch value {
        case .null: writer.u8(0)
        case .bool(let flag): writer.u8(flag ? 2 : 1)
        case .integer(let integer):
            writer.u8(3)
            writer.u64(UInt64(bitPattern: integer))
        case .double(let double):
            writer.u8(4)
            writer.f64(double)
        case .string(let string):
            writer.u8(5)
            writer.string(string)
        case .list(let values):
            writer.u8(6)
            writer.varint(UInt64(values.count))
            for element in values { write(element, to: &writer) }
        case .map(let entries):
            writer.u8(7)
            writer.varint(UInt64(entries.count))
            for (key, element) in entries.sorted(by: { $0.key < $1.key }) {
                writer.string(key.text)
                write(element, to: &writer)
            }
        }
    }

    private static func read(_ reader: inout ByteReader, depth: Int) throws(NeedletailError) -> PayloadValue {
        guard depth <= maximumDepth + 1 else { throw NeedletailError(.dataLoss, "stored payload is damaged: nested too deeply") }
        switch try reader.u8() {
        case 0: return .null
        case 1: return .bool(false)
        case 2: return .bool(true)
        case 3: return .integer(Int64(bitPattern: try reader.u64()))
        case 4: return .double(try reader.f64())
        case 5: return .string(try reader.string())
        case 6:
            var values: [PayloadValue] = []
            for _ in 0..<(try reader.count()) { values.append(try read(&reader, depth: depth + 1)) }
            return .list(values)
        case 7:
            var entries: Payload = [:]
            for _ in 0..<(try reader.count()) {
                let key = PayloadKey(try reader.string())
                entries[key] = try read(&reader, depth: depth + 1)
            }
            return .map(entries)
        default: throw NeedletailError(.dataLoss, "stored payload is damaged: unknown value tag")
        }
    }
}
