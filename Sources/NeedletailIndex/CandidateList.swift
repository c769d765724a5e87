/// The frontier of a graph walk: nodes sorted by distance, each with whether it was expanded and whether it may be answered.
///
/// One sorted array instead of two heaps: with the breadths used in practice (tens to a few hundred) an insertion moves a few cache
/// lines, and the next node to expand is found by moving a cursor. At most `breadth` answerable nodes are kept; nodes that only lead
/// on (deleted or refused ones) are kept beside them until they have been expanded.
struct CandidateList: ~Copyable {
    struct Entry {
        var distance: Float
        /// The slot, with the flags below in the two highest bits.
        var tagged: UInt32
        @inline(__always) var slot: UInt32 { tagged & CandidateList.slotMask }
        @inline(__always) var isExpanded: Bool { tagged & CandidateList.expanded != 0 }
        @inline(__always) var isAnswer: Bool { tagged & CandidateList.leadsOnly == 0 }
    }

    static let expanded: UInt32 = 1 << 31
    static let leadsOnly: UInt32 = 1 << 30
    static let slotMask: UInt32 = leadsOnly - 1

    /// Owned: `capacity` entries, of which the first `count` are initialised and sorted by distance.
    private(set) var entries: UnsafeMutablePointer<Entry>
    private var capacity: Int
    private(set) var count = 0
    private var answerCount = 0
    private var breadth = 0
    private var cursor = 0
    private var reach = WalkReach.unlimited

    init() {
        capacity = 512
        entries = .allocate(capacity: capacity)
    }

    deinit { entries.deallocate() }

    /// Empties the list for a walk of this breadth.
    mutating func reset(breadth: Int, reach: WalkReach = .unlimited) {
        // Room for the nodes that only lead on: when more are waiting, the farthest go.
        let needed = breadth * 2 + 64
        if needed > capacity {
            entries.deallocate()
            capacity = needed
            entries = .allocate(capacity: capacity)
        }
        (count, answerCount, cursor) = (0, 0, 0)
        self.breadth = breadth
        self.reach = reach
    }

    /// Nodes at this distance or beyond cannot improve the answer.
    @inline(__always) var threshold: Float {
        min(answerCount < breadth ? .infinity : entries[count &- 1].distance, distanceReached)
    }

    /// Nodes farther than this are out of reach: see `WalkReach`.
    @inline(__always) private var distanceReached: Float {
        if answerCount < reach.rank { return .infinity }
        // Estimates of small distances may fall below zero.
        let last = entries[reach.rank &- 1].distance
        return last > 0 ? last * reach.ratio : .infinity
    }

    /// Inserts a node that is nearer than `threshold`.
    @inline(__always) mutating func insert(slot: UInt32, distance: Float, isAnswer: Bool) {
        if count == capacity { dropLast() }
        var low = 0
        var high = count
        while low < high {
            let middle = (low &+ high) &>> 1
            if entries[middle].distance <= distance { low = middle &+ 1 } else { high = middle }
        }
        (entries + (low &+ 1)).update(from: entries + low, count: count &- low)
        entries[low] = Entry(distance: distance, tagged: isAnswer ? slot : slot | Self.leadsOnly)
        count &+= 1
        if low < cursor { cursor = low }
        if isAnswer {
            answerCount &+= 1
            while answerCount > breadth { dropLast() }
            // What lies behind the last answer of a full list can no longer matter.
            if answerCount == breadth { while !entries[count &- 1].isAnswer { count &-= 1 } }
        }
    }

    private mutating func dropLast() {
        count &-= 1
        if entries[count].isAnswer { answerCount &-= 1 }
    }

    /// The nearest node that was not expanded, marked as expanded now; nil when the walk is over.
    @inline(__always) mutating func nextToExpand() -> Entry? {
        while cursor < count {
            let entry = entries[cursor]
            if !entry.isExpanded {
                if entry.distance > distanceReached { return nil }
                if entry.isAnswer {
                    entries[cursor].tagged |= Self.expanded
                    cursor &+= 1
                } else {
                    // It has served its purpose; its room goes to others.
                    (entries + cursor).update(from: entries + (cursor &+ 1), count: count &- cursor &- 1)
                    count &-= 1
                }
                return entry
            }
            cursor &+= 1
        }
        return nil
    }

    /// The node that will probably be expanded next, for prefetching.
    @inline(__always) var likelyNext: UInt32? { cursor < count && !entries[cursor].isExpanded ? entries[cursor].slot : nil }
}
