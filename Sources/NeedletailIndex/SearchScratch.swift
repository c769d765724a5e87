/// Everything one thread needs to walk graphs: made once a thread, reused by every search and insertion, so that a walk allocates
/// nothing. Grows to the largest graph it has met.
public struct SearchScratch: ~Copyable {
    var candidates = CandidateList()
    var visited = VisitedSlots()
    /// The prepared query.
    private(set) var query = AlignedFloats(capacity: 0)
    /// A stored row widened to float32, when it stands as a query.
    private(set) var widened = AlignedFloats(capacity: 0)
    /// Rows to be scored in one call and their distances; room for a list, its overflow, and what a repair adds.
    let rows: UnsafeMutablePointer<UInt32>
    let distances: UnsafeMutablePointer<Float>
    static let rowCapacity = 4096

    public init() {
        rows = .allocate(capacity: Self.rowCapacity)
        distances = .allocate(capacity: Self.rowCapacity)
    }

    deinit {
        rows.deallocate()
        distances.deallocate()
    }

    mutating func prepare(slots: Int, queryFloats: Int) {
        visited.ensureCapacity(slots: slots)
        query.ensureCapacity(queryFloats)
        widened.ensureCapacity(queryFloats)
    }
}

/// Floats on a cache-line boundary.
struct AlignedFloats: ~Copyable {
    /// Owned; null only in spirit when the capacity is 0.
    private(set) var pointer: UnsafeMutablePointer<Float>
    private var capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
        pointer = Self.allocate(capacity)
    }

    deinit { UnsafeMutableRawPointer(pointer).deallocate() }

    mutating func ensureCapacity(_ needed: Int) {
        guard needed > capacity else { return }
        UnsafeMutableRawPointer(pointer).deallocate()
        capacity = needed
        pointer = Self.allocate(needed)
    }

    private static func allocate(_ capacity: Int) -> UnsafeMutablePointer<Float> {
        UnsafeMutableRawPointer.allocate(byteCount: max(64, capacity * 4), alignment: 64).bindMemory(to: Float.self, capacity: capacity)
    }
}
