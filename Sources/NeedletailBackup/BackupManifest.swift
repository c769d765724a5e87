public import NeedletailCore
internal import NeedletailStorage

/// Where an object of a backup is, by what is in it.
public struct BackupPiece: Sendable, Hashable {
    public var checksum: Checksum256
    public var sizeBytes: UInt64

    public init(checksum: Checksum256, sizeBytes: UInt64) {
        self.checksum = checksum
        self.sizeBytes = sizeBytes
    }

    public init(of bytes: [UInt8]) { self.init(checksum: .of(bytes), sizeBytes: UInt64(bytes.count)) }

    /// Spread over folders, since file systems do not like hundreds of thousands of names in one.
    public var key: String {
        let name = checksum.hexadecimal
        return "\(Self.prefix)\(name.prefix(2))/\(name)"
    }

    public static let prefix = "objects/"
}

/// What a backup is of. It is stored last: a backup exists when its manifest does.
///
///     manifest = "NTailBak" u32 version, …, u32 crc of what precedes
///
/// Before its CRC a later version may have more at the end only if this one may pass over it; else its number is another.
public struct BackupManifest: Sendable, Hashable {
    static let magic: [UInt8] = Array("NTailBak".utf8)
    public static let version: UInt32 = 1

    public struct Shard: Sendable, Hashable {
        public var number: UInt32
        public var range: HashRange
        /// Every write up to here is in it, and none after.
        public var cut: UInt64
        /// The greatest epoch of a write in it.
        public var epoch: UInt64
        /// The node whose replica it was taken from.
        public var node: NodeID
        /// A `BackupShard`, encoded.
        public var index: BackupPiece
        /// All pieces, the index included, and those of them that were not there before.
        public var pieces: UInt64
        public var bytes: UInt64
        public var newPieces: UInt64
        public var newBytes: UInt64
        /// For so long its writes were held.
        public var heldMicroseconds: UInt64

        public init(
            number: UInt32, range: HashRange, cut: UInt64, epoch: UInt64, node: NodeID, index: BackupPiece, pieces: UInt64, bytes: UInt64,
            newPieces: UInt64, newBytes: UInt64, heldMicroseconds: UInt64
        ) {
            self.number = number
            self.range = range
            self.cut = cut
            self.epoch = epoch
            self.node = node
            self.index = index
            self.pieces = pieces
            self.bytes = bytes
            self.newPieces = newPieces
            self.newBytes = newBytes
            self.heldMicroseconds = heldMicroseconds
        }
    }

    /// The operation that made it.
    public var operation: UInt64
    public var name: String
    public var collection: CollectionSpec
    public var incarnation: Incarnation
    public var models: [FieldModel]
    /// Since 1970, by the clock of the coordinator that led.
    public var createdMilliseconds: Int64
    /// Of the coordinator.
    public var software: String
    /// By their ranges, which tile the hash space.
    public var shards: [Shard]

    public init(
        operation: UInt64, name: String, collection: CollectionSpec, incarnation: Incarnation, models: [FieldModel], createdMilliseconds: Int64,
        software: String, shards: [Shard]
    ) {
        self.operation = operation
        self.name = name
        self.collection = collection
        self.incarnation = incarnation
        self.models = models
        self.createdMilliseconds = createdMilliseconds
        self.software = software
        self.shards = shards
    }

    public static let prefix = "backups/"
    public static func key(_ name: String) -> String { prefix + name }

