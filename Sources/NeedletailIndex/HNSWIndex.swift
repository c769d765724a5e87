public import NeedletailCore
public import NeedletailVectors
internal import Synchronization
private import Glibc

/// A hierarchical navigable small-world graph over the vectors of one field (Malkov & Yashunin, "Efficient and robust approximate
/// nearest neighbor search using Hierarchical Navigable Small World graphs", 2018), searched and changed at the same time.
///
/// A slot goes through `store` (its vector is written once), `link` (it joins the graph), `publish` (searches may answer it),
/// `retire` (they may not any more; it still leads on), and after `repair` has cut the links to it and every search that might hold
/// it has ended, `release`. `store`, `link` and `search` run on any number of threads; `publish`, `retire`, `repair` and `release`
/// on one at a time. Lists change in place under a lock chosen by the node; readers take none, and see of a list either old or new
/// entries, all of which are nodes.
public final class HNSWIndex: @unchecked Sendable {
    // Sendable: `pointers` never change once made, and the first are there before the entry point is published; lists and nodes are atomics written under
    // `locks`; allocation state is under `growth`.
    public let field: VectorField
    /// Distances in full precision.
    public let distance: RowDistance
    let memory: GraphMemory
    let locks = StripedLocks()
    let growth = Mutex(Growth())
    /// The present one; none before the first slot.
    private let current = Atomic<Unmanaged<GraphPointers>?>(nil)
    /// Owns the present one, and those before it until nothing works with them.
    private let owned = Mutex<[GraphPointers]>([])
    let coding: Mutex<Coding>

    /// The entry point: slot plus one in the low half, its level in the high half; 0 while the graph is empty.
    let entry = Atomic<UInt64>(0)
    /// Slots that searches may answer.
    public let live: SlotBits
    /// Slots that may become neighbours: linked and not retired.
    let linkable: SlotBits
    /// Every slot ever used lies below this.
    let slotBound = Atomic<Int>(0)

    /// The power with which distances grow, as the bits of a Double; 0 while it is not known. See `reach`.
    let distanceGrowth = Atomic<UInt64>(0)
    /// Nodes linked since the index was made or restored.
    let linkCount = Atomic<Int>(0)

    private let levelFactor: Double

    struct Growth {
        var upperCount = 0
        /// Runs of upper lists that were given back, by length.
        var freeUpper: [Int: [UInt32]] = [:]
    }

    /// Levels beyond this do not occur in practice and would only cost memory.
    static let highestLevel = 15

    public init(
        field: VectorField, codec: (any RowCodec)? = nil, memory: GraphMemory, capacity: Int, level: KernelLevel = .best
    ) {
        precondition((codec == nil) == (memory.codes == nil), "a codec needs memory for its rows, and nothing else does")
        var walked: Codes?
        if let codec, let codes = memory.codes { walked = Codes(codec: codec, memory: codes) }
        coding = Mutex(Coding(walked: walked))
        precondition(capacity < Int(CandidateList.slotMask), "a partition numbers its slots in 30 bits")
        self.field = field
        self.memory = memory
        distance = RowDistance(layout: VectorLayout(field: field), level: level)
        live = SlotBits(capacity: capacity)
        linkable = SlotBits(capacity: capacity)
        levelFactor = 1 / log(Double(field.graph.m))
    }

    public var isEmpty: Bool { entry.load(ordering: .acquiring) == 0 }

    /// Makes slots below `slots` usable. Called by one thread at a time, before `store` of any of them.
    public func ensureCapacity(slots: Int) throws(NeedletailError) {
        guard slots <= live.capacity else {
            throw NeedletailError(.resourceExhausted, "the partition is full at \(live.capacity) points; use more shards")
        }
        try memory.rows.ensureCapacity(slots: slots)
        for codes in coding.withLock({ $0.written }) { try codes.memory.ensureCapacity(slots: slots) }
        try memory.links.ensureCapacity(slots: slots)
        try memory.nodes.ensureCapacity(slots: slots)
        try growth.withLock { growth throws(NeedletailError) in try memory.upper.ensureCapacity(slots: growth.upperCount + 1) }
        if slots > slotBound.load(ordering: .relaxed) { slotBound.store(slots, ordering: .releasing) }
        if pointers == nil { coding.withLock { usePointers($0.walked) } }
    }

