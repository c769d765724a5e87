public import NeedletailCore

/// The SHA-256 of an object's bytes, which is its name as well.
public struct Checksum256: Sendable, Hashable {
    private let a, b, c, d: UInt64

    public static func of(_ bytes: [UInt8]) -> Checksum256 { sha256(bytes) }

    /// - Parameter bytes: 32 of them.
    init(bytes: [UInt8]) {
        precondition(bytes.count == 32, "SHA-256 has 32 bytes")
        func word(_ start: Int) -> UInt64 { bytes[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) } }
        (a, b, c, d) = (word(0), word(8), word(16), word(24))
    }

    /// - Throws: `dataLoss` when it is not 32 bytes.
    public init(checking bytes: [UInt8]) throws(NeedletailError) {
        guard bytes.count == 32 else { throw NeedletailError(.dataLoss, "a checksum has \(bytes.count) bytes, not 32; it is damaged") }
        self.init(bytes: bytes)
    }

    public var bytes: [UInt8] { [a, b, c, d].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> (56 - 8 * UInt64($0))) } } }

    public var hexadecimal: String { NeedletailBackup.hexadecimal(bytes) }
}