    public var bytes: UInt64 { shards.reduce(0) { $0 + $1.bytes } }
    public var newBytes: UInt64 { shards.reduce(0) { $0 + $1.newBytes } }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.raw(Self.magic)
        writer.u32(Self.version)
        writer.u64(operation)
        writer.string(name)
        writer.u8(CollectionSpec.format)
        collection.encode(to: &writer)
        writer.u64(incarnation.value)
        writer.varint(UInt64(models.count))
        for model in models { model.encode(to: &writer) }
        writer.u64(UInt64(bitPattern: createdMilliseconds))
        writer.string(software)
        writer.varint(UInt64(shards.count))
        for shard in shards {
            writer.u32(shard.number)
            for value in [shard.range.first, shard.range.last, shard.cut, shard.epoch, shard.node.value] { writer.u64(value) }
            writer.piece(shard.index)
            for value in [shard.pieces, shard.bytes, shard.newPieces, shard.newBytes, shard.heldMicroseconds] { writer.varint(value) }
        }
        writer.u32(crc32c(writer.bytes))
        return writer.bytes
    }

    /// - Throws: `dataLoss` for damaged bytes, `unimplemented` for a version that this build does not know.
    public init(encoded bytes: [UInt8], location: String) throws(NeedletailError) {
        var reader = try backupReader(bytes, magic: Self.magic, version: Self.version, what: "backup", location: location)
        operation = try reader.u64()
        name = try reader.string()
        let format = try reader.u8()
        guard (1...CollectionSpec.format).contains(format) else { throw newerBackup("the backup's definition of the collection", UInt32(format), location) }
        collection = try CollectionSpec(from: &reader, format: format)
        incarnation = Incarnation(try reader.u64())
        models = []
        for _ in 0..<(try reader.count()) { models.append(try FieldModel(from: &reader)) }
        createdMilliseconds = Int64(bitPattern: try reader.u64())
        software = try reader.string()
        shards = []
        var next: UInt64? = 0
        for _ in 0..<(try reader.count(minimumItemBytes: 70)) {
            let (number, first, last) = (try reader.u32(), try reader.u64(), try reader.u64())
            guard first == next, first <= last else { throw Self.torn(location) }
            next = last == .max ? nil : last + 1
            shards.append(
                Shard(
                    number: number, range: HashRange(first: first, last: last), cut: try reader.u64(), epoch: try reader.u64(), node: NodeID(try reader.u64()),
                    index: try reader.piece(), pieces: try reader.varint(), bytes: try reader.varint(), newPieces: try reader.varint(),
                    newBytes: try reader.varint(), heldMicroseconds: try reader.varint()))
        }
        try reader.expectEnd()
        guard next == nil, Set(shards.map(\.number)).count == shards.count else { throw Self.torn(location) }
    }

    private static func torn(_ location: String) -> NeedletailError {
        NeedletailError(.dataLoss, "the backup's shards do not make up the whole collection; its manifest is damaged", location: location)
    }
}

func newerBackup(_ what: String, _ version: UInt32, _ location: String) -> NeedletailError {
    NeedletailError(.unimplemented, "\(what) has format \(version), which this build does not know; use a newer version of Needletail", location: location)
}

/// The reader of what follows a magic number and a version, up to the CRC at the end.
func backupReader(_ bytes: [UInt8], magic: [UInt8], version: UInt32, what: String, location: String) throws(NeedletailError) -> ByteReader {
    func damaged(_ how: String) -> NeedletailError { NeedletailError(.dataLoss, "the \(what) \(how); it is damaged", location: location) }
    guard bytes.count >= magic.count + 8, Array(bytes.prefix(magic.count)) == magic else { throw damaged("has no magic number") }
    let body = bytes.count - 4
    var trailer = ByteReader(bytes, range: body..<bytes.count, location: location)
    guard try trailer.u32() == crc32c(Array(bytes[..<body])) else { throw damaged("has a wrong checksum") }
    var reader = ByteReader(bytes, range: magic.count..<body, location: location)
    let found = try reader.u32()
    guard found == version else { throw newerBackup("the \(what)", found, location) }
    return reader
}

extension ByteWriter {
    mutating func piece(_ piece: BackupPiece) {
        raw(piece.checksum.bytes)
        varint(piece.sizeBytes)
    }

    mutating func pieces(_ pieces: [BackupPiece]) {
        varint(UInt64(pieces.count))
        for one in pieces { piece(one) }
    }
}

extension ByteReader {
    mutating func piece() throws(NeedletailError) -> BackupPiece {
        BackupPiece(checksum: try Checksum256(checking: try raw(32)), sizeBytes: try varint())
    }

    mutating func pieces() throws(NeedletailError) -> [BackupPiece] {
        var pieces: [BackupPiece] = []
        for _ in 0..<(try count(minimumItemBytes: 33)) { pieces.append(try piece()) }
        return pieces
    }
}
