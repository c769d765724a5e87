/// Appends little-endian values to an array of bytes; the other half is `ByteReader`.
public struct ByteWriter: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init(capacity: Int = 0) { bytes.reserveCapacity(capacity) }

    public var count: Int { bytes.count }

    public mutating func u8(_ value: UInt8) { bytes.append(value) }
    public mutating func u16(_ value: UInt16) { fixed(value) }
    public mutating func u32(_ value: UInt32) { fixed(value) }
    public mutating func u64(_ value: UInt64) { fixed(value) }
    public mutating func f32(_ value: Float) { fixed(value.bitPattern) }
    public mutating func f64(_ value: Double) { fixed(value.bitPattern) }

    /// Seven bits a byte, lowest first, the high bit set on every byte but the last: 1 to 10 bytes.
    public mutating func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    /// The bytes alone; the reader has to know how many there are.
    public mutating func raw(_ value: some Sequence<UInt8>) { bytes.append(contentsOf: value) }

    /// A varint length, then the bytes.
    public mutating func bytes(_ value: some Collection<UInt8>) {
        varint(UInt64(value.count))
        bytes.append(contentsOf: value)
    }

    /// A varint length in bytes, then UTF-8.
    public mutating func string(_ value: String) { bytes(value.utf8) }

    /// Overwrites four bytes written earlier, for a length or checksum known only afterwards.
    public mutating func patch(u32 value: UInt32, at offset: Int) {
        for index in 0..<4 { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * UInt32(index))) }
    }

    private mutating func fixed<Value: FixedWidthInteger>(_ value: Value) {
        var rest = value
        for _ in 0..<(Value.bitWidth / 8) {
            bytes.append(UInt8(truncatingIfNeeded: rest))
            if Value.bitWidth > 8 { rest >>= 8 }
        }
    }
}

/// Reads what `ByteWriter` wrote, from bytes that nobody vouches for: every length is checked, and a short, overlong or malformed
/// input throws `dataLoss` with the offset. Nothing here traps on account of the input.
public struct ByteReader: Sendable {
    private let source: [UInt8]
    private let end: Int
    private let location: String?
    /// The position of the next byte, counted from the start of the array.
    public private(set) var offset: Int

    /// Reads `range` of `bytes` (all of it by default; the range is clamped). `location` names the file or peer in errors.
    public init(_ bytes: [UInt8], range: Range<Int>? = nil, location: String? = nil) {
        let bounds = (range ?? 0..<bytes.count).clamped(to: 0..<bytes.count)
        source = bytes
        offset = bounds.lowerBound
        end = bounds.upperBound
        self.location = location
    }

    public var remaining: Int { end - offset }
    public var isAtEnd: Bool { offset == end }

    public mutating func u8() throws(NeedletailError) -> UInt8 {
        try need(1)
        defer { offset += 1 }
        return source[offset]
    }

    public mutating func u16() throws(NeedletailError) -> UInt16 { try fixed() }
    public mutating func u32() throws(NeedletailError) -> UInt32 { try fixed() }
    public mutating func u64() throws(NeedletailError) -> UInt64 { try fixed() }
    public mutating func f32() throws(NeedletailError) -> Float { Float(bitPattern: try fixed()) }
    public mutating func f64() throws(NeedletailError) -> Double { Double(bitPattern: try fixed()) }

    /// Throws `dataLoss` when the value does not fit 64 bits.
    public mutating func varint() throws(NeedletailError) -> UInt64 {
        var value: UInt64 = 0
        var shift: UInt64 = 0
        while true {
            let byte = try u8()
            guard shift < 63 || (shift == 63 && byte <= 1) else { throw malformed("a varint is longer than 64 bits") }
            value |= UInt64(byte & 0x7f) << shift
            if byte < 0x80 { return value }
            shift += 7
        }
    }

    /// A varint count of items that take at least `minimumItemBytes` each: one that the rest of the input cannot hold is refused
    /// here, so the caller may reserve room for `count` items.
    public mutating func count(minimumItemBytes: Int = 1) throws(NeedletailError) -> Int {
        let value = try varint()
        guard value <= UInt64(remaining / max(1, minimumItemBytes)) else {
            throw malformed("a count of \(value) items does not fit the \(remaining) bytes left")
        }
        return Int(value)
    }

    /// Exactly `count` bytes.
    public mutating func raw(_ count: Int) throws(NeedletailError) -> [UInt8] {
        try need(count)
        defer { offset += count }
        return Array(source[offset..<offset + count])
    }

    /// A varint length, then that many bytes.
    public mutating func bytes() throws(NeedletailError) -> [UInt8] { try raw(try count()) }

    /// A varint length in bytes, then UTF-8; throws `dataLoss` when it is not UTF-8.
    public mutating func string() throws(NeedletailError) -> String {
        let start = offset
        guard let text = String(validating: try bytes(), as: UTF8.self) else {
            throw NeedletailError(.dataLoss, "The text at offset \(start) is not UTF-8; the bytes are damaged.", location: location)
        }
        return text
    }

    public mutating func skip(_ count: Int) throws(NeedletailError) {
        try need(count)
        offset += count
    }

    /// Throws `dataLoss` when bytes are left over.
    public func expectEnd() throws(NeedletailError) {
        if !isAtEnd { throw malformed("\(remaining) bytes are left over") }
    }

    private mutating func fixed<Value: FixedWidthInteger>() throws(NeedletailError) -> Value {
        let width = Value.bitWidth / 8
        try need(width)
        var value: Value = 0
        for index in 0..<width { value |= Value(truncatingIfNeeded: source[offset + index]) << Value(8 * index) }
        offset += width
        return value
    }

    private func need(_ count: Int) throws(NeedletailError) {
        if count < 0 || count > remaining { throw malformed("\(count) bytes are wanted and \(remaining) are left") }
    }

    private func malformed(_ what: String) -> NeedletailError {
        NeedletailError(.dataLoss, "At offset \(offset) \(what); the bytes are cut off or damaged.", location: location)
    }
}
