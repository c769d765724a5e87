public import NeedletailCore
internal import Synchronization

/// What of an index is not in its slot memories: kept in the checkpoint's manifest beside them.
public struct IndexState: Sendable, Equatable {
    /// `HNSWIndex.entry`.
    public var entry: UInt64
    public var upperCount: Int
    /// The power with which distances grow, so that a copy of the graph answers as the original does; 0 when it is not known.
    public var distanceGrowth: Double

    public init(entry: UInt64 = 0, upperCount: Int = 0, distanceGrowth: Double = 0) {
        self.entry = entry
        self.upperCount = upperCount
        self.distanceGrowth = distanceGrowth
    }
}

extension HNSWIndex {
    /// Taken while no insertion runs.
    public var state: IndexState {
        IndexState(
            entry: entry.load(ordering: .acquiring), upperCount: growth.withLock { $0.upperCount },
            distanceGrowth: Double(bitPattern: distanceGrowth.load(ordering: .relaxed)))
    }

    /// Memory that the lists of the upper levels take.
    public var upperBytes: Int { growth.withLock { $0.upperCount } * field.graph.m * 4 }

    /// Takes up a graph whose memories were loaded from a checkpoint.
    ///
    /// `isLive` says for each slot below `slots` whether its point is current; nodes that are not live stay retired.
    /// - Throws: `dataLoss` when the lists or the state name slots that do not exist.
    public func restore(
        _ state: IndexState, slots: Int, isLeaving: (Int) -> Bool = { _ in false }, isLive: (Int) -> Bool
    ) throws(NeedletailError) {
        guard slots > 0 else {
            // Nothing was ever stored, so the memories hold nothing and have no addresses yet.
            guard state.entry == 0 else { throw damaged(0) }
            return
        }
        growth.withLock { $0.upperCount = state.upperCount }
        try ensureCapacity(slots: slots)
        guard let pointers else { return }
        var used = Array(repeating: false, count: state.upperCount)
        for slot in 0..<slots {
            let level = pointers.level(UInt32(slot))
            guard level >= 0 else { continue }
            try checkNode(UInt32(slot), level: level, slots: slots, upperUsed: &used, pointers: pointers)
            if isLive(slot) {
                linkable.set(slot)
                live.set(slot)
            } else if isLeaving(slot) {
                linkable.set(slot)
            }
        }
        let top = Int(UInt32(truncatingIfNeeded: state.entry)) - 1
        guard state.entry == 0 || (top < slots && pointers.level(UInt32(top)) == Int(state.entry >> 32)) else { throw damaged(top) }
        reclaim(unused: used)
        entry.store(state.entry, ordering: .releasing)
        linkCount.store(slots, ordering: .relaxed)
        distanceGrowth.store(state.distanceGrowth.bitPattern, ordering: .relaxed)
        if state.distanceGrowth == 0 {
            // From before it was kept.
            var scratch = SearchScratch()
            measureGrowth(scratch: &scratch)
        }
    }

    private func checkNode(
        _ slot: UInt32, level: Int, slots: Int, upperUsed: inout [Bool], pointers: GraphPointers
    ) throws(NeedletailError) {
        let first = Int(pointers.firstUpper(slot)) - 1
        guard level <= Self.highestLevel, level == 0 || (first >= 0 && first + level <= upperUsed.count) else { throw damaged(Int(slot)) }
        for upper in 0..<level {
            guard !upperUsed[first + upper] else { throw damaged(Int(slot)) }
            upperUsed[first + upper] = true
        }
        for level in 0...level {
            let list = pointers.list(slot, level: level)
            for index in 0..<pointers.degree(level: level) {
                let link = Int(list[index].load(ordering: .relaxed))
                if link == 0 { break }
                // A list leads to nodes that reach up to its level: the walk relies on it on the upper levels.
                guard link <= slots, level == 0 || pointers.level(UInt32(link - 1)) >= level else { throw damaged(Int(slot)) }
            }
        }
    }

    /// Upper lists that no node owns are free again; runs are cut to single lists, the length most nodes ask for.
    private func reclaim(unused used: [Bool]) {
        for index in used.indices where !used[index] { freeUpper(UInt32(index), count: 1) }
    }

    private func damaged(_ slot: Int) -> NeedletailError {
        NeedletailError(
            .dataLoss, "the graph of field \"\(field.name)\" is damaged at slot \(slot); restore the replica from a snapshot")
    }
}
