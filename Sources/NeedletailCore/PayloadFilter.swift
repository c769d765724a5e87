/// Which points somebody may see and change: those whose payload has, under every key named here, one of the values named for it.
///
/// Values are compared by kind and content: the number 1 is neither the text "1" nor the double 1.0, and texts are the same when their bytes are. A
/// list or a map under a key fits nothing: otherwise whoever writes `tenant: ["mine", "theirs"]` would put a point before the eyes of others.
public struct PayloadFilter: Sendable, Hashable {
    public enum Value: Sendable, Hashable {
        case bool(Bool)
        case integer(Int64)
        case string(String)

        /// By the bytes of texts: for Swift an "é" of one scalar is the same as one of two, for whoever gave out the names of tenants it is another name.
        public static func == (left: Value, right: Value) -> Bool {
            switch (left, right) {
            case (.bool(let left), .bool(let right)): left == right
            case (.integer(let left), .integer(let right)): left == right
            case (.string(let left), .string(let right)): left.utf8.elementsEqual(right.utf8)
            default: false
            }
        }

        public func hash(into hasher: inout Hasher) {
            switch self {
            case .bool(let flag): hasher.combine(flag)
            case .integer(let number): hasher.combine(number)
            case .string(let text): for byte in text.utf8 { hasher.combine(byte) }
            }
        }
    }

    public struct Condition: Sendable, Hashable {
        public var key: PayloadKey
        public var values: [Value]

        public init(key: PayloadKey, values: [Value]) {
            self.key = key
            self.values = values
        }
    }

    /// In order of their keys, which differ.
    public let conditions: [Condition]

    public static let maximumConditions = 16
    public static let maximumValues = 1_024
    private static let format: UInt8 = 1

    /// - Throws: `invalidArgument` unless there are 1 to 16 conditions with a key of their own and 1 to 1,024 values each: a filter that says
    ///   nothing would admit everything, which nobody who gives one means.
    public init(_ conditions: [Condition]) throws(NeedletailError) {
        guard (1...Self.maximumConditions).contains(conditions.count) else {
            throw NeedletailError(.invalidArgument, "a filter has 1 to \(Self.maximumConditions) keys, not \(conditions.count)")
        }
        for condition in conditions {
            guard !condition.key.text.isEmpty, (1...Self.maximumValues).contains(condition.values.count) else {
                throw NeedletailError(.invalidArgument, "every key of a filter has a name and 1 to \(Self.maximumValues) values; \"\(condition.key)\" has not")
            }
        }
        guard Set(conditions.map(\.key)).count == conditions.count else {
            throw NeedletailError(.invalidArgument, "a key of the filter is named twice; name it once, with all of its values")
        }
        self.conditions = conditions.sorted { $0.key < $1.key }
    }

    public func matches(_ payload: Payload) -> Bool {
        conditions.allSatisfy { condition in payload[condition.key].flatMap(Value.init).map(condition.values.contains) ?? false }
    }

    /// - Parameter payload: as `PayloadCoding` encodes it.
    /// - Throws: `dataLoss` when it is damaged.
    public func matches(encoded payload: [UInt8]) throws(NeedletailError) -> Bool {
        payload.isEmpty ? false : matches(try PayloadCoding.decode(payload))
    }
}

extension PayloadFilter.Value {
    /// nil for kinds that no filter names.
    public init?(_ value: PayloadValue) {
        switch value {
        case .bool(let flag): self = .bool(flag)
        case .integer(let number): self = .integer(number)
        case .string(let text): self = .string(text)
        case .null, .double, .list, .map: return nil
        }
    }
}

// MARK: - As bytes, in the log and between processes

extension PayloadFilter {
    /// Format, then conditions: key, values, each a tag and its content.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        write(to: &writer)
        return writer.bytes
    }

    /// - Throws: `dataLoss` when the bytes are no filter, `unimplemented` when a newer version wrote it.
    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        try self.init(from: &reader)
        try reader.expectEnd()
    }

    func write(to writer: inout ByteWriter) {
        writer.u8(Self.format)
        writer.varint(UInt64(conditions.count))
        for condition in conditions {
            writer.string(condition.key.text)
            writer.varint(UInt64(condition.values.count))
            for value in condition.values {
                switch value {
                case .bool(let flag): writer.u8(flag ? 2 : 1)
                case .integer(let number):
                    writer.u8(3)
                    writer.u64(UInt64(bitPattern: number))
                case .string(let text):
                    writer.u8(5)
                    writer.string(text)
                }
            }
        }
    }

    init(from reader: inout ByteReader) throws(NeedletailError) {
        let format = try reader.u8()
        guard format == Self.format else {
            throw NeedletailError(.unimplemented, "a payload filter has format \(format), this build reads \(Self.format); upgrade this node")
        }
        var conditions: [Condition] = []
        for _ in 0..<(try reader.count(minimumItemBytes: 2)) {
            var condition = Condition(key: PayloadKey(try reader.string()), values: [])
            for _ in 0..<(try reader.count()) { condition.values.append(try Self.value(&reader)) }
            conditions.append(condition)
        }
        do throws(NeedletailError) {
            try self.init(conditions)
        } catch {
            throw NeedletailError(.dataLoss, "a payload filter is damaged: \(error.message)")
        }
    }

    private static func value(_ reader: inout ByteReader) throws(NeedletailError) -> Value {
        switch try reader.u8() {
        case 1: .bool(false)
        case 2: .bool(true)
        case 3: .integer(Int64(bitPattern: try reader.u64()))
        case 5: .string(try reader.string())
        default: throw NeedletailError(.dataLoss, "a payload filter is damaged: unknown kind of value")
        }
    }
}
