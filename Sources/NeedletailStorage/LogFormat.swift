import NeedletailCore

/// The bytes of a log segment.
///
///     segment = header record*
///     header  = "NTailLog" u32 version, u32 salt, u64 first sequence, u32 crc of what precedes, u32 zero       (32 bytes)
///     record  = u32 payload length, u32 crc, u64 sequence, u64 epoch, u64 durable sequence, payload            (32 bytes + payload)
///
/// A record's CRC32C starts from the segment's random salt and covers the length and everything after the CRC: bytes of another
/// segment, or a payload that holds log records, never pass for a record of this one.
///
/// The *durable sequence* is the last sequence known to be on disk when the record was written. It settles what a bad record means
/// during recovery: a later record that says "the bad one was durable" proves damage; without one, the bad record and whatever
/// follows it belong to a write that was under way at the crash and was never acknowledged (the kernel writes the pages of one
/// write in any order, so whole records may well follow a torn one).
enum LogFormat {
    static let magic: [UInt8] = Array("NTailLog".utf8)
    static let version: UInt32 = 1
    static let headerBytes = 32
    static let recordHeaderBytes = 32
    static let maximumPayloadBytes = 256 << 20

    static func name(firstSequence: UInt64) -> String {
        let digits = String(firstSequence)
        return String(repeating: "0", count: 20 - digits.count) + digits + ".log"
    }

    /// Sequences begin at 1. The last number is no sequence, so that the one after a record's can always be named.
    static let sequences: ClosedRange<UInt64> = 1 ... .max - 1

    /// The first sequence a file name states, or nil for a file that is not a segment.
    static func firstSequence(name: String) -> UInt64? {
        guard let sequence = UInt64(name.prefix(20)), sequences.contains(sequence), self.name(firstSequence: sequence) == name else { return nil }
        return sequence
    }

    static func header(firstSequence: UInt64, salt: UInt32) -> [UInt8] {
        var writer = ByteWriter(capacity: headerBytes)
        writer.raw(magic)
        writer.u32(version)
        writer.u32(salt)
        writer.u64(firstSequence)
        writer.u32(crc32c(writer.bytes))
        writer.u32(0)
        return writer.bytes
    }

    /// Checks a segment's header and returns its salt.
    static func parseHeader(_ bytes: [UInt8], firstSequence: UInt64, path: String) throws -> UInt32 {
        var reader = ByteReader(bytes, location: "\(path):0")
        guard try reader.raw(8) == magic else { throw headerError("does not begin with the log's magic number", path) }
        let version = try reader.u32()
        let salt = try reader.u32()
        let sequence = try reader.u64()
        guard try reader.u32() == crc32c(Array(bytes[..<24])), try reader.u32() == 0 else {
            throw headerError("has a header whose checksum is wrong", path)
        }
        guard version == Self.version else {
            throw NeedletailError(
                .failedPrecondition,
                "The log segment has format version \(version), this program reads version \(Self.version); use a newer program.",
                location: "\(path):8")
        }
        guard sequence == firstSequence else { throw headerError("says it begins at sequence \(sequence)", path) }
        return salt
    }

    static func headerError(_ what: String, _ path: String) -> NeedletailError {
        NeedletailError(.dataLoss, "The log segment \(what). \(LogFormat.advice(path))", location: "\(path):0")
    }

    /// What the operator can do about a damaged log.
    static func advice(_ path: String) -> String {
        // A replica keeps its log in `log`: it is the folder around that which the command takes.
        let directory = path.lastIndex(of: "/").map { path[..<$0] } ?? "."
        let replica = directory.hasSuffix("/log") ? directory.dropLast(4) : directory
        return "If another replica of the shard is in sync, this one is filled anew from it by itself; otherwise stop the worker and cut the log "
            + "at the damage, which loses the writes that follow: needletail-shard repair --replica \(replica)"
    }

    static func appendRecord(
        to buffer: inout [UInt8], salt: UInt32, sequence: UInt64, epoch: UInt64, durable: UInt64, payload: [UInt8]
    ) {
        var header = ByteWriter(capacity: recordHeaderBytes)
        header.u32(UInt32(payload.count))
        header.u32(0)
        header.u64(sequence)
        header.u64(epoch)
        header.u64(durable)
        header.patch(u32: checksum(header.bytes, payload, salt: salt), at: 4)
        buffer.append(contentsOf: header.bytes)
        buffer.append(contentsOf: payload)
    }

    private static func checksum(_ header: [UInt8], _ payload: [UInt8], salt: UInt32) -> UInt32 {
        header.withUnsafeBytes { bytes in
            // The header has 32 bytes: 0..<4 is the length, 4..<8 the place of the checksum itself.
            let length = crc32c(UnsafeRawBufferPointer(rebasing: bytes[0..<4]), seed: salt)
            return crc32c(payload, seed: crc32c(UnsafeRawBufferPointer(rebasing: bytes[8...]), seed: length))
        }
    }

    /// A record's fixed part, found at the start of `bytes`.
    struct RecordHeader {
        let payloadBytes: Int
        let checksum: UInt32
        let sequence: UInt64
        let epoch: UInt64
        let durable: UInt64

        var recordBytes: Int { LogFormat.recordHeaderBytes + payloadBytes }

        /// Nil when `bytes` is shorter than the fixed part.
        init?(_ bytes: UnsafeRawBufferPointer) {
            guard bytes.count >= LogFormat.recordHeaderBytes else { return nil }
            // All five offsets lie inside the 32 bytes just checked.
            payloadBytes = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 0, as: UInt32.self)))
            checksum = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
            sequence = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
            epoch = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
            durable = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 24, as: UInt64.self))
        }

        /// Whether the whole record is in `bytes` and its checksum is right.
        func verifies(_ bytes: UnsafeRawBufferPointer, salt: UInt32) -> Bool {
            guard bytes.count >= recordBytes else { return false }
            let length = crc32c(UnsafeRawBufferPointer(rebasing: bytes[0..<4]), seed: salt)
            return crc32c(UnsafeRawBufferPointer(rebasing: bytes[8..<recordBytes]), seed: length) == checksum
        }
    }
}
