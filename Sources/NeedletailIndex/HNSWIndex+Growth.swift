internal import NeedletailCore
internal import NeedletailVectors
internal import Synchronization
private import Glibc

/// When a walk may end before its breadth is filled: once the nearest node that is left lies so much farther than the last of the nearest
/// `rank` that what is behind it will hardly be among them.
///
/// A breadth alone gives every query the same effort, which is too much where few lie near and too little where many do; a factor on the
/// distance (Al-Jazzazi et al., "Distance adaptive beam search for provably accurate graph-based nearest neighbor search", 2025) finds
/// the same with a tenth to a third fewer distances.
struct WalkReach {
    var rank: Int
    /// Of distances as the kernels give them; at least 1.
    var ratio: Float

    /// A walk that ends by its breadth alone.
    static let unlimited = WalkReach(rank: .max, ratio: .infinity)
    /// How many times the breadth a query may fill when many lie near.
    static let room = 3
}

// Near a point the distance of the r-th nearest grows as a power of r, the inverse of the local intrinsic dimension (Levina & Bickel,
// "Maximum likelihood estimation of intrinsic dimension", 2004). With the power that is usual in a graph, a breadth becomes the factor that
// makes the usual walk as wide as that.
extension HNSWIndex {
    private static let sampleCount = 128
    private static let sampleBreadth = 64
    private static let sampleRank = 10
    /// Links after which it is measured first; then whenever they have doubled.
    private static let leastLinks = 1_024

    /// How far a walk for `limit` answers with breadth `ef` goes.
    func reach(limit: Int, ef: Int) -> WalkReach {
        // Inner products have no zero to measure from.
        guard field.metric != .dot, limit > 0, ef > limit else { return .unlimited }
        let power = Double(bitPattern: distanceGrowth.load(ordering: .relaxed))
        guard power > 0 else { return .unlimited }
        return WalkReach(rank: limit, ratio: Float(pow(Double(ef) / Double(limit), power)))
    }

    /// Notes that a node was linked, and measures again when there are twice as many as the last time.
    func noteLink(scratch: inout SearchScratch) {
        let count = linkCount.wrappingAdd(1, ordering: .relaxed).newValue
        if count >= Self.leastLinks, count & (count - 1) == 0 { measureGrowth(scratch: &scratch) }
    }

    /// Measures how distances grow around an even sample of the nodes.
    func measureGrowth(scratch: inout SearchScratch) {
        let top = entry.load(ordering: .acquiring)
        guard field.metric != .dot, top != 0, let pointers else { return }
        let bound = slotBound.load(ordering: .acquiring)
        scratch.prepare(slots: bound, queryBytes: pointers.queryBytes)
        var powers: [Double] = []
        for index in 0..<Self.sampleCount {
            let slot = bound / Self.sampleCount * index
            guard linkable[slot], let power = growth(around: UInt32(slot), top: top, pointers: pointers, scratch: &scratch) else { continue }
            powers.append(power)
        }
        guard powers.count >= Self.sampleCount / 4 else { return }
        powers.sort()
        distanceGrowth.store(powers[powers.count / 2].bitPattern, ordering: .relaxed)
    }

    private func growth(around slot: UInt32, top: UInt64, pointers: GraphPointers, scratch: inout SearchScratch) -> Double? {
        var work = SearchWork()
        let query = pointers.scorer.asQuery(pointers.walkedRow(slot), scratch: scratch.query.pointer)
        var position = nearest(to: query, entry: top, pointers: pointers, scratch: &scratch, work: &work)
        position = descend(
            query, from: position, levels: stride(from: Int(top >> 32), to: 0, by: -1), pointers: pointers, scratch: &scratch, work: &work)
        _ = walk(
            query, from: position, level: 0, breadth: Self.sampleBreadth, admitted: linkable, deadline: nil, pointers: pointers,
            scratch: &scratch, work: &work)
        let found = scratch.candidates.answers().filter { $0.slot != slot }
        guard found.count > Self.sampleRank, let last = found.last?.distance else { return nil }
        let near = found[Self.sampleRank - 1].distance
        guard near > 0, last > near else { return nil }
        return log(Double(last) / Double(near)) / log(Double(found.count) / Double(Self.sampleRank))
    }
}
