/// Where in which trace something happens, as W3C Trace Context has it (https://www.w3.org/TR/trace-context/): what the headers `traceparent`
/// and `tracestate` carry from process to process.
public struct TraceContext: Sendable, Hashable {
    /// The whole trace, never 0.
    public struct TraceID: Sendable, Hashable, CustomStringConvertible {
        public var high: UInt64
        public var low: UInt64

        public init(high: UInt64, low: UInt64) {
            self.high = high
            self.low = low
        }

        /// One that nobody else has.
        public static func random() -> TraceID { TraceID(high: .random(in: 0...UInt64.max), low: .random(in: 1...UInt64.max)) }

        public var description: String { Hexadecimal.text(high) + Hexadecimal.text(low) }
    }

    public var traceID: TraceID
    /// Of the span that is the parent of what follows; never 0.
    public var spanID: UInt64
    /// Whether whoever began the trace wants it recorded.
    public var isSampled: Bool
    /// What other tracing systems want passed on, unread; empty: nothing.
    public var state: String

    public init(traceID: TraceID, spanID: UInt64, isSampled: Bool, state: String = "") {
        self.traceID = traceID
        self.spanID = spanID
        self.isSampled = isSampled
        self.state = state
    }

    /// What a caller sent; nil when it sent no trace, or one that is malformed: then the trace begins anew (section 4.3 of the text).
    ///
    /// - Parameters:
    ///   - parents: values of `traceparent`; more than one is malformed.
    ///   - states: values of `tracestate`, which count as one list. A malformed list is dropped; the trace goes on.
    public init?(parents: [String], states: [String] = []) {
        guard parents.count == 1, let parsed = Self.parse(Array(parents[0].utf8)) else { return nil }
        self = parsed
        let joined = states.joined(separator: ",")
        state = Self.isValidState(joined) ? joined : ""
    }

    /// The value of the header `traceparent`.
    public var traceparent: String { "00-\(traceID)-\(Hexadecimal.text(spanID))-\(isSampled ? "01" : "00")" }

    // MARK: Parsing

    /// version "-" trace-id "-" parent-id "-" flags: 2, 32, 16 and 2 hexadecimal digits, lower case. Later versions may go on after another dash.
    private static func parse(_ text: [UInt8]) -> TraceContext? {
        let dash = UInt8(ascii: "-")
        guard text.count >= 55, text[2] == dash, text[35] == dash, text[52] == dash else { return nil }
        guard let version = Hexadecimal.value(text[0..<2]), version != 0xff, text.count == 55 || (version > 0 && text[55] == dash) else { return nil }
        guard let high = Hexadecimal.value(text[3..<19]), let low = Hexadecimal.value(text[19..<35]), high | low != 0 else { return nil }
        guard let span = Hexadecimal.value(text[36..<52]), span != 0, let flags = Hexadecimal.value(text[53..<55]) else { return nil }
        return TraceContext(traceID: TraceID(high: high, low: low), spanID: span, isSampled: flags & 1 == 1)
    }

    private static let longestState = 512
    private static let mostMembers = 32

    /// Up to 32 members key=value with commas between them; members may be empty, keys may not come twice (section 3.3).
    private static func isValidState(_ text: String) -> Bool {
        guard text.utf8.count <= longestState else { return false }
        var keys: Set<String> = []
        for member in text.split(separator: ",") {
            let trimmed = member.drop { $0 == " " || $0 == "\t" }
            if trimmed.isEmpty { continue }
            guard let equals = trimmed.firstIndex(of: "="), keys.insert(String(trimmed[..<equals])).inserted else { return false }
            let value = trimmed[trimmed.index(after: equals)...]
            guard isValidKey(trimmed[..<equals].utf8), !value.isEmpty, value.utf8.count <= 256 else { return false }
            guard value.utf8.allSatisfy({ (0x20...0x7e).contains($0) && $0 != UInt8(ascii: "=") }) else { return false }
        }
        return keys.count <= mostMembers
    }

    private static func isValidKey(_ key: Substring.UTF8View) -> Bool {
        guard let first = key.first, key.count <= 256, isLetterOrDigit(first) else { return false }
        return key.allSatisfy { isLetterOrDigit($0) || "_-*/@".utf8.contains($0) }
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }
}

/// Numbers in hexadecimal digits of lower case.
enum Hexadecimal {
    /// 16 digits.
    static func text(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// At most 16 digits; nil when one is none, or in upper case.
    static func value(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var value: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): value = value << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return value
    }
}
