internal import Foundation
public import NeedletailCore

/// Reads JSON into payload values: numbers without fraction or exponent stay integers, which Foundation does not promise.
///
/// Works on UTF-8 followed by a NUL, so that `strtod` has an end to stop at.
public struct JSONReader: Sendable {
    private let bytes: [UInt8]
    public private(set) var offset = 0
    static let maximumDepth = PayloadCoding.maximumDepth

    public init(_ text: some Sequence<UInt8>) {
        var bytes = Array(text)
        bytes.append(0)
        self.bytes = bytes
    }

    public static func parse(_ text: String) throws(NeedletailError) -> PayloadValue {
        var reader = JSONReader(text.utf8)
        let value = try reader.value()
        try reader.end()
        return value
    }

    public mutating func end() throws(NeedletailError) {
        guard peek() == 0, offset == bytes.count - 1 else { throw wrong("something follows the value") }
    }

    /// The next byte that is no white space; 0 at the end.
    private mutating func peek() -> UInt8 {
        while true {
            switch bytes[offset] {
            case 9, 10, 13, 32: offset += 1
            case let byte: return byte
            }
        }
    }

    public mutating func take(_ character: Character) -> Bool {
        guard peek() == character.asciiValue else { return false }
        offset += 1
        return true
    }

    public mutating func expect(_ character: Character) throws(NeedletailError) {
        guard take(character) else { throw wrong("\"\(character)\" is expected") }
    }

    /// Calls `entry` for each key, with the reader before its value.
    public mutating func object(_ entry: (String, inout JSONReader) throws(NeedletailError) -> Void) throws(NeedletailError) {
        try expect("{")
        if take("}") { return }
        repeat {
            let key = try string()
            try expect(":")
            try entry(key, &self)
        } while take(",")
        try expect("}")
    }

    /// Calls `element` for each element, with the reader before it.
    public mutating func array(_ element: (inout JSONReader) throws(NeedletailError) -> Void) throws(NeedletailError) {
        try expect("[")
        if take("]") { return }
        repeat { try element(&self) } while take(",")
        try expect("]")
    }

