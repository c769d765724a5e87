public import NeedletailCore
internal import NeedletailStorage

/// What a backup has of one shard: a checkpoint by its slabs, its payloads, models, and the log's records from there to the cut.
///
///     index = "NTailBSh" u32 version, …, u32 crc of what precedes
public struct BackupShard: Sendable, Hashable {
    static let magic: [UInt8] = Array("NTailBSh".utf8)
    static let version: UInt32 = 1

    public struct SavedArray: Sendable, Hashable {
        public var name: String
        public var strideBytes: UInt64
        public var slotCount: UInt64
        /// Of each slab its image; nil: never written.
        public var slabs: [BackupPiece?]

        public init(name: String, strideBytes: UInt64, slotCount: UInt64, slabs: [BackupPiece?]) {
            self.name = name
            self.strideBytes = strideBytes
            self.slotCount = slotCount
            self.slabs = slabs
        }
    }

    public struct File: Sendable, Hashable {
        public var name: String
        public var pieces: [BackupPiece]

        public init(name: String, pieces: [BackupPiece]) {
            self.name = name
            self.pieces = pieces
        }
    }

    /// The last write in the checkpoint, 0 without one, and its epoch.
    public var sequence: UInt64
    public var epoch: UInt64
    /// The checkpoint's own.
    public var metadata: [UInt8] = []
    public var arrays: [SavedArray] = []
    /// The payloads are at least as new as the checkpoint; nil when there are none.
    public var payloadSequence: UInt64?
    public var payloads: [BackupPiece] = []
    public var files: [File] = []
    /// `LogRecords` each.
    public var records: [BackupPiece] = []

    public init(sequence: UInt64, epoch: UInt64) {
        self.sequence = sequence
        self.epoch = epoch
    }

    public var pieces: [BackupPiece] {
        arrays.flatMap { $0.slabs.compactMap { $0 } } + payloads + files.flatMap(\.pieces) + records
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.raw(Self.magic)
        writer.u32(Self.version)
        writer.u64(sequence)
        writer.u64(epoch)
        writer.bytes(metadata)
        writer.varint(UInt64(arrays.count))
        for array in arrays {
            writer.string(array.name)
            writer.varint(array.strideBytes)
            writer.varint(array.slotCount)
            writer.varint(UInt64(array.slabs.count))
            for slab in array.slabs {
                writer.u8(slab == nil ? 0 : 1)
                if let slab { writer.piece(slab) }
            }
        }
        writer.u8(payloadSequence == nil ? 0 : 1)
        writer.u64(payloadSequence ?? 0)
        writer.pieces(payloads)
        writer.varint(UInt64(files.count))
        for file in files {
            writer.string(file.name)
            writer.pieces(file.pieces)
        }
        writer.pieces(records)
        writer.u32(crc32c(writer.bytes))
        return writer.bytes
    }

    /// - Throws: `dataLoss` for damaged bytes, `unimplemented` for a version that this build does not know.
    public init(encoded bytes: [UInt8], location: String) throws(NeedletailError) {
        var reader = try backupReader(bytes, magic: Self.magic, version: Self.version, what: "backup's list of a shard", location: location)
        sequence = try reader.u64()
        epoch = try reader.u64()
        metadata = try reader.bytes()
        for _ in 0..<(try reader.count(minimumItemBytes: 4)) {
            var array = SavedArray(name: try reader.string(), strideBytes: try reader.varint(), slotCount: try reader.varint(), slabs: [])
            for _ in 0..<(try reader.count()) { array.slabs.append(try reader.u8() == 0 ? nil : try reader.piece()) }
            arrays.append(array)
        }
        let hasPayloads = try reader.u8() != 0
        let sequenceOfPayloads = try reader.u64()
        payloadSequence = hasPayloads ? sequenceOfPayloads : nil
        payloads = try reader.pieces()
        for _ in 0..<(try reader.count(minimumItemBytes: 2)) { files.append(File(name: try reader.string(), pieces: try reader.pieces())) }
        records = try reader.pieces()
        try reader.expectEnd()
    }
}

/// Records of a log, in one object.
public enum LogRecords {
    public static func encoded(_ records: [LogRecord]) -> [UInt8] {
        var writer = ByteWriter(capacity: records.reduce(0) { $0 + $1.payload.count + 24 })
        for record in records {
            writer.u64(record.sequence)
            writer.u64(record.epoch)
            writer.bytes(record.payload)
        }
        return writer.bytes
    }

    private static let meanGroupBytes = 128.0 * 1024

    /// Records that go in one object. Borders are after records with certain sequences, the larger a record the more likely: so most objects are
    /// those of the last backup, also when that began at an earlier one, and when records came after it.
    public static func grouped(_ records: [LogRecord]) -> [[LogRecord]] {
        var (groups, current): ([[LogRecord]], [LogRecord]) = ([], [])
        for record in records {
            current.append(record)
            let drawn = Double((record.sequence &* 0x9e37_79b9_7f4a_7c15) >> 32) / Double(UInt32.max)
            if drawn < Double(record.payload.count) / meanGroupBytes {
                groups.append(current)
                current = []
            }
        }
        return current.isEmpty ? groups : groups + [current]
    }

    /// - Throws: `dataLoss` for other bytes.
    public static func decoded(_ bytes: [UInt8]) throws(NeedletailError) -> [LogRecord] {
        var reader = ByteReader(bytes)
        var records: [LogRecord] = []
        while !reader.isAtEnd { records.append(LogRecord(sequence: try reader.u64(), epoch: try reader.u64(), payload: try reader.bytes())) }
        return records
    }
}
