import CNeedletailMessages
internal import NeedletailCore

/// The messages, enums and methods of Proto/, as the descriptors that come with the program tell.
struct MessageSchema: Sendable {
    /// The kinds of google/protobuf/descriptor.proto, `FieldDescriptorProto.Type`.
    enum Kind: UInt64, Sendable {
        case double = 1
        case float, int64, uint64, int32, fixed64, fixed32, bool, string, group, message, bytes, uint32, enumeration, sfixed32, sfixed64, sint32, sint64

        /// Whether many of them stand in one field without a tag each.
        var isPacked: Bool {
            switch self {
            case .string, .group, .message, .bytes: false
            default: true
            }
        }
    }

    struct Field: Sendable {
        var number: UInt64
        var name: String
        var jsonName: String
        var kind: Kind
        /// Of a message or an enum.
        var typeName: String
        var isRepeated: Bool
        /// nil outside of a oneof.
        var oneof: UInt64?
    }

    struct Message: Sendable {
        var name: String
        /// By number.
        var fields: [Field]
        var isMapEntry: Bool

        func field(_ number: UInt64) -> Int? { fields.firstIndex { $0.number == number } }

        /// By the name in JSON, or the one in the .proto file.
        func field(named name: String) -> Int? { fields.firstIndex { $0.jsonName == name || $0.name == name } }
    }

    struct Enumeration: Sendable {
        var numbers: [String: Int32] = [:]
        var names: [Int32: String] = [:]
    }

    struct Method: Sendable {
        var input: String
        var output: String
        var takesStream: Bool
        var givesStream: Bool
    }

    private(set) var messages: [String: Message] = [:]
    private(set) var enumerations: [String: Enumeration] = [:]
    /// By path, "/needletail.v1.Points/Search".
    private(set) var methods: [String: Method] = [:]

    /// Everything in Proto/.
    static let shared = MessageSchema(fileDescriptorSet: byteArray(nt_descriptor_set_start(), nt_descriptor_set_size))

    init(fileDescriptorSet bytes: [UInt8]) {
        for file in DescriptorReader.all(1, in: bytes[...]) {
            let package = DescriptorReader.text(2, in: file)
            for message in DescriptorReader.all(4, in: file) { add(message, scope: package, depth: 0) }
            for enumeration in DescriptorReader.all(5, in: file) { add(enumeration: enumeration, scope: package) }
            for service in DescriptorReader.all(6, in: file) {
                let name = Self.full(service, package)
                for method in DescriptorReader.all(2, in: service) {
                    methods["/\(name)/\(DescriptorReader.text(1, in: method))"] = Method(
                        input: Self.typeName(DescriptorReader.text(2, in: method)), output: Self.typeName(DescriptorReader.text(3, in: method)),
                        takesStream: Self.number(5, in: method) == 1, givesStream: Self.number(6, in: method) == 1)
                }
            }
        }
    }

    private mutating func add(_ message: ArraySlice<UInt8>, scope: String, depth: Int) {
        guard depth < 32 else { return }
        let name = Self.full(message, scope)
        let fields = DescriptorReader.all(2, in: message).compactMap(Self.field).sorted { $0.number < $1.number }
        let options = DescriptorReader.all(7, in: message).last
        messages[name] = Message(name: name, fields: fields, isMapEntry: options.map { Self.number(7, in: $0) == 1 } ?? false)
        for nested in DescriptorReader.all(3, in: message) { add(nested, scope: name, depth: depth + 1) }
        for enumeration in DescriptorReader.all(4, in: message) { add(enumeration: enumeration, scope: name) }
    }

    private static func field(_ bytes: ArraySlice<UInt8>) -> Field? {
        guard let number = Self.number(3, in: bytes), let kind = Self.number(5, in: bytes).flatMap(Kind.init), kind != .group else { return nil }
        let name = DescriptorReader.text(1, in: bytes)
        let jsonName = DescriptorReader.text(10, in: bytes)
        return Field(
            number: number, name: name, jsonName: jsonName.isEmpty ? name : jsonName, kind: kind,
            typeName: typeName(DescriptorReader.text(6, in: bytes)), isRepeated: Self.number(4, in: bytes) == 3, oneof: Self.number(9, in: bytes))
    }

    private mutating func add(enumeration bytes: ArraySlice<UInt8>, scope: String) {
        var enumeration = Enumeration()
        for value in DescriptorReader.all(2, in: bytes) {
            let (name, number) = (DescriptorReader.text(1, in: value), Int32(truncatingIfNeeded: Self.number(2, in: value) ?? 0))
            enumeration.numbers[name] = number
            // Of aliases the first one is the name.
            if enumeration.names[number] == nil { enumeration.names[number] = name }
        }
        enumerations[Self.full(bytes, scope)] = enumeration
    }

    private static func full(_ declaration: ArraySlice<UInt8>, _ scope: String) -> String {
        let name = DescriptorReader.text(1, in: declaration)
        return scope.isEmpty ? name : "\(scope).\(name)"
    }

    /// Type names begin with a dot where they are complete, and protoc completes them all.
    private static func typeName(_ name: String) -> String { name.hasPrefix(".") ? String(name.dropFirst()) : name }

    private static func number(_ field: UInt64, in bytes: ArraySlice<UInt8>) -> UInt64? {
        var reader = WireReader(bytes)
        var found: UInt64?
        while let next = try? reader.next() { if case .varint(let value) = next.value, next.field == field { found = value } }
        return found
    }
}
