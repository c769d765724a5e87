internal import Foundation
public import NeedletailCore
internal import NeedletailJSON

/// Messages of the API between their encoding and JSON (Protocol Buffers, "ProtoJSON Format"), by their descriptors alone: a new field needs
/// nothing here.
///
/// Names are those of the format, lowerCamelCase; the names in the .proto files are read as well. Fields without presence that have their
/// default are left out. Names that the API does not know are refused, since what was meant by them would be lost silently.
public struct MessageJSON: Sendable {
    private let schema: MessageSchema
    /// Levels of nested messages.
    private static let maximumDepth = 100

    public init() { schema = .shared }

    /// The messages of a method, and which of them come as streams; nil when there is no such method.
    public func method(_ path: String) -> (input: String, output: String, takesStream: Bool, givesStream: Bool)? {
        schema.methods[path].map { ($0.input, $0.output, $0.takesStream, $0.givesStream) }
    }

    /// - Parameter message: its full name, such as `needletail.v1.SearchRequest`.
    /// - Throws: `invalidArgument` that names the place when the text is no JSON of this message.
    public func encoding(of json: some Sequence<UInt8>, as message: String) throws(NeedletailError) -> [UInt8] {
        guard let type = schema.messages[message] else { throw Self.unknown(message) }
        var reader = JSONReader(json)
        var path: [String] = []
        do throws(NeedletailError) {
            let writer = try read(type, &reader, &path)
            try reader.end()
            return writer.bytes
        } catch {
            var located = error
            if !path.isEmpty { located.message = "\(path.joined(separator: ".")): \(error.message)" }
            throw located
        }
    }

    /// - Throws: `internal` when the bytes are no such message.
    public func json(of encoding: some Collection<UInt8>, as message: String) throws(NeedletailError) -> String {
        guard let type = schema.messages[message] else { throw Self.unknown(message) }
        var text = ""
        try write(type, Array(encoding)[...], to: &text, depth: 0)
        return text
    }

    private static func unknown(_ message: String) -> NeedletailError { NeedletailError(.unimplemented, "there is no message \(message)") }
}

// MARK: From JSON

extension MessageJSON {
    /// - Parameter path: of the field that is read; where it stood when an error was thrown.
    private func read(_ type: MessageSchema.Message, _ reader: inout JSONReader, _ path: inout [String]) throws(NeedletailError) -> WireWriter {
        guard path.count <= Self.maximumDepth else { throw reader.wrong("it nests deeper than \(Self.maximumDepth) messages") }
        var writer = WireWriter()
        var seen: Set<Int> = []
        var oneofs: Set<UInt64> = []
        guard reader.kind() == .object else { throw reader.wrong("an object is expected") }
        try reader.object { key, reader throws(NeedletailError) in
            guard let index = type.field(named: key) else {
                let known = type.fields.map(\.jsonName).joined(separator: ", ")
                throw NeedletailError(.invalidArgument, "there is no field \"\(key)\"; \(type.name) has \(known.isEmpty ? "none" : known)")
            }
            let field = type.fields[index]
            guard seen.insert(index).inserted else { throw NeedletailError(.invalidArgument, "\(key) is given twice") }
            if reader.kind() == .null { return try reader.null() }
            if let oneof = field.oneof, !oneofs.insert(oneof).inserted {
                throw NeedletailError(.invalidArgument, "\(key) is given beside another field of which only one may be")
            }
            path.append(key)
            try readField(field, &reader, &writer, &path)
            path.removeLast()
        }
        return writer
    }

    private func readField(
        _ field: MessageSchema.Field, _ reader: inout JSONReader, _ writer: inout WireWriter, _ path: inout [String]
    ) throws(NeedletailError) {
        if field.isRepeated, field.kind == .message, let entry = schema.messages[field.typeName], entry.isMapEntry {
            guard reader.kind() == .object else { throw reader.wrong("an object is expected") }
            var keys: Set<String> = []
            try reader.object { key, reader throws(NeedletailError) in
                guard keys.insert(key).inserted else { throw NeedletailError(.invalidArgument, "the key \"\(key)\" is given twice") }
                var content = WireWriter()
                try writeKey(key, entry.fields[0], &content)
                try readValue(entry.fields[1], &reader, &content, &path)
                writer.bytes(field.number, content.bytes)
            }
        } else if field.isRepeated {
            guard reader.kind() == .array else { throw reader.wrong("an array is expected") }
            var packed = WireWriter()
            try reader.array { reader throws(NeedletailError) in
                if field.kind.isPacked { try readScalar(field, &reader, &packed) } else { try readValue(field, &reader, &writer, &path) }
            }
            if !packed.bytes.isEmpty { writer.bytes(field.number, packed.bytes) }
        } else {
            try readValue(field, &reader, &writer, &path)
        }
    }

