/// Everything one thread needs to walk graphs: made once a thread, reused by every search and insertion, so that a walk allocates
/// nothing. Grows to the largest graph it has met.
public struct SearchScratch: ~Copyable {
    var candidates = CandidateList()
    var visited = VisitedSlots()
    /// The prepared query.
    private(set) var query = AlignedMemory(bytes: 0)
    /// A stored row that stands as a query beside it, or the query in full precision.
    private(set) var second = AlignedMemory(bytes: 0)
    /// Rows to be scored in one call and their distances; room for a list, its overflow, and what a repair adds.
    let rows: UnsafeMutablePointer<UInt32>
    let distances: UnsafeMutablePointer<Float>
    static let rowCapacity = 4096
    /// Whether whoever searches wants to know how long its parts took.
    public var isTimed = false

    public init() {
        rows = .allocate(capacity: Self.rowCapacity)
        distances = .allocate(capacity: Self.rowCapacity)
    }

    deinit {
        rows.deallocate()
        distances.deallocate()
    }

    mutating func prepare(slots: Int, queryBytes: Int) {
        visited.ensureCapacity(slots: slots)
        query.ensureCapacity(queryBytes)
        second.ensureCapacity(queryBytes)
    }
}

/// Memory on a cache-line boundary.
struct AlignedMemory: ~Copyable {
    /// Owned.
    private(set) var pointer: UnsafeMutableRawPointer
    private var capacity: Int

    init(bytes: Int) {
        capacity = bytes
        pointer = .allocate(byteCount: max(64, bytes), alignment: 64)
    }

    deinit { pointer.deallocate() }

    mutating func ensureCapacity(_ bytes: Int) {
        guard bytes > capacity else { return }
        pointer.deallocate()
        capacity = bytes
        pointer = .allocate(byteCount: bytes, alignment: 64)
    }
}
