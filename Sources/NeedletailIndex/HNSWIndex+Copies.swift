internal import NeedletailCore
internal import NeedletailVectors

// Equal vectors. Placeholders, empty documents and repeated texts give thousands of points one vector. They are all at one distance from
// everything, so the rule by which neighbours are chosen never tells one from another: without care they fill each other's lists, nothing
// else finds room, and whoever enters among them does not get out.
extension HNSWIndex {
    /// The candidates without surplus copies, still sorted by distance: of vectors equal to the node's own at most a quarter of `limit`,
    /// of any other vector one.
    ///
    /// Which ones stay is drawn anew each time, the newest always among them. So the copies of a vector form a random graph of some
    /// links each, in which every copy can be reached, and different nodes lead to different copies.
    func thinned(_ candidates: [SlotDistance], around node: UInt32, limit: Int, pointers: GraphPointers) -> [SlotDistance] {
        var result: [SlotDistance] = []
        result.reserveCapacity(candidates.count)
        var start = 0
        while start < candidates.count {
            var end = start + 1
            // Copies have exactly equal distances: only runs of those need a closer look.
            while end < candidates.count, candidates[end].distance == candidates[start].distance { end += 1 }
            if end - start == 1 {
                result.append(candidates[start])
            } else {
                result += withoutSurplus(candidates[start..<end], around: node, quota: max(2, limit / 4), pointers: pointers)
            }
            start = end
        }
        return result
    }

    private func withoutSurplus(
        _ run: ArraySlice<SlotDistance>, around node: UInt32, quota: Int, pointers: GraphPointers
    ) -> [SlotDistance] {
        let newest = run.max { $0.slot < $1.slot }?.slot ?? 0
        let drawn = run.sorted { left, right in
            (left.slot != newest ? 1 : 0, Self.draw(left.slot, node, newest)) < (right.slot != newest ? 1 : 0, Self.draw(right.slot, node, newest))
        }
        var own: [SlotDistance] = []
        var others: [SlotDistance] = []
        for candidate in drawn {
            if isCopy(candidate.slot, node, pointers) {
                if own.count < quota { own.append(candidate) }
            } else if !others.contains(where: { isCopy($0.slot, candidate.slot, pointers) }) {
                others.append(candidate)
            }
        }
        return own + others
    }

    private func isCopy(_ left: UInt32, _ right: UInt32, _ pointers: GraphPointers) -> Bool {
        pointers.scorer.isCopy(pointers.walkedRow(left), pointers.walkedRow(right))
    }

    /// A reproducible lot: depends on the candidate, the node, and what was newest when it was drawn.
    private static func draw(_ slot: UInt32, _ node: UInt32, _ newest: UInt32) -> UInt32 {
        var value = slot &* 0x9e37_79b1 ^ node &* 0x85eb_ca77 ^ newest &* 0xc2b2_ae3d
        value = (value ^ value >> 15) &* 0x2c1b_3c6d
        value = (value ^ value >> 12) &* 0x297a_2d39
        return value ^ value >> 15
    }
}