    /// One value with its tag.
    private func readValue(
        _ field: MessageSchema.Field, _ reader: inout JSONReader, _ writer: inout WireWriter, _ path: inout [String]
    ) throws(NeedletailError) {
        switch field.kind {
        case .message, .group:
            guard let type = schema.messages[field.typeName] else { throw Self.unknown(field.typeName) }
            writer.bytes(field.number, try read(type, &reader, &path).bytes)
        case .string:
            guard reader.kind() == .string else { throw reader.wrong("text is expected") }
            writer.bytes(field.number, Array(try reader.string().utf8))
        case .bytes:
            guard reader.kind() == .string else { throw reader.wrong("bytes are text in base64") }
            writer.bytes(field.number, try Self.base64(try reader.string()))
        default:
            writer.tag(field.number, field.kind.wireType)
            try readScalar(field, &reader, &writer)
        }
    }

    /// A number, truth value or enum, without a tag.
    private func readScalar(_ field: MessageSchema.Field, _ reader: inout JSONReader, _ writer: inout WireWriter) throws(NeedletailError) {
        switch field.kind {
        case .bool:
            guard reader.kind() == .bool else { throw reader.wrong("true or false is expected") }
            writer.varint(try reader.bool() ? 1 : 0)
        case .enumeration:
            guard reader.kind() == .string else { return writer.varint(UInt64(bitPattern: Int64(try Self.integer(try reader.numberText(), Int32.self)))) }
            let name = try reader.string()
            let type = schema.enumerations[field.typeName]
            guard let number = type?.numbers[name] else {
                let known = (type?.numbers.keys.sorted() ?? []).joined(separator: ", ")
                throw NeedletailError(.invalidArgument, "\"\(name)\" is none of \(known)")
            }
            writer.varint(UInt64(bitPattern: Int64(number)))
        default:
            let isText = reader.kind() == .string
            try Self.writeNumber(isText ? try reader.string() : try reader.numberText(), isText: isText, field.kind, &writer)
        }
    }

    /// Keys of maps are text in JSON whatever they are.
    private func writeKey(_ key: String, _ field: MessageSchema.Field, _ writer: inout WireWriter) throws(NeedletailError) {
        switch field.kind {
        case .string: writer.bytes(field.number, Array(key.utf8))
        case .bool:
            guard key == "true" || key == "false" else { throw NeedletailError(.invalidArgument, "the key \"\(key)\" is neither true nor false") }
            writer.tag(field.number, field.kind.wireType)
            writer.varint(key == "true" ? 1 : 0)
        default:
            writer.tag(field.number, field.kind.wireType)
            try Self.writeNumber(key, isText: true, field.kind, &writer)
        }
    }

    private static func writeNumber(_ text: String, isText: Bool, _ kind: MessageSchema.Kind, _ writer: inout WireWriter) throws(NeedletailError) {
        switch kind {
        case .int32: writer.varint(UInt64(bitPattern: Int64(try integer(text, Int32.self))))
        case .int64: writer.varint(UInt64(bitPattern: try integer(text, Int64.self)))
        case .uint32: writer.varint(UInt64(try integer(text, UInt32.self)))
        case .uint64: writer.varint(try integer(text, UInt64.self))
        case .sint32:
            let value = try integer(text, Int32.self)
            writer.varint(UInt64(UInt32(bitPattern: value << 1 ^ value >> 31)))
        case .sint64:
            let value = try integer(text, Int64.self)
            writer.varint(UInt64(bitPattern: value << 1 ^ value >> 63))
        case .fixed32: writer.fixed(UInt64(try integer(text, UInt32.self)), 4)
        case .fixed64: writer.fixed(try integer(text, UInt64.self), 8)
        case .sfixed32: writer.fixed(UInt64(UInt32(bitPattern: try integer(text, Int32.self))), 4)
        case .sfixed64: writer.fixed(UInt64(bitPattern: try integer(text, Int64.self)), 8)
        case .float: writer.fixed(UInt64(Float(try real(text, isText: isText, largest: Double(Float.greatestFiniteMagnitude))).bitPattern), 4)
        default: writer.fixed(try real(text, isText: isText, largest: .greatestFiniteMagnitude).bitPattern, 8)
        }
    }

