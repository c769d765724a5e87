import NeedletailCore

/// What a checkpoint says of itself, without where its slabs lie.
public struct CheckpointDescription: Sendable, Hashable {
    public struct SavedArray: Sendable, Hashable {
        public var name: String
        public var strideBytes: Int
        public var slotCount: Int
        public var slabCount: Int

        public init(name: String, strideBytes: Int, slotCount: Int, slabCount: Int) {
            self.name = name
            self.strideBytes = strideBytes
            self.slotCount = slotCount
            self.slabCount = slabCount
        }
    }

    public var sequence: UInt64
    public var epoch: UInt64
    public var metadata: [UInt8]
    public var arrays: [SavedArray]

    public init(sequence: UInt64, epoch: UInt64, metadata: [UInt8], arrays: [SavedArray]) {
        self.sequence = sequence
        self.epoch = epoch
        self.metadata = metadata
        self.arrays = arrays
    }
}

/// A checkpoint taken apart into its slabs: whatever generations of files they lie in, an unchanged slab has the same bytes.
public final class CheckpointReader: Sendable {
    public let description: CheckpointDescription
    private let manifest: Manifest
    private let files: [UInt64: File]

    /// Opens the checkpoint in a directory that nobody changes.
    /// - Throws: `notFound` when there is none, `dataLoss` when it is damaged.
    public init(directory: String, disk: Disk) throws {
        let path = directory + "/MANIFEST"
        guard let bytes = try disk.readFile(path) else { throw NeedletailError(.notFound, "There is no checkpoint.", location: path) }
        let manifest = try Manifest(decoding: bytes, path: path)
        self.manifest = manifest
        files = try manifest.liveBytes().keys.reduce(into: [:]) { files, generation in
            files[generation] = try SlabFile.open(directory + "/" + SlabFile.name(generation), generation: generation, disk: disk)
        }
        description = CheckpointDescription(
            sequence: manifest.sequence, epoch: manifest.epoch, metadata: manifest.metadata,
            arrays: manifest.arrays.map { .init(name: $0.name, strideBytes: $0.strideBytes, slotCount: $0.slotCount, slabCount: $0.slabs.count) })
    }

    /// The image of a slab, by the numbers of its array and its own; nil when it was never written.
    /// - Throws: `dataLoss` when it is damaged.
    public func image(slab: Int, of array: Int) throws -> [UInt8]? {
        let slab = manifest.arrays[array].slabs[slab]
        guard let file = files[slab.generation] else { return nil }
        var bytes = [UInt8](repeating: 0, count: slab.lengthBytes)
        try bytes.withUnsafeMutableBytes { buffer in
            // An empty image has no address, and nothing to be read.
            if let start = buffer.baseAddress { try SlabFile.read(slab, from: file, into: start) }
        }
        return bytes
    }
}

/// Puts a checkpoint together from slabs: one generation, whose manifest comes last.
public struct CheckpointBuilder: Sendable {
    private let directory: String
    private let disk: Disk
    private var manifest: Manifest
    private var writer: SlabFileWriter

    /// - Parameter directory: empty or missing.
    /// - Throws: `dataLoss` when the description cannot be one.
    public init(_ description: CheckpointDescription, directory: String, disk: Disk) throws {
        self.directory = directory
        self.disk = disk
        manifest = Manifest(sequence: description.sequence, epoch: description.epoch, generation: 1, metadata: description.metadata, arrays: [])
        writer = SlabFileWriter(directory: directory, generation: 1, bytesPerSecond: nil, disk: disk)
        for array in description.arrays {
            let (total, overflow) = array.strideBytes.multipliedReportingOverflow(by: array.slotCount)
            guard array.strideBytes > 0, array.strideBytes <= SlabArray.slabBytes, array.slotCount >= 0, !overflow, total <= 1 << 50,
                array.slabCount == SlabArray.slabCount(slots: array.slotCount, strideBytes: array.strideBytes)
            else { throw Self.impossible(directory, "an array of an impossible size") }
            manifest.arrays.append(
                .init(
                    name: array.name, strideBytes: array.strideBytes, slotCount: array.slotCount,
                    slabs: [Manifest.Slab](repeating: .init(), count: array.slabCount)))
        }
        try disk.createDirectory(directory)
    }

    /// - Throws: `dataLoss` for an image longer than the slab, what the disk says.
    public mutating func add(_ image: [UInt8], slab: Int, of array: Int) throws {
        guard manifest.arrays.indices.contains(array), manifest.arrays[array].slabs.indices.contains(slab),
            image.count <= manifest.arrays[array].lengthBytes(slab: slab)
        else { throw Self.impossible(directory, "a slab of an impossible size") }
        manifest.arrays[array].slabs[slab] = try image.withUnsafeBytes { try writer.append($0) }
    }

    /// Returns when the checkpoint is durable.
    public mutating func finish() throws {
        try writer.sync()
        let path = directory + "/MANIFEST"
        let bytes = manifest.encoded()
        // As it will be read: what came from elsewhere may be impossible in other ways.
        _ = try Manifest(decoding: bytes, path: path)
        try disk.replaceFile(path, with: bytes)
    }

    private static func impossible(_ directory: String, _ what: String) -> NeedletailError {
        NeedletailError(.dataLoss, "the checkpoint to be put together describes \(what); it is damaged", location: directory)
    }
}