    /// What kind of value comes next.
    public mutating func kind() -> Kind? {
        switch peek() {
        case UInt8(ascii: "{"): .object
        case UInt8(ascii: "["): .array
        case UInt8(ascii: "\""): .string
        case UInt8(ascii: "t"), UInt8(ascii: "f"): .bool
        case UInt8(ascii: "n"): .null
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): .number
        default: nil
        }
    }

    public enum Kind: Sendable { case object, array, string, bool, null, number }

    /// A number as it is written.
    public mutating func numberText() throws(NeedletailError) -> String {
        _ = peek()
        let length = try numberLength("a number is expected")
        defer { offset += length }
        return String(decoding: bytes[offset..<offset + length], as: UTF8.self)
    }

    public mutating func bool() throws(NeedletailError) -> Bool {
        let isTrue = peek() == UInt8(ascii: "t")
        _ = try word(isTrue ? "true" : "false", .null)
        return isTrue
    }

    public mutating func null() throws(NeedletailError) {
        _ = peek()
        _ = try word("null", .null)
    }

    public mutating func value(depth: Int = 0) throws(NeedletailError) -> PayloadValue {
        guard depth <= Self.maximumDepth else { throw wrong("it nests deeper than \(Self.maximumDepth) levels") }
        switch peek() {
        case UInt8(ascii: "{"):
            var entries: Payload = [:]
            try object { key, reader throws(NeedletailError) in entries[PayloadKey(key)] = try reader.value(depth: depth + 1) }
            return .map(entries)
        case UInt8(ascii: "["):
            var values: [PayloadValue] = []
            offset += 1
            if take("]") { return .list([]) }
            repeat { values.append(try value(depth: depth + 1)) } while take(",")
            try expect("]")
            return .list(values)
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return try number()
        }
    }

    /// An array of numbers, without a value for each.
    public mutating func floats() throws(NeedletailError) -> [Float] {
        var values: [Float] = []
        try expect("[")
        if take("]") { return values }
        repeat {
            _ = peek()
            let length = try numberLength("a number is expected")
            let value = start { strtof($0, nil) }
            guard value.isFinite else { throw wrong("a number is out of range") }
            values.append(value)
            offset += length
        } while take(",")
        try expect("]")
        return values
    }

    /// How long the number here is by the grammar of RFC 8259, section 6: `strtod` also reads "inf", "nan", hexadecimal and zeros in
    /// front, and would take a longer part of what the grammar refuses.
    private func numberLength(_ expected: String) throws(NeedletailError) -> Int {
        // The NUL at the end is no digit, so no step leaves the array.
        var end = offset
        func skipDigits() -> Bool {
            let first = end
            while (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(bytes[end]) { end += 1 }
            return end > first
        }
        if bytes[end] == UInt8(ascii: "-") { end += 1 }
        let first = end
        guard skipDigits() else { throw wrong(expected) }
        guard bytes[first] != UInt8(ascii: "0") || end == first + 1 else { throw wrong("a number begins with a needless 0") }
        if bytes[end] == UInt8(ascii: ".") {
            end += 1
            guard skipDigits() else { throw wrong("a number has no digit after its point") }
        }
        if bytes[end] | 0x20 == UInt8(ascii: "e") {
            end += 1
            if bytes[end] == UInt8(ascii: "+") || bytes[end] == UInt8(ascii: "-") { end += 1 }
            guard skipDigits() else { throw wrong("a number has no digit in its exponent") }
        }
        guard !(UInt8(ascii: "a")...UInt8(ascii: "z")).contains(bytes[end] | 0x20) else { throw wrong("a number is followed by a letter") }
        return end - offset
    }

    /// Converts what begins here. The grammar has been checked, and what ends a number in JSON ends it for the C library too.
    private func start<Value>(_ convert: (UnsafePointer<CChar>) -> Value) -> Value {
        bytes.withUnsafeBufferPointer { bytes in
            convert(UnsafeRawPointer(bytes.baseAddress! + offset).assumingMemoryBound(to: CChar.self))
        }
    }

    private mutating func number() throws(NeedletailError) -> PayloadValue {
        let length = try numberLength("a value is expected")
        let double = start { strtod($0, nil) }
        let text = String(decoding: bytes[offset..<offset + length], as: UTF8.self)
        offset += length
        if let integer = Int64(text) { return .integer(integer) }
        guard double.isFinite else { throw wrong("a number is out of range") }
        return .double(double)
    }

    private mutating func word(_ word: String, _ value: PayloadValue) throws(NeedletailError) -> PayloadValue {
        guard bytes[offset...].starts(with: word.utf8) else { throw wrong("a value is expected") }
        offset += word.utf8.count
        return value
    }

    public mutating func string() throws(NeedletailError) -> String {
        try expect("\"")
        var text: [UInt8] = []
        while true {
            let byte = bytes[offset]
            offset += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else { throw wrong("text is not UTF-8") }
                return string
            case UInt8(ascii: "\\"): try escape(into: &text)
            case 0..<0x20: throw wrong("a text has no end, or a control character inside")
            default: text.append(byte)
            }
        }
    }

    private mutating func escape(into text: inout [UInt8]) throws(NeedletailError) {
        let byte = bytes[offset]
        offset += 1
        switch byte {
        case UInt8(ascii: "n"): text.append(10)
        case UInt8(ascii: "t"): text.append(9)
        case UInt8(ascii: "r"): text.append(13)
        case UInt8(ascii: "b"): text.append(8)
        case UInt8(ascii: "f"): text.append(12)
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): text.append(byte)
        case UInt8(ascii: "u"):
            var scalar = try hexadecimal()
            if (0xd800..<0xdc00).contains(scalar), bytes[offset] == UInt8(ascii: "\\"), bytes[offset + 1] == UInt8(ascii: "u") {
                offset += 2
                let low = try hexadecimal()
                guard (0xdc00..<0xe000).contains(low) else { throw wrong("half of a \\u pair is missing") }
                scalar = 0x10000 + (scalar - 0xd800) << 10 + (low - 0xdc00)
            }
            guard let unicode = Unicode.Scalar(scalar) else { throw wrong("half of a \\u pair is missing") }
            text.append(contentsOf: String(Character(unicode)).utf8)
        default: throw wrong("\\ is followed by what is no escape")
        }
    }

    private mutating func hexadecimal() throws(NeedletailError) -> UInt32 {
        guard offset + 4 < bytes.count, let value = UInt32(String(decoding: bytes[offset..<offset + 4], as: UTF8.self), radix: 16)
        else {
            throw wrong("\\u needs four hexadecimal digits")
        }
        offset += 4
        return value
    }

    public func wrong(_ what: String) -> NeedletailError {
        NeedletailError(.invalidArgument, "not valid JSON at character \(offset + 1): \(what)")
    }
}
