public import NeedletailCore
public import NeedletailVectors
internal import Synchronization

/// The slot memories of one graph and how a node's lists lie in them.
///
/// - `rows`: the vector of each slot (`VectorLayout`).
/// - `codes`: its compressed form, on which the graph walks when there is a codec.
/// - `links`: the base-level list of each slot, `2·m` entries. An entry is a slot number plus one; 0 ends the list, so that fresh
///   memory is an empty list.
/// - `nodes`: 8 bytes a slot: `UInt32` first upper list plus one (0: none), `UInt32` level plus one (0: the slot has no node here).
/// - `upper`: lists of `m` entries; a node of level L owns L consecutive ones.
public struct GraphMemory: Sendable {
    public let rows: any SlotMemory
    public let codes: (any SlotMemory)?
    public let links: any SlotMemory
    public let nodes: any SlotMemory
    public let upper: any SlotMemory

    public init(
        rows: any SlotMemory, codes: (any SlotMemory)? = nil, links: any SlotMemory, nodes: any SlotMemory, upper: any SlotMemory
    ) {
        self.rows = rows
        self.codes = codes
        self.links = links
        self.nodes = nodes
        self.upper = upper
    }

    /// Memory that nobody checkpoints, for `capacity` points; the vectors in another one if given.
    public static func plain(
        field: VectorField, codec: (any RowCodec)? = nil, capacity: Int, rows: (any SlotMemory)? = nil
    ) -> GraphMemory {
        let strides = strides(field: field)
        return GraphMemory(
            rows: rows ?? PlainSlotMemory(strideBytes: strides.rows, capacity: capacity),
            codes: codec.map { PlainSlotMemory(strideBytes: $0.strideBytes, capacity: capacity) },
            links: PlainSlotMemory(strideBytes: strides.links, capacity: capacity),
            nodes: PlainSlotMemory(strideBytes: strides.nodes, capacity: capacity),
            upper: PlainSlotMemory(strideBytes: strides.upper, capacity: upperCapacity(field: field, slots: capacity)))
    }

    public static func strides(field: VectorField) -> (rows: Int, links: Int, nodes: Int, upper: Int) {
        (VectorLayout(field: field).strideBytes, field.graph.m * 8, 8, field.graph.m * 4)
    }

    /// Upper lists for `slots` points: they number slots/(m−1) on average; four times that leaves room for chance.
    public static func upperCapacity(field: VectorField, slots: Int) -> Int { max(1024, 4 * slots / (field.graph.m - 1)) }
}

/// What an operation on a graph works with: the fixed addresses of its memories, and how near rows are to one another. Never changes;
/// when the graph takes to another codec it gets another one of these.
final class GraphPointers: @unchecked Sendable {
    // Sendable: constants; what the addresses lead to is guarded as `HNSWIndex` says.
    let rows: UnsafeMutableRawPointer
    /// What the graph walks on: the codes, or the rows when there are none.
    let walked: UnsafeMutableRawPointer
    let walkedStride: Int
    let links: UnsafeMutableRawPointer
    let nodes: UnsafeMutableRawPointer
    let upper: UnsafeMutableRawPointer
    let rowStride: Int
    let baseDegree: Int
    let upperDegree: Int
    /// The codec whose rows the graph walks on; nil when it walks on the vectors themselves.
    let codec: (any RowCodec)?
    /// Distances of what the graph walks on.
    let scorer: any RowScorer
    let gather: NeighbourGather
    /// Nodes a walk expands at a time. Measured: two take no more distances than one, and hide a fetch where rows are short; long rows
    /// keep the memory busy by themselves.
    let expansions: Int
    /// Scratch memory of a query.
    let queryBytes: Int

    init(memory: GraphMemory, m: Int, distance: RowDistance, codec: (any RowCodec)?, codes: (any SlotMemory)?) {
        rows = memory.rows.base
        rowStride = distance.strideBytes
        links = memory.links.base
        nodes = memory.nodes.base
        upper = memory.upper.base
        baseDegree = m * 2
        upperDegree = m
        self.codec = codec
        scorer = codec ?? distance
        walked = (codes ?? memory.rows).base
        walkedStride = scorer.strideBytes
        let walkedBytes = codec?.walkedBytes ?? distance.strideBytes
        gather = NeighbourGather(strideBytes: walkedStride, walkedBytes: walkedBytes)
        expansions = walkedBytes <= 512 ? 2 : 1
        queryBytes = max(distance.scratchBytes, codec?.scratchBytes ?? 0)
    }

    @inline(__always) func row(_ slot: UInt32) -> UnsafeRawPointer { UnsafeRawPointer(rows + (Int(slot) &* rowStride)) }

    @inline(__always) func walkedRow(_ slot: UInt32) -> UnsafeRawPointer { UnsafeRawPointer(walked + (Int(slot) &* walkedStride)) }

    /// The list of a node on a level. Requires level ≤ the node's level.
    @inline(__always) func list(_ slot: UInt32, level: Int) -> UnsafeMutablePointer<Atomic<UInt32>> {
        if level == 0 {
            return (links + (Int(slot) &* baseDegree &* 4)).assumingMemoryBound(to: Atomic<UInt32>.self)
        }
        let list = Int(firstUpper(slot)) &- 1 &+ level &- 1
        return (upper + (list &* upperDegree &* 4)).assumingMemoryBound(to: Atomic<UInt32>.self)
    }

    @inline(__always) func degree(level: Int) -> Int { level == 0 ? baseDegree : upperDegree }

    /// The level of the slot's node, or −1 when it has none.
    @inline(__always) func level(_ slot: UInt32) -> Int {
        Int((nodes + (Int(slot) &* 8 &+ 4)).assumingMemoryBound(to: Atomic<UInt32>.self).pointee.load(ordering: .acquiring)) - 1
    }

    /// First upper list plus one; 0 for a node of level 0.
    @inline(__always) func firstUpper(_ slot: UInt32) -> UInt32 {
        (nodes + (Int(slot) &* 8)).assumingMemoryBound(to: Atomic<UInt32>.self).pointee.load(ordering: .relaxed)
    }

    func setNode(_ slot: UInt32, level: Int, firstUpper: UInt32) {
        (nodes + Int(slot) * 8).assumingMemoryBound(to: Atomic<UInt32>.self).pointee.store(firstUpper, ordering: .relaxed)
        (nodes + Int(slot) * 8 + 4).assumingMemoryBound(to: Atomic<UInt32>.self).pointee
            .store(UInt32(level + 1), ordering: .releasing)
    }
}
