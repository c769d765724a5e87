internal import NeedletailCore

/// Which slot a point's current version lies in: open addressing over slot numbers alone, 4 bytes an entry at a load of at most 7/8.
/// Keys are read from the point table, so that they are stored once.
struct SlotMap {
    /// Slot plus one; 0 is empty. A power of two long.
    private var buckets: [UInt32] = []
    private(set) var count = 0

    /// The slot of `id`, as judged by `idAt`, which gives the id in a slot.
    func slot(of id: PointID, idAt: (UInt32) -> PointID) -> UInt32? {
        guard !buckets.isEmpty else { return nil }
        let mask = buckets.count - 1
        var bucket = Self.start(id, mask)
        while buckets[bucket] != 0 {
            if idAt(buckets[bucket] - 1) == id { return buckets[bucket] - 1 }
            bucket = (bucket + 1) & mask
        }
        return nil
    }

    /// Points `id` at `slot`, whose id is already in the table; returns the slot it pointed at before.
    mutating func set(_ id: PointID, to slot: UInt32, idAt: (UInt32) -> PointID) -> UInt32? {
        if (count + 1) * 8 > buckets.count * 7 { grow(idAt: idAt) }
        let mask = buckets.count - 1
        var bucket = Self.start(id, mask)
        while buckets[bucket] != 0 {
            let old = buckets[bucket] - 1
            if idAt(old) == id {
                buckets[bucket] = slot + 1
                return old
            }
            bucket = (bucket + 1) & mask
        }
        buckets[bucket] = slot + 1
        count += 1
        return nil
    }

    /// Removes `id` and returns its slot. Later entries of the run move up, so that no markers are left behind (Knuth, 6.4 R).
    mutating func remove(_ id: PointID, idAt: (UInt32) -> PointID) -> UInt32? {
        guard !buckets.isEmpty else { return nil }
        let mask = buckets.count - 1
        var hole = Self.start(id, mask)
        while buckets[hole] != 0, idAt(buckets[hole] - 1) != id { hole = (hole + 1) & mask }
        guard buckets[hole] != 0 else { return nil }
        let removed = buckets[hole] - 1
        var bucket = (hole + 1) & mask
        while buckets[bucket] != 0 {
            let home = Self.start(idAt(buckets[bucket] - 1), mask)
            // The entry may fill the hole unless its home lies cyclically after the hole.
            if (bucket &- home) & mask >= (bucket &- hole) & mask {
                buckets[hole] = buckets[bucket]
                hole = bucket
            }
            bucket = (bucket + 1) & mask
        }
        buckets[hole] = 0
        count -= 1
        return removed
    }

    private mutating func grow(idAt: (UInt32) -> PointID) {
        let old = buckets
        buckets = [UInt32](repeating: 0, count: max(16, old.count * 2))
        let mask = buckets.count - 1
        for entry in old where entry != 0 {
            var bucket = Self.start(idAt(entry - 1), mask)
            while buckets[bucket] != 0 { bucket = (bucket + 1) & mask }
            buckets[bucket] = entry
        }
    }

    /// Shards are ranges of the hash's high bits: within one only the low bits vary.
    private static func start(_ id: PointID, _ mask: Int) -> Int { Int(truncatingIfNeeded: id.placementHash) & mask }

    var sizeBytes: Int { buckets.count * 4 }
}
