import NeedletailCore

/// The checkpoints of one replica, in a directory: `MANIFEST` and the slab files it refers to.
///
/// A checkpoint writes only slabs that changed, into the file of a new generation; slabs that did not stay where they are. The
/// manifest is renamed into place last: until then, and after any failure or crash, the previous checkpoint is the one that counts.
/// A generation of which less than half is still used gives its remaining slabs to the new one and is deleted, so the files hold at
/// most about twice the bytes in use.
///
/// `@unchecked Sendable`: not synchronised; one thread at a time loads or writes.
public final class CheckpointStore: @unchecked Sendable {
    public let directory: String
    /// The checkpoint in place; nil before the first.
    public private(set) var manifest: Manifest?
    /// Limits a checkpoint's writing so that searches and the log keep their share of the disk; nil does not.
    public var bytesPerSecond: Int?
    let disk: Disk
    private var manifestPath: String { directory + "/MANIFEST" }

    private init(directory: String, manifest: Manifest?, disk: Disk) {
        self.directory = directory
        self.manifest = manifest
        self.disk = disk
    }

    /// Opens the directory, creating it when missing, and removes what a crash left behind.
    ///
    /// - Throws: `dataLoss` for a damaged manifest, `failedPrecondition` for one of a newer format version.
    public static func open(directory: String, disk: Disk = .real) throws -> CheckpointStore {
        try disk.createDirectory(directory)
        let path = directory + "/MANIFEST"
        let manifest = disk.exists(path) ? try Manifest(decoding: readWhole(path, disk), path: path) : nil
        let store = CheckpointStore(directory: directory, manifest: manifest, disk: disk)
        try store.removeUnreferenced()
        return store
    }

    private static func readWhole(_ path: String, _ disk: Disk) throws -> [UInt8] {
        let file = try disk.open(path, .read)
        var bytes = [UInt8](repeating: 0, count: try file.sizeBytes())
        let count = try bytes.withUnsafeMutableBytes { try file.read(into: $0, at: 0) }
        return count == bytes.count ? bytes : Array(bytes[..<count])
    }

    /// Bytes of all files of the store.
    public func sizeBytes() throws -> Int {
        try disk.list(directory).reduce(0) { try $0 + disk.sizeBytes(directory + "/" + $1) }
    }

    /// Saves the arrays as of their `beginCheckpoint`, which the caller has called on each; returns when the checkpoint is durable.
    ///
    /// `arrays` are all arrays of the replica; one that was saved before and is not given is dropped. `beforePublishing` runs when
    /// the slabs are durable and the manifest is not yet in place.
    ///
    /// - Throws: `resourceExhausted` for a full disk, what else the disk said, or what `beforePublishing` threw. The previous
    ///   checkpoint is then still in place and the slabs are dirty again: the next checkpoint saves them.
    public func write(
        sequence: UInt64, epoch: UInt64, metadata: [UInt8], arrays: [SlabArray], beforePublishing: () throws -> Void = {}
    ) throws {
        let generation = (manifest?.generation ?? 0) + 1
        var next = Manifest(sequence: sequence, epoch: epoch, generation: generation, metadata: metadata, arrays: [])
        var writer = SlabFileWriter(directory: directory, generation: generation, bytesPerSecond: bytesPerSecond, disk: disk)
        do {
            for array in arrays { next.arrays.append(try drain(array, &writer)) }
            try compact(&next, &writer)
            try writer.sync()
            if !writer.isEmpty { try disk.syncDirectory(directory) }
            try beforePublishing()
            try publish(next)
        } catch {
            for array in arrays { array.abandonCheckpoint() }
            // After a rename whose directory could not be synced the new manifest may be the one that survives: its files stay.
            if manifest?.generation != generation { try? disk.remove(writer.path) }
            throw error
        }
        for array in arrays { array.finishCheckpoint() }
        // The checkpoint counts already: files left behind are tried again next time.
        try? removeUnreferenced()
    }

