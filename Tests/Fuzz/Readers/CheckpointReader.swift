import NeedletailStorage

/// A checkpoint's directory: the first byte holds flags, the next two the length of the manifest, the rest is the slab file.
///
/// Bit 0 asks for the manifest's checksum to be put right, bit 1 for the slab file's.
enum CheckpointReader {
    private static let folder = ScratchFolder("checkpoint")

    static func read(_ bytes: [UInt8]) {
        guard bytes.count >= 3 else { return }
        folder.empty()
        var manifest = Array(bytes.dropFirst(3).prefix(Int(bytes[1]) << 8 | Int(bytes[2])))
        var slabs = Array(bytes.dropFirst(3 + manifest.count))
        if bytes[0] & 1 != 0, manifest.count >= 4 { manifest.put(crc32c(manifest.dropLast(4)), at: manifest.count - 4) }
        if bytes[0] & 2 != 0, slabs.count >= 32 { slabs.put(crc32c(slabs[..<24]), at: 24) }
        folder.write(manifest, to: "MANIFEST")
        folder.write(slabs, to: "slabs-1.dat")
        guard let store = try? CheckpointStore.open(directory: folder.path) else { return }
        let arrays = arrays()
        guard (try? store.load(into: arrays)) != nil else { return }
        // What loads can be saved again.
        for array in arrays { array.beginCheckpoint() }
        guard (try? store.write(sequence: 9, epoch: 9, metadata: [], arrays: arrays)) != nil else { return }
        let again = Self.arrays()
        guard (try? CheckpointStore.open(directory: folder.path).load(into: again)) != nil else {
            preconditionFailure("a checkpoint that was just written does not load")
        }
        for (array, copy) in zip(arrays, again) { precondition(array.slotCount == copy.slotCount, "slots were lost") }
    }

    private static func arrays() -> [SlabArray] {
        [SlabArray(name: "a", strideBytes: 8, capacity: 1_000), SlabArray(name: "b", strideBytes: 90_000, capacity: 4)]
    }

    static func seeds() -> [[UInt8]] {
        var seeds: [[UInt8]] = []
        for slots in [0, 1, 20] {
            folder.empty()
            let arrays = arrays()
            do {
                if slots > 0 { try arrays[0].ensureCapacity(slots: slots) }
                if slots > 1 { try arrays[1].ensureCapacity(slots: 3) }
                for slot in 0..<slots {
                    arrays[0].willWrite(slot: slot)
                    (arrays[0].base + slot * 8).storeBytes(of: UInt64(slot), as: UInt64.self)
                }
                for array in arrays { array.beginCheckpoint() }
                try CheckpointStore.open(directory: folder.path).write(sequence: 3, epoch: 1, metadata: [1, 2], arrays: arrays)
            } catch {
                preconditionFailure("no seed: \(error)")
            }
            let files = folder.files()
            for flags in 0..<4 as Range<UInt8> {
                seeds.append([flags, UInt8(files[0].count >> 8), UInt8(files[0].count & 255)] + files.joined())
            }
        }
        return seeds
    }
}
