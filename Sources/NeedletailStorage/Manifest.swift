import NeedletailCore

/// What a checkpoint is: a sequence number, the caller's own bytes, and where each slab of each array lies.
///
///     manifest = "NTailMan" u32 version, u64 sequence, u64 epoch, u64 generation, bytes metadata,
///                count array*, u32 crc of what precedes
///     array    = string name, varint stride, varint slots, count slab*
///     slab     = varint generation (0: never written, all zeros), and unless 0: varint offset, varint length, u32 crc
///
/// The CRC stands last in every version and is checked first, so damage is never taken for another version.
public struct Manifest: Sendable, Equatable {
    static let magic: [UInt8] = Array("NTailMan".utf8)
    static let version: UInt32 = 1

    /// Everything up to this sequence is in the checkpoint; replay begins after it.
    public var sequence: UInt64
    public var epoch: UInt64
    /// The newest generation of slab files; each checkpoint has a higher one.
    public var generation: UInt64
    /// The caller's bytes, handed back as they were.
    public var metadata: [UInt8]
    public var arrays: [SavedArray]

    public struct SavedArray: Sendable, Equatable {
        public var name: String
        public var strideBytes: Int
        public var slotCount: Int
        var slabs: [Slab]

        /// Bytes of a slab that are saved: the last one ends with the last slot, and what lies behind was never used.
        func lengthBytes(slab: Int) -> Int { min(SlabArray.slabBytes, slotCount * strideBytes - slab * SlabArray.slabBytes) }
    }

    /// Where one slab's image is; an image may be shorter than the slab, whose rest is zeros.
    struct Slab: Sendable, Equatable {
        var generation: UInt64 = 0
        var offset = 0
        var lengthBytes = 0
        var checksum: UInt32 = 0
    }

    func array(named name: String) -> SavedArray? { arrays.first { $0.name == name } }

    /// Bytes of each generation's file that the checkpoint uses.
    func liveBytes() -> [UInt64: Int] {
        var live: [UInt64: Int] = [:]
        for array in arrays {
            for slab in array.slabs where slab.generation != 0 { live[slab.generation, default: 0] += slab.lengthBytes }
        }
        return live
    }

    func encoded() -> [UInt8] {
        var writer = ByteWriter()
        writer.raw(Self.magic)
        writer.u32(Self.version)
        writer.u64(sequence)
        writer.u64(epoch)
        writer.u64(generation)
        writer.bytes(metadata)
        writer.varint(UInt64(arrays.count))
        for array in arrays {
            writer.string(array.name)
            writer.varint(UInt64(array.strideBytes))
            writer.varint(UInt64(array.slotCount))
            writer.varint(UInt64(array.slabs.count))
            for slab in array.slabs {
                writer.varint(slab.generation)
                if slab.generation == 0 { continue }
                writer.varint(UInt64(slab.offset))
                writer.varint(UInt64(slab.lengthBytes))
                writer.u32(slab.checksum)
            }
        }
        writer.u32(crc32c(writer.bytes))
        return writer.bytes
    }

}

extension Manifest {
    /// - Throws: `dataLoss` for damaged bytes, `failedPrecondition` for another format version.
    init(decoding bytes: [UInt8], path: String) throws {
        guard bytes.count >= 16, Array(bytes[..<8]) == Self.magic else { throw Self.damaged(path, "has no magic number") }
        var trailer = ByteReader(bytes, range: bytes.count - 4..<bytes.count, location: path)
        guard try trailer.u32() == crc32c(Array(bytes[..<(bytes.count - 4)])) else {
            throw Self.damaged(path, "has a wrong checksum")
        }
        var reader = ByteReader(bytes, range: 8..<bytes.count - 4, location: path)
        let version = try reader.u32()
        guard version == Self.version else {
            throw NeedletailError(
                .failedPrecondition,
                "The checkpoint has format version \(version), this program reads version \(Self.version); use a newer program.",
                location: "\(path):8")
        }
        sequence = try reader.u64()
        epoch = try reader.u64()
        generation = try reader.u64()
        metadata = try reader.bytes()
        arrays = []
        for _ in 0..<(try reader.count(minimumItemBytes: 4)) { arrays.append(try SavedArray(&reader, path: path)) }
        try reader.expectEnd()
        // Both are counted on; and slabs are loaded side by side, so no two may belong to one array.
        guard LogFormat.sequences.contains(sequence &+ 1), generation < .max else { throw Self.damaged(path, "has an impossible number") }
        guard Set(arrays.map(\.name)).count == arrays.count else { throw Self.damaged(path, "holds an array twice") }
    }

    static func damaged(_ path: String, _ what: String, offset: Int = 0) -> NeedletailError {
        NeedletailError(
            .dataLoss, "The checkpoint \(what); \(NeedletailError.damagedReplicaAdvice).", location: "\(path):\(offset)")
    }
}

extension Manifest.SavedArray {
    init(_ reader: inout ByteReader, path: String) throws {
        name = try reader.string()
        let (stride, slots) = (try reader.varint(), try reader.varint())
        let slabCount = try reader.count()
        let (total, overflow) = stride.multipliedReportingOverflow(by: slots)
        guard stride > 0, stride <= UInt64(SlabArray.slabBytes), !overflow, total <= UInt64(1) << 50,
            slabCount == SlabArray.slabCount(slots: Int(slots), strideBytes: Int(stride))
        else { throw Manifest.damaged(path, "describes an impossible array \(name)", offset: reader.offset) }
        strideBytes = Int(stride)
        slotCount = Int(slots)
        slabs = []
        slabs.reserveCapacity(slabCount)
        for _ in 0..<slabCount {
            var slab = Manifest.Slab(generation: try reader.varint())
            if slab.generation != 0 {
                let (offset, length) = (try reader.varint(), try reader.varint())
                guard offset <= UInt64(1) << 50, length <= UInt64(SlabArray.slabBytes) else {
                    throw Manifest.damaged(path, "describes an impossible slab of \(name)", offset: reader.offset)
                }
                slab.offset = Int(offset)
                slab.lengthBytes = Int(length)
                slab.checksum = try reader.u32()
            }
            slabs.append(slab)
        }
    }
}
