public import NeedletailCore
internal import NeedletailVectors
internal import Synchronization

extension HNSWIndex {
    /// The `limit` nearest published slots, by comparing with every one.
    ///
    /// `precedes` orders slots at equal distance (by point id, so that the answer does not depend on where points lie).
    /// - Throws: `invalidArgument` for a query that does not fit the field.
    public func exactSearch(
        _ vector: DenseVector, limit: Int, deadline: Deadline?, scratch: inout SearchScratch, precedes: (UInt32, UInt32) -> Bool
    ) throws(NeedletailError) -> WalkResult {
        let bound = slotBound.load(ordering: .acquiring)
        scratch.prepare(slots: 0, queryBytes: distance.scratchBytes)
        let query = try distance.prepare(vector, field: field.name, scratch: scratch.query.pointer)
        var result = WalkResult()
        guard let pointers, limit > 0 else { return result }
        var best = BestSlots(limit: limit)
        let block = 1024
        for (index, start) in stride(from: 0, to: bound, by: block).enumerated() {
            let count = min(block, bound - start)
            distance.distances(
                query, base: pointers.row(UInt32(start)), rows: nil, count: count, out: scratch.distances)
            for offset in 0..<count where scratch.distances[offset] <= best.threshold && live[start + offset] {
                best.insert(SlotDistance(slot: UInt32(start + offset), distance: scratch.distances[offset]), precedes: precedes)
            }
            result.work.distances += UInt64(count)
            if index & 7 == 7, let deadline, deadline.isPast {
                result.isTruncated = true
                break
            }
        }
        result.nearest = best.sorted(precedes: precedes)
        return result
    }
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
