private import CNeedletailChecksum
internal import NeedletailCore

/// Bytes with their CRC32C behind them, for what has no checksum of its own: small files, and values in LMDB, whose pages have none.
enum Checked {
    static func seal(_ bytes: [UInt8]) -> [UInt8] {
        var writer = ByteWriter()
        writer.raw(bytes)
        writer.u32(nt_crc32c(0, bytes, bytes.count))
        return writer.bytes
    }

    /// - Throws: `dataLoss` when the bytes are not what was sealed.
    static func open(_ sealed: [UInt8], location: String) throws(NeedletailError) -> [UInt8] {
        let length = sealed.count - 4
        guard length >= 0 else { throw damaged(location) }
        var reader = ByteReader(sealed)
        try reader.skip(length)
        let bytes = Array(sealed.prefix(length))
        guard try reader.u32() == nt_crc32c(0, bytes, length) else { throw damaged(location) }
        return bytes
    }

    private static func damaged(_ location: String) -> NeedletailError {
        NeedletailError(
            .dataLoss, "Stored bytes are damaged: their checksum is wrong. Put the file back from a copy of the data folder.", location: location)
    }
}

extension Disk {
    /// `readFile` of what `replaceChecked` wrote.
    /// - Throws: `dataLoss` naming the file when it is damaged.
    public func readChecked(_ path: String) throws -> [UInt8]? { try readFile(path).map { try Checked.open($0, location: path) } }

    /// `replaceFile`, with a checksum.
    public func replaceChecked(_ path: String, with bytes: [UInt8]) throws { try replaceFile(path, with: Checked.seal(bytes)) }
}
