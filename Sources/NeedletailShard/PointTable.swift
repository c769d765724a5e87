internal import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

/// What is known of each slot beside its vectors: whose it is, since which write, and whether it is current. 32 bytes a slot in a
/// slab array: u8 state, u8 kind of id, u16 checksum of the payload, u32 checksum of the vectors, two words of id, sequence.
///
/// Only the replica's applier changes it. Others read a slot's record after they saw it published, and the map under its lock.
final class PointTable: @unchecked Sendable {
    // Sendable: records are written by one thread before they are published; the map has a mutex; the rest is the applier's.
    enum State: UInt8 {
        case free = 0
        case current = 1
        /// Replaced or deleted; still in the graph until a repair has cut it out.
        case retired = 2
    }

    static let strideBytes = 32
    let slab: SlabArray
    private let map = Mutex(SlotMap())
    /// Slots that may be stored again.
    private var freeSlots: [UInt32] = []
    /// Slots below this have been used.
    private(set) var slotBound = 0
    /// Kept in step with the current points.
    private let contents: ContentHash

    init(capacity: Int, contents: ContentHash) {
        self.contents = contents
        slab = SlabArray(name: "points", strideBytes: Self.strideBytes, capacity: capacity, usesHugePages: false)
    }

    var count: Int { map.withLock { $0.count } }
    var mapBytes: Int { map.withLock { $0.sizeBytes } }

    private func record(_ slot: UInt32) -> UnsafeMutableRawPointer { slab.base + Int(slot) * Self.strideBytes }

    func id(_ slot: UInt32) -> PointID {
        let record = record(slot)
        let low = record.load(fromByteOffset: 16, as: UInt64.self)
        return record.load(fromByteOffset: 1, as: UInt8.self) == 0
            ? .number(low) : .uuid(high: record.load(fromByteOffset: 8, as: UInt64.self), low: low)
    }

    func sequence(_ slot: UInt32) -> UInt64 { record(slot).load(fromByteOffset: 24, as: UInt64.self) }

    func vectorsChecksum(_ slot: UInt32) -> UInt32 { record(slot).load(fromByteOffset: 4, as: UInt32.self) }

    func state(_ slot: UInt32) -> State { State(rawValue: record(slot).load(as: UInt8.self)) ?? .free }

    private func contentValue(_ slot: UInt32) -> UInt64 {
        let record = record(slot)
        return ContentHash.value(
            id(slot), sequence: sequence(slot), vectors: record.load(fromByteOffset: 4, as: UInt32.self),
            payload: record.load(fromByteOffset: 2, as: UInt16.self))
    }

    /// The payload of a current point is another one.
    func setPayloadChecksum(_ checksum: UInt16, slot: UInt32) {
        contents.remove(id(slot), contentValue(slot))
        slab.willWrite(slot: Int(slot))
        record(slot).storeBytes(of: checksum, toByteOffset: 2, as: UInt16.self)
        contents.add(id(slot), contentValue(slot))
    }

    func setState(_ state: State, slot: UInt32) {
        if self.state(slot) == .current, state != .current { contents.remove(id(slot), contentValue(slot)) }
        slab.willWrite(slot: Int(slot))
        record(slot).storeBytes(of: state.rawValue, as: UInt8.self)
    }

    /// A slot to store in: a freed one if there is one. The caller makes room in all its arrays below `slotBound`.
    func takeSlot() throws -> UInt32 {
        if let slot = freeSlots.popLast() { return slot }
        try slab.ensureCapacity(slots: slotBound + 1)
        slotBound += 1
        return UInt32(slotBound - 1)
    }

    func giveBack(_ slot: UInt32) {
        setState(.free, slot: slot)
        freeSlots.append(slot)
    }

    /// Writes the record of a slot as current and makes it the one its id means; returns the slot that was until now.
    func assign(_ slot: UInt32, id: PointID, sequence: UInt64, vectors: UInt32, payload: UInt16) -> UInt32? {
        slab.willWrite(slot: Int(slot))
        let record = record(slot)
        let (kind, high, low): (UInt8, UInt64, UInt64) =
            switch id {
            case .number(let value): (0, 0, value)
            case .uuid(let high, let low): (1, high, low)
            }
        record.storeBytes(of: State.current.rawValue, as: UInt8.self)
        record.storeBytes(of: kind, toByteOffset: 1, as: UInt8.self)
        record.storeBytes(of: payload, toByteOffset: 2, as: UInt16.self)
        record.storeBytes(of: vectors, toByteOffset: 4, as: UInt32.self)
        record.storeBytes(of: high, toByteOffset: 8, as: UInt64.self)
        record.storeBytes(of: low, toByteOffset: 16, as: UInt64.self)
        record.storeBytes(of: sequence, toByteOffset: 24, as: UInt64.self)
        contents.add(id, contentValue(slot))
        return map.withLock { $0.set(id, to: slot, idAt: self.id) }
    }

    func slot(of id: PointID) -> UInt32? { map.withLock { $0.slot(of: id, idAt: self.id) } }

    func remove(_ id: PointID) -> UInt32? { map.withLock { $0.remove(id, idAt: self.id) } }

    /// Takes up a table loaded from a checkpoint; returns the retired slots, and those of points outside the range, which belong to other
    /// parts of a shard that was split, and count as retired from now on.
    /// - Throws: `dataLoss` when two slots claim the same point.
    func restore(keeping range: HashRange) throws -> (retired: [UInt32], foreign: [UInt32]) {
        slotBound = slab.slotCount
        var retired: [UInt32] = []
        var foreign: [UInt32] = []
        for slot in 0..<UInt32(slotBound) {
            switch state(slot) {
            case .free: freeSlots.append(slot)
            case .retired: retired.append(slot)
            case .current:
                let id = id(slot)
                guard range.contains(id.placementHash) else {
                    slab.willWrite(slot: Int(slot))
                    record(slot).storeBytes(of: State.retired.rawValue, as: UInt8.self)
                    foreign.append(slot)
                    continue
                }
                contents.add(id, contentValue(slot))
                guard map.withLock({ $0.set(id, to: slot, idAt: self.id) }) == nil else {
                    throw NeedletailError(.dataLoss, "the point table is damaged: point \(id) stands twice; \(NeedletailError.damagedReplicaAdvice)")
                }
            }
        }
        freeSlots.reverse()
        return (retired, foreign)
    }
}
