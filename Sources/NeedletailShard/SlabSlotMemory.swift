internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage

/// Lets an index live in slab arrays, which checkpoints save while it changes.
final class SlabSlotMemory: SlotMemory {
    let slab: SlabArray

    init(_ slab: SlabArray) { self.slab = slab }

    var strideBytes: Int { slab.strideBytes }
    var base: UnsafeMutableRawPointer { slab.base }

    func ensureCapacity(slots: Int) throws(NeedletailError) {
        do { try slab.ensureCapacity(slots: slots) } catch {
            throw error as? NeedletailError ?? NeedletailError(.internal, "memory cannot be had", cause: error)
        }
    }

    func willWrite(slot: Int) { slab.willWrite(slot: slot) }
}

/// One vector field of a replica: its graph and the slab arrays that the graph lives in.
final class FieldIndex: Sendable {
    let graph: HNSWIndex
    let slabs: [SlabArray]

    init(field: VectorField, number: Int, capacity: Int) {
        let strides = GraphMemory.strides(field: field)
        let rows = SlabArray(name: "field-\(number)-rows", strideBytes: strides.rows, capacity: capacity, usesHugePages: true)
        let links = SlabArray(name: "field-\(number)-links", strideBytes: strides.links, capacity: capacity, usesHugePages: true)
        let nodes = SlabArray(name: "field-\(number)-nodes", strideBytes: strides.nodes, capacity: capacity)
        let upper = SlabArray(
            name: "field-\(number)-upper", strideBytes: strides.upper, capacity: GraphMemory.upperCapacity(field: field, slots: capacity))
        slabs = [rows, links, nodes, upper]
        let memory = GraphMemory(
            rows: SlabSlotMemory(rows), links: SlabSlotMemory(links), nodes: SlabSlotMemory(nodes), upper: SlabSlotMemory(upper))
        graph = HNSWIndex(field: field, memory: memory, capacity: capacity)
    }
}