    /// Writes the pending slabs of `array` and returns its description.
    private func drain(_ array: SlabArray, _ writer: inout SlabFileWriter) throws -> Manifest.SavedArray {
        let extent = array.checkpointExtent
        precondition(extent.isRunning, "beginCheckpoint comes before write")
        let slabCount = SlabArray.slabCount(slots: extent.slotCount, strideBytes: array.strideBytes)
        var slabs = [Manifest.Slab](repeating: .init(), count: slabCount)
        if let before = manifest?.array(named: array.name), before.strideBytes == array.strideBytes {
            slabs.replaceSubrange(0..<min(slabCount, before.slabs.count), with: before.slabs.prefix(slabCount))
        }
        var recycled: SlabImage?
        while let (slab, image) = array.nextPendingImage(recycling: recycled) {
            // The last slab ends with the last slot; what lies behind was never used.
            let length = min(SlabArray.slabBytes, extent.slotCount * array.strideBytes - slab * SlabArray.slabBytes)
            slabs[slab] = try writer.append(UnsafeRawBufferPointer(rebasing: image.bytes[..<length]))
            recycled = image
        }
        return Manifest.SavedArray(name: array.name, strideBytes: array.strideBytes, slotCount: extent.slotCount, slabs: slabs)
    }

    /// Copies the slabs that are still used out of generations that are mostly unused.
    private func compact(_ next: inout Manifest, _ writer: inout SlabFileWriter) throws {
        var sources: [UInt64: File] = [:]
        for (generation, live) in next.liveBytes() where generation != next.generation {
            let path = directory + "/" + SlabFile.name(generation)
            if live * 2 < (try disk.sizeBytes(path)) - SlabFile.headerBytes {
                sources[generation] = try SlabFile.open(path, generation: generation, disk: disk)
            }
        }
        if sources.isEmpty { return }
        let image = SlabImage()
        // Slab files never change, so this needs no lock; a damaged image is noticed here, not copied on.
        for array in next.arrays.indices {
            for slab in next.arrays[array].slabs.indices {
                let old = next.arrays[array].slabs[slab]
                guard let source = sources[old.generation], let start = image.bytes.baseAddress else { continue }
                try SlabFile.read(old, from: source, into: start)
                next.arrays[array].slabs[slab] = try writer.append(
                    UnsafeRawBufferPointer(rebasing: image.bytes[..<old.lengthBytes]))
            }
        }
    }

    private func publish(_ next: Manifest) throws {
        let temporary = manifestPath + ".tmp"
        let file = try disk.open(temporary, .createOrTruncate)
        try file.write(next.encoded(), at: 0)
        try file.sync()
        try disk.rename(temporary, to: manifestPath)
        manifest = next
        try disk.syncDirectory(directory)
    }

    /// Gives the checkpoint in place a second name for each of its files in `target`, an empty or missing directory on the same file
    /// system: a copy that costs no space and that later checkpoints leave alone. Its manifest comes last.
    ///
    /// - Throws: `failedPrecondition` when there is no checkpoint; what the disk said.
    public func link(to target: String) throws {
        guard let manifest else {
            throw NeedletailError(.failedPrecondition, "There is no checkpoint yet; write one first.", location: directory)
        }
        try disk.createDirectory(target)
        for generation in manifest.liveBytes().keys.sorted() {
            let name = SlabFile.name(generation)
            try disk.hardLink(directory + "/" + name, to: target + "/" + name)
        }
        try disk.hardLink(manifestPath, to: target + "/MANIFEST")
        try disk.syncDirectory(target)
    }

    /// Deletes slab files that the manifest does not refer to, and a manifest that was never finished.
    private func removeUnreferenced() throws {
        let live = manifest?.liveBytes() ?? [:]
        for name in try disk.list(directory) {
            let isStale = SlabFile.generation(name: name).map { live[$0] == nil } ?? (name == "MANIFEST.tmp")
            if isStale { try disk.remove(directory + "/" + name) }
        }
    }
}
