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
