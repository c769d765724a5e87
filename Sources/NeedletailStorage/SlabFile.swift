import NeedletailCore

/// The file of one generation: a header, then slab images one after the other. Written once, never modified.
///
///     file = "NTailSlb" u32 version, u32 zero, u64 generation, u32 crc of what precedes, u32 zero     (32 bytes)   image*
///
/// The manifest holds each image's offset, length and CRC.
enum SlabFile {
    static let magic: [UInt8] = Array("NTailSlb".utf8)
    static let version: UInt32 = 1
    static let headerBytes = 32

    static func name(_ generation: UInt64) -> String { "slabs-\(generation).dat" }

    /// The generation a file name states, or nil for another file.
    static func generation(name: String) -> UInt64? {
        guard name.hasPrefix("slabs-"), name.hasSuffix(".dat") else { return nil }
        return UInt64(name.dropFirst(6).dropLast(4))
    }

    static func header(_ generation: UInt64) -> [UInt8] {
        var writer = ByteWriter(capacity: headerBytes)
        writer.raw(magic)
        writer.u32(version)
        writer.u32(0)
        writer.u64(generation)
        writer.u32(crc32c(writer.bytes))
        writer.u32(0)
        return writer.bytes
    }

    /// Opens a generation for reading and checks its header.
    static func open(_ path: String, generation: UInt64, disk: Disk) throws -> File {
        guard disk.exists(path) else { throw Manifest.damaged(path, "lacks a slab file") }
        let file = try disk.open(path, .read)
        var bytes = [UInt8](repeating: 0, count: headerBytes)
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        var reader = ByteReader(bytes, range: 8..<headerBytes, location: path)
        guard count == headerBytes, Array(bytes[..<8]) == magic, crc32c(Array(bytes[..<24])) == readChecksum(bytes) else {
            throw Manifest.damaged(path, "has a slab file with a damaged header")
        }
        let version = try reader.u32()
        guard version == Self.version else {
            throw NeedletailError(
                .failedPrecondition,
                "The slab file has format version \(version), this program reads version \(Self.version); use a newer program.",
                location: "\(path):8")
        }
        guard bytes == header(generation) else { throw Manifest.damaged(path, "has a slab file of another generation") }
        return file
    }

    private static func readChecksum(_ bytes: [UInt8]) -> UInt32? {
        var reader = ByteReader(bytes, range: 24..<28)
        return try? reader.u32()
    }

    /// Reads one image into `destination` (at least as long as the image) and checks it.
    static func read(_ slab: Manifest.Slab, from file: File, into destination: UnsafeMutableRawPointer) throws {
        let bytes = UnsafeMutableRawBufferPointer(start: destination, count: slab.lengthBytes)
        let count = try file.read(into: bytes, at: slab.offset)
        guard count == slab.lengthBytes, crc32c(UnsafeRawBufferPointer(bytes)) == slab.checksum else {
            throw Manifest.damaged(file.path, "has a damaged slab", offset: slab.offset)
        }
    }
}

/// Writes one generation: the file is created with the first image, so a checkpoint without changes leaves none.
struct SlabFileWriter {
    /// Written in between syncs: keeps the last one short, and the disk's queue free for the log.
    private static let syncEveryBytes = 32 << 20

    let path: String
    private let generation: UInt64
    private let disk: Disk
    private let bytesPerSecond: Int?
    private let start = ContinuousClock.now
    private var file: File?
    private var offset = SlabFile.headerBytes
    private var unsyncedBytes = 0

    /// `bytesPerSecond` limits the average rate; nil does not.
    init(directory: String, generation: UInt64, bytesPerSecond: Int?, disk: Disk) {
        path = directory + "/" + SlabFile.name(generation)
        self.generation = generation
        self.bytesPerSecond = bytesPerSecond
        self.disk = disk
    }

    var isEmpty: Bool { file == nil }

    mutating func append(_ image: UnsafeRawBufferPointer) throws -> Manifest.Slab {
        let file = try opened()
        try file.write(image, at: offset)
        let slab = Manifest.Slab(generation: generation, offset: offset, lengthBytes: image.count, checksum: crc32c(image))
        offset += image.count
        unsyncedBytes += image.count
        if unsyncedBytes >= Self.syncEveryBytes { try sync() }
        throttle()
        return slab
    }

    mutating func sync() throws {
        try file?.sync()
        unsyncedBytes = 0
    }

    private mutating func opened() throws -> File {
        if let file { return file }
        let created = try disk.open(path, .createOrTruncate)
        file = created
        try created.write(SlabFile.header(generation), at: 0)
        return created
    }

    private func throttle() {
        guard let bytesPerSecond, bytesPerSecond > 0 else { return }
        let due = Duration.seconds(Double(offset) / Double(bytesPerSecond))
        let spent = start.duration(to: .now)
        if due > spent { DedicatedThread.sleep(due - spent) }
    }
}
