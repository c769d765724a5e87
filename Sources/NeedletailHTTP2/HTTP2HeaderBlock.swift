/// A list of header fields, as bytes in one array: building one costs no allocation per field.
///
/// Pseudo-header fields come first (RFC 9113, section 8.3); names are lower case.
public struct HTTP2HeaderBlock: Sendable {
    struct Field: Sendable {
        var name: Range<Int>
        var value: Range<Int>
        /// Keep the field out of the compression table: for values that do not come back, such as time-outs.
        var isTransient: Bool
    }

    private(set) var bytes: [UInt8] = []
    private(set) var fields: [Field] = []

    public init() {}

    /// With room for so much.
    public init(fields count: Int, bytes size: Int) {
        fields.reserveCapacity(count)
        bytes.reserveCapacity(size)
    }

    public var count: Int { fields.count }

    public mutating func removeAll() {
        bytes.removeAll(keepingCapacity: true)
        fields.removeAll(keepingCapacity: true)
    }

    public mutating func add(_ name: StaticString, _ value: StaticString) {
        let start = bytes.count
        append(name)
        let middle = bytes.count
        append(value)
        close(start, middle, isTransient: false)
    }

    public mutating func add(_ name: StaticString, _ value: String, isTransient: Bool = false) {
        let start = bytes.count
        append(name)
        let middle = bytes.count
        bytes.append(contentsOf: value.utf8)
        close(start, middle, isTransient: isTransient)
    }

    public mutating func add(_ name: String, _ value: String) {
        let start = bytes.count
        bytes.append(contentsOf: name.utf8)
        let middle = bytes.count
        bytes.append(contentsOf: value.utf8)
        close(start, middle, isTransient: false)
    }

    private mutating func append(_ text: StaticString) {
        text.withUTF8Buffer { bytes.append(contentsOf: $0) }
    }

    private mutating func close(_ start: Int, _ middle: Int, isTransient: Bool) {
        fields.append(Field(name: start..<middle, value: middle..<bytes.count, isTransient: isTransient))
    }
}

extension RawSpan {
    /// Whether these bytes are exactly `text`.
    @inlinable
    public func equals(_ text: StaticString) -> Bool {
        guard byteCount == text.utf8CodeUnitCount else { return false }
        return withUnsafeBytes { mine in
            text.withUTF8Buffer { $0.elementsEqual(mine) }
        }
    }

    /// These bytes as a string; bytes that are no UTF-8 are replaced.
    @inlinable
    public var text: String { withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }
}