    var pointers: GraphPointers? {
        // Owned until every operation that may have read it has ended.
        current.load(ordering: .acquiring)?.takeUnretainedValue()
    }

    /// Makes later operations work with these codes. Their memory has addresses: capacity was ensured before.
    func usePointers(_ codes: Codes?) {
        let made = GraphPointers(memory: memory, m: field.graph.m, distance: distance, codec: codes?.codec, codes: codes?.memory)
        owned.withLock { $0.append(made) }
        current.store(Unmanaged.passUnretained(made), ordering: .releasing)
    }

    /// No operation works with any but the present ones.
    func releaseFormerPointers() { owned.withLock { $0 = Array($0.suffix(1)) } }

    /// Writes the slot's vector, converted by `VectorLayout.convert`. The slot must be unused: nobody reads it yet.
    public func store(_ vector: [UInt8], slot: UInt32, scratch: inout SearchScratch) {
        memory.rows.willWrite(slot: Int(slot))
        distance.store(vector, at: memory.rows.base + Int(slot) * distance.layout.strideBytes)
        let written = coding.withLock { $0.written }
        if written.isEmpty { return }
        let values = distance.floats(vector)
        for codes in written { encode(values, slot: slot, codes, scratch: &scratch) }
    }

    /// The vector of a slot as it was given; nil when the point has none in this field.
    public func vector(slot: UInt32) -> DenseVector? {
        guard let pointers, Int(slot) < slotBound.load(ordering: .acquiring), pointers.level(slot) >= 0 else { return nil }
        return distance.load(pointers.row(slot))
    }

    /// Lets searches answer the slot, which has been linked.
    public func publish(slot: UInt32) { live.set(Int(slot)) }

    /// Stops searches from answering the slot and insertions from linking to it.
    public func retire(slot: UInt32) {
        live.clear(Int(slot))
        linkable.clear(Int(slot))
    }

    /// Levels are geometric with factor 1/ln m, drawn from the seed and the point's id, so that they do not depend on the order or
    /// batching of writes.
    func drawLevel(id: PointID) -> Int {
        var state = id.placementHash ^ (field.graph.seed &* 0x9e37_79b9_7f4a_7c15)
        state = (state ^ (state >> 33)) &* 0xff51_afd7_ed55_8ccd
        state = (state ^ (state >> 33)) &* 0xc4ce_b9fe_1a85_ec53
        state ^= state >> 33
        let uniform = (Double(state >> 11) + 0.5) / Double(1 << 53)
        return min(Self.highestLevel, Int(-log(uniform) * levelFactor))
    }

    /// A run of `count` upper lists.
    func allocateUpper(_ count: Int) throws(NeedletailError) -> UInt32 {
        try growth.withLock { growth throws(NeedletailError) in
            if let run = growth.freeUpper[count]?.popLast() { return run }
            try memory.upper.ensureCapacity(slots: growth.upperCount + count)
            defer { growth.upperCount += count }
            return UInt32(growth.upperCount)
        }
    }

    func freeUpper(_ first: UInt32, count: Int) { growth.withLock { $0.freeUpper[count, default: []].append(first) } }
}

/// Spin locks shared by the nodes whose numbers agree modulo their count. A thread holds at most one at a time.
final class StripedLocks: @unchecked Sendable {
    // Sendable: atomics behind a pointer that never changes.
    private let words: UnsafeMutablePointer<Atomic<UInt32>>
    private static let count = 1024

    init() {
        words = ZeroedMemory.allocate(Self.count * 4).bindMemory(to: Atomic<UInt32>.self, capacity: Self.count)
    }

    deinit { ZeroedMemory.free(words) }

    @inline(__always) func withLock<Result, Failure: Error>(_ slot: UInt32, _ body: () throws(Failure) -> Result) throws(Failure) -> Result {
        let word = words + (Int(slot) & (Self.count - 1))
        var attempts = 0
        while word.pointee.exchange(1, ordering: .acquiring) != 0 {
            attempts += 1
            // The holder prunes one list (microseconds); if it lost its core meanwhile, give it ours.
            if attempts & 63 == 0 { sched_yield() }
        }
        defer { word.pointee.store(0, ordering: .releasing) }
        return try body()
    }
}
