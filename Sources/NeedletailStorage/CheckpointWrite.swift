import NeedletailCore

/// A checkpoint being written, slab by slab, so that one thread can leave off and another go on.
///
///     begin  →  advance until it says true  →  finish
///
/// `@unchecked Sendable`: used by one thread at a time; whoever hands it on does so through a queue.
public final class CheckpointWrite: @unchecked Sendable {
    private let store: CheckpointStore
    private let arrays: [SlabArray]
    private var next: Manifest
    private var writer: SlabFileWriter
    /// The manifest in place when this began: slabs that did not change stay where it says.
    private let before: Manifest?

    init(store: CheckpointStore, sequence: UInt64, epoch: UInt64, metadata: [UInt8], arrays: [SlabArray]) {
        self.store = store
        self.arrays = arrays
        before = store.manifest
        let generation = (before?.generation ?? 0) + 1
        next = Manifest(sequence: sequence, epoch: epoch, generation: generation, metadata: metadata, arrays: [])
        writer = SlabFileWriter(
            directory: store.directory, generation: generation, bytesPerSecond: store.bytesPerSecond, disk: store.disk)
        next.arrays = arrays.map(described)
    }

    /// Writes slabs until all are written (then true) or the time is over (then false).
    ///
    /// - Throws: `resourceExhausted` for a full disk, or what else the disk said. The write has then ended: the previous checkpoint is
    ///   still in place and the slabs are dirty again, so the next checkpoint saves them.
    public func advance(until end: ContinuousClock.Instant? = nil) throws -> Bool {
        try orAbandon {
            for index in arrays.indices {
                while let (slab, image) = arrays[index].nextPendingImage() {
                    defer { arrays[index].recycle(image) }
                    let length = next.arrays[index].lengthBytes(slab: slab)
                    next.arrays[index].slabs[slab] = try writer.append(UnsafeRawBufferPointer(rebasing: image.bytes[..<length]))
                    if let end, ContinuousClock.now >= end { return false }
                }
            }
            return true
        }
    }

    /// Makes the checkpoint the one that counts; returns when it is durable. `beforePublishing` runs when the slabs are durable and the
    /// manifest is not yet in place.
    ///
    /// - Throws: as `advance`, or what `beforePublishing` threw.
    public func finish(beforePublishing: () throws -> Void) throws {
        try orAbandon {
            try compact()
            try writer.sync()
            if !writer.isEmpty { try store.disk.syncDirectory(store.directory) }
            try beforePublishing()
            try store.publish(next)
        }
        for array in arrays { array.finishCheckpoint() }
        // The checkpoint counts already: files left behind are tried again next time.
        try? store.removeUnreferenced()
    }

    private func orAbandon<Result>(_ body: () throws -> Result) throws -> Result {
        do {
            return try body()
        } catch {
            for array in arrays { array.abandonCheckpoint() }
            // After a rename whose directory could not be synced the new manifest may be the one that survives: its files stay.
            if store.manifest?.generation != next.generation { try? store.disk.remove(writer.path) }
            throw error
        }
    }

    /// The array as it will be saved, with the slabs that did not change.
    private func described(_ array: SlabArray) -> Manifest.SavedArray {
        let extent = array.checkpointExtent
        precondition(extent.isRunning, "beginCheckpoint comes before write")
        let slabCount = SlabArray.slabCount(slots: extent.slotCount, strideBytes: array.strideBytes)
        var slabs = [Manifest.Slab](repeating: .init(), count: slabCount)
        if let before = before?.array(named: array.name), before.strideBytes == array.strideBytes {
            slabs.replaceSubrange(0..<min(slabCount, before.slabs.count), with: before.slabs.prefix(slabCount))
        }
        return Manifest.SavedArray(name: array.name, strideBytes: array.strideBytes, slotCount: extent.slotCount, slabs: slabs)
    }

    /// Copies the slabs that are still used out of generations that are mostly unused.
    private func compact() throws {
        var sources: [UInt64: File] = [:]
        for (generation, live) in next.liveBytes() where generation != next.generation {
            let path = store.directory + "/" + SlabFile.name(generation)
            if live * 2 < (try store.disk.sizeBytes(path)) - SlabFile.headerBytes {
                sources[generation] = try SlabFile.open(path, generation: generation, disk: store.disk)
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
}
