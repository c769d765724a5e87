public import NeedletailCore

/// Entries in key order, cut into chunks by their content: a change of one entry changes its own chunk and maybe the next, however the pages of
/// the file lie (Muthitacharoen and others, "A Low-bandwidth Network File System", 2001, with entries in place of bytes).
///
///     chunk = (bytes key, bytes value)*
extension PayloadStore {
    /// A chunk ends after an entry with a chance of its size to this.
    private static let meanChunkBytes = 128 << 10
    private static let longestChunkBytes = 2 << 20

    /// The chunk that follows the entry with this key; nil after the last.
    /// - Returns: the chunk and the key of its last entry.
    public func chunk(after key: [UInt8]?) throws -> (bytes: [UInt8], last: [UInt8])? {
        struct Full: Error {}
        var writer = ByteWriter()
        var last: [UInt8]?
        do {
            try scan(after: key, limit: .max) { key, value in
                writer.bytes(key)
                writer.bytes(value)
                last = key
                let chance = Double(key.count + value.count) / Double(Self.meanChunkBytes)
                if Double(crc32c(key)) < chance * Double(UInt32.max) || writer.count >= Self.longestChunkBytes { throw Full() }
            }
        } catch is Full {}
        return last.map { (writer.bytes, $0) }
    }

    /// What `chunk` made.
    /// - Throws: `dataLoss` for other bytes.
    public static func entries(of chunk: [UInt8]) throws(NeedletailError) -> [(key: [UInt8], value: [UInt8]?)] {
        var reader = ByteReader(chunk)
        var entries: [(key: [UInt8], value: [UInt8]?)] = []
        while !reader.isAtEnd { entries.append((try reader.bytes(), try reader.bytes())) }
        return entries
    }
}
