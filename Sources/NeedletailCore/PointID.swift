/// The name of a point inside its collection: an unsigned 64-bit number or a UUID.
///
/// Order: numbers before UUIDs, each by value; ties between equal scores are broken by it, on every node the same way.
public enum PointID: Sendable, Hashable, Comparable, CustomStringConvertible {
    case number(UInt64)
    /// The 128 bits of the UUID in its textual order: `high` holds the first eight bytes.
    case uuid(high: UInt64, low: UInt64)

    public static func < (left: PointID, right: PointID) -> Bool {
        switch (left, right) {
        case (.number(let l), .number(let r)): l < r
        case (.number, .uuid): true
        case (.uuid, .number): false
        case (.uuid(let lh, let ll), .uuid(let rh, let rl)): (lh, ll) < (rh, rl)
        }
    }

    /// The point's place in the hash space that shards divide. Part of the on-disk format: it never changes.
    ///
    /// SplitMix64's finaliser (Steele, Lea & Flood, "Fast splittable pseudorandom number generators", 2014), once for each word.
    public var placementHash: UInt64 {
        switch self {
        case .number(let value): Self.mix(value &+ 0x9e37_79b9_7f4a_7c15)
        case .uuid(let high, let low): Self.mix(Self.mix(high &+ 0x3c6e_f372_fe94_f82a) ^ low)
        }
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    public var description: String {
        switch self {
        case .number(let value): return String(value)
        case .uuid(let high, let low):
            let digits = Self.hexadecimal(high) + Self.hexadecimal(low)
            var text = ""
            for (index, digit) in digits.enumerated() {
                if [8, 12, 16, 20].contains(index) { text.append("-") }
                text.append(digit)
            }
            return text
        }
    }

    /// Reads what `description` prints: decimal digits, or 32 hexadecimal digits with or without hyphens.
    public init?(_ text: String) {
        // Longer ones are UUIDs, also those of decimal digits alone.
        if text.utf8.count <= 20, let value = UInt64(text) {
            self = .number(value)
            return
        }
        let digits = text.filter { $0 != "-" }
        guard digits.count == 32, digits.allSatisfy(\.isHexDigit),
            let high = UInt64(digits.prefix(16), radix: 16), let low = UInt64(digits.suffix(16), radix: 16)
        else { return nil }
        self = .uuid(high: high, low: low)
    }

    private static func hexadecimal(_ value: UInt64) -> String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    /// 17 bytes whose byte order is the order of ids: the key of the point in ordered stores.
    public var orderedKey: [UInt8] {
        var key = [UInt8](repeating: 0, count: 17)
        let (high, low): (UInt64, UInt64)
        switch self {
        case .number(let value): (high, low) = (0, value)
        case .uuid(let h, let l):
            key[0] = 1
            (high, low) = (h, l)
        }
        for byte in 0..<8 {
            key[1 + byte] = UInt8(truncatingIfNeeded: high >> UInt64(56 - 8 * byte))
            key[9 + byte] = UInt8(truncatingIfNeeded: low >> UInt64(56 - 8 * byte))
        }
        return key
    }

    /// The inverse of `orderedKey`; nil for bytes that are none.
    public init?(orderedKey key: some Collection<UInt8>) {
        guard key.count == 17, let kind = key.first else { return nil }
        var words: (UInt64, UInt64) = (0, 0)
        for (index, byte) in key.dropFirst().enumerated() {
            if index < 8 { words.0 = words.0 << 8 | UInt64(byte) } else { words.1 = words.1 << 8 | UInt64(byte) }
        }
        switch kind {
        case 0 where words.0 == 0: self = .number(words.1)
        case 1: self = .uuid(high: words.0, low: words.1)
        default: return nil
        }
    }
}
