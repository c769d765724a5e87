public import NeedletailCore
internal import NeedletailVectors
internal import Synchronization

extension HNSWIndex {
    /// The `limit` nearest published slots, by comparing with every one.
    ///
    /// `precedes` orders slots at equal distance (by point id, so that the answer does not depend on where points lie).
    /// - Throws: `invalidArgument` for a query that does not fit the field.
    public func exactSearch(
        _ vector: DenseVector, limit: Int, filter: SlotFilter? = nil, deadline: Deadline?, scratch: inout SearchScratch, precedes: (UInt32, UInt32) -> Bool
    ) throws(NeedletailError) -> WalkResult {
        try exactSearch(batch: [vector], limit: limit, filter: filter, deadline: deadline, scratch: &scratch, precedes: precedes)[0]
    }

    /// As one query after the other, but rows come from memory once for all of them, which is what the time goes into.
    /// - Returns: a result for each query.
    public func exactSearch(
        batch: [DenseVector], limit: Int, filter: SlotFilter? = nil, deadline: Deadline?, scratch: inout SearchScratch, precedes: (UInt32, UInt32) -> Bool
    ) throws(NeedletailError) -> [WalkResult] {
        let bound = slotBound.load(ordering: .acquiring)
        let room = (distance.scratchBytes + 63) & ~63
        scratch.prepare(slots: 0, queryBytes: batch.count * room)
        var queries: [PreparedQuery] = []
        for (number, vector) in batch.enumerated() {
            queries.append(try distance.prepare(vector, field: field.name, scratch: scratch.query.pointer + number * room))
        }
        var results = Array(repeating: WalkResult(), count: batch.count)
        guard let pointers, limit > 0 else { return results }
        var best = Array(repeating: BestSlots(limit: limit), count: batch.count)
        // A block stays in the cache from one query to the next.
        let block = batch.count == 1 ? 1024 : min(1024, max(16, Self.blockBytes / distance.strideBytes))
        var distances: UInt64 = 0
        for start in stride(from: 0, to: bound, by: block) {
            let count = min(block, bound - start)
            for number in queries.indices {
                distance.distances(
                    queries[number], base: pointers.row(UInt32(start)), rows: nil, count: count, out: scratch.distances)
                for offset in 0..<count where scratch.distances[offset] <= best[number].threshold && live[start + offset] {
                    if let filter, !filter.bits[start + offset] { continue }
                    best[number].insert(SlotDistance(slot: UInt32(start + offset), distance: scratch.distances[offset]), precedes: precedes)
                }
            }
            let before = distances
            distances += UInt64(count)
            if before >> 13 != distances >> 13, let deadline, deadline.isPast {
                for number in results.indices { results[number].isTruncated = true }
                break
            }
        }
        for number in results.indices {
            results[number].work.distances = distances
            results[number].nearest = best[number].sorted(precedes: precedes)
        }
        return results
    }

    /// The distances of slots that have been published, in full precision and in their order.
    /// - Throws: `invalidArgument` for a query that does not fit the field.
    public func distances(_ vector: DenseVector, to slots: [UInt32], scratch: inout SearchScratch) throws(NeedletailError) -> [Float] {
        scratch.prepare(slots: 0, queryBytes: distance.scratchBytes)
        let query = try distance.prepare(vector, field: field.name, scratch: scratch.query.pointer)
        guard let pointers else { return [] }
        var result: [Float] = []
        result.reserveCapacity(slots.count)
        for start in stride(from: 0, to: slots.count, by: SearchScratch.rowCapacity) {
            let count = min(SearchScratch.rowCapacity, slots.count - start)
            for offset in 0..<count { scratch.rows[offset] = slots[start + offset] }
            distance.distances(query, base: pointers.rows, rows: scratch.rows, count: count, out: scratch.distances)
            for offset in 0..<count { result.append(scratch.distances[offset]) }
        }
        return result
    }

    /// Half of a second-level cache, as small ones are.
    private static let blockBytes = 128 << 10
}

/// The nearest slots seen so far: a heap with the worst on top.
struct BestSlots {
    private let limit: Int
    private var heap: [SlotDistance] = []

    init(limit: Int) {
        self.limit = limit
        heap.reserveCapacity(min(limit, 1024))
    }

    /// Slots farther than this are not wanted; at exactly this distance the order of ids decides.
    var threshold: Float { heap.count < limit ? .infinity : heap[0].distance }

    mutating func insert(_ entry: SlotDistance, precedes: (UInt32, UInt32) -> Bool) {
        if heap.count < limit {
            heap.append(entry)
            siftUp(precedes)
        } else if Self.isBetter(entry, heap[0], precedes) {
            heap[0] = entry
            siftDown(precedes)
        }
    }

    func sorted(precedes: (UInt32, UInt32) -> Bool) -> [SlotDistance] { heap.sorted { Self.isBetter($0, $1, precedes) } }

    private static func isBetter(_ left: SlotDistance, _ right: SlotDistance, _ precedes: (UInt32, UInt32) -> Bool) -> Bool {
        left.distance != right.distance ? left.distance < right.distance : precedes(left.slot, right.slot)
    }

    private mutating func siftUp(_ precedes: (UInt32, UInt32) -> Bool) {
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.isBetter(heap[parent], heap[child], precedes) else { return }
            heap.swapAt(parent, child)
            child = parent
        }
    }

    private mutating func siftDown(_ precedes: (UInt32, UInt32) -> Bool) {
        var parent = 0
        while true {
            var worst = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count {
                if Self.isBetter(heap[worst], heap[child], precedes) { worst = child }
            }
            if worst == parent { return }
            heap.swapAt(parent, worst)
            parent = worst
        }
    }
}