    /// Also "1e3" and "5.0", which are whole.
    private static func integer<Integer: FixedWidthInteger>(_ text: String, _ type: Integer.Type) throws(NeedletailError) -> Integer {
        if let value = Integer(text), !text.hasPrefix("+") { return value }
        if text.contains(where: { ".eE".contains($0) }), let value = Double(text).flatMap({ Integer(exactly: $0) }) { return value }
        throw NeedletailError(.invalidArgument, "\(text) is no whole number of \(Integer.min) to \(Integer.max)")
    }

    private static func real(_ text: String, isText: Bool, largest: Double) throws(NeedletailError) -> Double {
        if isText {
            switch text {
            case "NaN": return .nan
            case "Infinity": return .infinity
            case "-Infinity": return -.infinity
            default: break
            }
        }
        // Swift reads "inf", "nan" and hexadecimal as well.
        guard text.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) || "+-.eE".utf8.contains($0) }), let value = Double(text),
            value.magnitude <= largest
        else { throw NeedletailError(.invalidArgument, "\(text) is no number of this field's range") }
        return value
    }

    /// Of both alphabets, with padding or without.
    private static func base64(_ text: String) throws(NeedletailError) -> [UInt8] {
        var standard = String(text.map { $0 == "-" ? "+" : $0 == "_" ? "/" : $0 })
        standard += String(repeating: "=", count: (4 - standard.utf8.count % 4) % 4)
        guard let data = Data(base64Encoded: standard) else { throw NeedletailError(.invalidArgument, "the text is no base64") }
        return Array(data)
    }
}

extension MessageSchema.Kind {
    fileprivate var wireType: UInt64 {
        switch self {
        case .double, .fixed64, .sfixed64: 1
        case .float, .fixed32, .sfixed32: 5
        case .string, .message, .bytes, .group: 2
        default: 0
        }
    }
}

// MARK: To JSON

extension MessageJSON {
    private func write(_ type: MessageSchema.Message, _ bytes: ArraySlice<UInt8>, to text: inout String, depth: Int) throws(NeedletailError) {
        guard depth <= Self.maximumDepth else { throw NeedletailError(.internal, "a message nests deeper than \(Self.maximumDepth) levels") }
        var found: [[WireReader.Value]] = Array(repeating: [], count: type.fields.count)
        var members: [UInt64: Int] = [:]
        var reader = WireReader(bytes)
        while let next = try reader.next() {
            // What a newer server added is not known here.
            guard let index = type.field(next.field) else { continue }
            if let oneof = type.fields[index].oneof {
                // Of a oneof the last one counts.
                if let other = members.updateValue(index, forKey: oneof), other != index { found[other] = [] }
            }
            found[index].append(next.value)
        }
        text += "{"
        var isFirst = true
        for (field, values) in zip(type.fields, found) where !values.isEmpty {
            if !field.isRepeated, field.oneof == nil, field.kind != .message, Self.isDefault(values[values.count - 1]) { continue }
            if !isFirst { text += "," }
            isFirst = false
            JSONText.append(field.jsonName, to: &text)
            text += ":"
            try write(field, values, to: &text, depth: depth)
        }
        text += "}"
    }

    private static func isDefault(_ value: WireReader.Value) -> Bool {
        switch value {
        case .varint(let bits), .fixed64(let bits): bits == 0
        case .fixed32(let bits): bits == 0
        case .bytes(let content): content.isEmpty
        }
    }

    private func write(_ field: MessageSchema.Field, _ values: [WireReader.Value], to text: inout String, depth: Int) throws(NeedletailError) {
        if field.isRepeated, field.kind == .message, let entry = schema.messages[field.typeName], entry.isMapEntry {
            return try writeMap(entry, values, to: &text, depth: depth)
        }
        guard field.isRepeated else {
            // A message that comes in pieces is all of them, one after the other.
            guard field.kind == .message else { return try write(field, values[values.count - 1], to: &text, depth: depth) }
            var whole: [UInt8] = []
            for case .bytes(let content) in values { whole += content }
            return try write(field, .bytes(whole[...]), to: &text, depth: depth)
        }
        text += "["
        var isFirst = true
        func element(_ value: WireReader.Value) throws(NeedletailError) {
            if !isFirst { text += "," }
            isFirst = false
            try write(field, value, to: &text, depth: depth)
        }
        for value in values {
            guard case .bytes(let content) = value, field.kind.isPacked else {
                try element(value)
                continue
            }
            var packed = WireReader(content)
            while !packed.isAtEnd {
                switch field.kind.wireType {
                case 1: try element(.fixed64(try packed.fixed(8)))
                case 5: try element(.fixed32(UInt32(try packed.fixed(4))))
                default: try element(.varint(try packed.varint()))
                }
            }
        }
        text += "]"
    }

    private func writeMap(_ entry: MessageSchema.Message, _ values: [WireReader.Value], to text: inout String, depth: Int) throws(NeedletailError) {
        var entries: [String: String] = [:]
        for case .bytes(let content) in values {
            var (key, value): (WireReader.Value?, WireReader.Value?)
            var reader = WireReader(content)
            while let next = try reader.next() { if next.field == 1 { key = next.value } else if next.field == 2 { value = next.value } }
            var (keyText, valueText) = ("", "")
            let (keyField, valueField) = (entry.fields[0], entry.fields[1])
            try write(keyField, key ?? keyField.kind.zero, to: &keyText, depth: depth)
            try write(valueField, value ?? valueField.kind.zero, to: &valueText, depth: depth)
            if !keyText.hasPrefix("\"") { keyText = "\"\(keyText)\"" }
            entries[keyText] = valueText
        }
        text += "{" + entries.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }.joined(separator: ",") + "}"
    }

    private func write(_ field: MessageSchema.Field, _ value: WireReader.Value, to text: inout String, depth: Int) throws(NeedletailError) {
        switch (field.kind, value) {
        case (.message, .bytes(let content)):
            guard let type = schema.messages[field.typeName] else { throw Self.unknown(field.typeName) }
            try write(type, content, to: &text, depth: depth + 1)
        case (.string, .bytes(let content)): JSONText.append(String(decoding: content, as: UTF8.self), to: &text)
        case (.bytes, .bytes(let content)): text += "\"" + Data(content).base64EncodedString() + "\""
        case (.bool, .varint(let bits)): text += bits == 0 ? "false" : "true"
        case (.enumeration, .varint(let bits)):
            let number = Int32(truncatingIfNeeded: bits)
            text += schema.enumerations[field.typeName]?.names[number].map { "\"\($0)\"" } ?? "\(number)"
        case (.int32, .varint(let bits)): text += "\(Int32(truncatingIfNeeded: bits))"
        case (.uint32, .varint(let bits)): text += "\(UInt32(truncatingIfNeeded: bits))"
        // 64 bits are text: most readers of JSON have no more than 53.
        case (.int64, .varint(let bits)): text += "\"\(Int64(bitPattern: bits))\""
        case (.uint64, .varint(let bits)), (.fixed64, .fixed64(let bits)): text += "\"\(bits)\""
        case (.sfixed64, .fixed64(let bits)): text += "\"\(Int64(bitPattern: bits))\""
        case (.sint32, .varint(let bits)): text += "\(Int32(truncatingIfNeeded: bits >> 1) ^ -Int32(truncatingIfNeeded: bits & 1))"
        case (.sint64, .varint(let bits)): text += "\"\(Int64(bitPattern: bits >> 1) ^ -Int64(bits & 1))\""
        case (.fixed32, .fixed32(let bits)): text += "\(bits)"
        case (.sfixed32, .fixed32(let bits)): text += "\(Int32(bitPattern: bits))"
        case (.float, .fixed32(let bits)): Self.write(Float(bitPattern: bits), to: &text)
        case (.double, .fixed64(let bits)): Self.write(Double(bitPattern: bits), to: &text)
        default: throw NeedletailError(.internal, "field \(field.name) is encoded as something else")
        }
    }

    private static func write(_ value: some BinaryFloatingPoint & CustomStringConvertible, to text: inout String) {
        text += value.isNaN ? "\"NaN\"" : value.isInfinite ? (value < 0 ? "\"-Infinity\"" : "\"Infinity\"") : value.description
    }
}

extension MessageSchema.Kind {
    /// What stands for a part of a map's entry that is not there.
    fileprivate var zero: WireReader.Value {
        switch wireType {
        case 1: .fixed64(0)
        case 2: .bytes([])
        case 5: .fixed32(0)
        default: .varint(0)
        }
    }
}
