public import NeedletailCore
internal import NeedletailVectors
internal import Synchronization

/// A slot and its distance from the query.
public struct SlotDistance: Sendable, Equatable {
    public var slot: UInt32
    public var distance: Float

    public init(slot: UInt32, distance: Float) {
        self.slot = slot
        self.distance = distance
    }
}

/// What a walk found and what it took.
public struct WalkResult: Sendable {
    /// Nearest first, at most `ef`.
    public var nearest: [SlotDistance] = []
    public var work = SearchWork()
    /// Whether the deadline ended the walk before it was done.
    public var isTruncated = false
    /// What measuring the nearest again took, with a codec; known when `SearchScratch.isTimed`.
    public var measured = Duration.zero

    public init() {}
}

extension HNSWIndex {
    /// The nearest published slots that a walk of breadth `ef` finds, with their distances in full precision: at least `limit`, unless
    /// there are fewer, and as many more as the walk came by, or with a codec the `rescore` nearest by its estimate (the codec's choice
    /// when nil). With a `filter` only slots that it admits. `distanceLimit` ends an unfiltered walk early, when fewer answers need to be
    /// right.
    /// - Throws: `invalidArgument` for a query that does not fit the field.
    public func search(
        _ vector: DenseVector, limit: Int, ef: Int, rescore: Int? = nil, distanceLimit: Int = .max, filter: SlotFilter? = nil,
        deadline: Deadline?, scratch: inout SearchScratch
    ) throws(NeedletailError) -> WalkResult {
        let entry = entry.load(ordering: .acquiring)
        var result = WalkResult()
        guard entry != 0, let pointers else {
            try check(vector, scratch: &scratch)
            return result
        }
        scratch.prepare(slots: slotBound.load(ordering: .acquiring), queryBytes: pointers.queryBytes)
        let query = try pointers.scorer.prepare(vector, field: field.name, scratch: scratch.query.pointer)
        var position = nearest(to: query, entry: entry, pointers: pointers, scratch: &scratch, work: &result.work)
        if Int(entry >> 32) > 0 {
            position = descend(
                query, from: position, levels: (1...Int(entry >> 32)).reversed(), pointers: pointers, scratch: &scratch,
                work: &result.work)
        }
        var least = 0
        if let filter {
            let end = searchFiltered(
                query, from: position, limit: limit, breadth: ef, filter: filter, deadline: deadline, pointers: pointers,
                scratch: &scratch, work: &result.work)
            (result.isTruncated, least) = (end.isTruncated, end.rescore)
        } else {
            result.isTruncated = walk(
                query, from: position, level: 0, breadth: ef, reach: reach(limit: limit, ef: ef), admitted: live,
                distanceLimit: distanceLimit, deadline: deadline, pointers: pointers, scratch: &scratch, work: &result.work)
        }
        result.nearest = scratch.candidates.answers()
        if filter == nil, distanceLimit == .max, !result.isTruncated, hasMissed(result.nearest.count, ef: ef) {
            let all = try exactSearch(vector, limit: limit, deadline: deadline, scratch: &scratch, precedes: <)
            (result.nearest, result.isTruncated) = (all.nearest, all.isTruncated)
            result.work += all.work
            return result
        }
        try measureNearest(
            &result, query, vector, limit: limit, rescore: least > 0 ? max(least, rescore ?? 0) : rescore, isFiltered: filter != nil,
            pointers: pointers, scratch: &scratch)
        return result
    }

    /// Whether a walk so broad that it could take in every point did not: what the graph does not lead to, a heap of equal vectors say, is found by
    /// looking at all, which costs no more than the walk did.
    private func hasMissed(_ found: Int, ef: Int) -> Bool {
        let bound = slotBound.load(ordering: .acquiring)
        guard ef >= bound else { return false }
        return found < (0..<(bound + 63) / 64).reduce(0) { $0 + live.word($1).nonzeroBitCount }
    }

    /// With a codec, replaces estimates by distances in full precision.
    func measureNearest(
        _ result: inout WalkResult, _ query: PreparedQuery, _ vector: DenseVector, limit: Int, rescore: Int?, isFiltered: Bool,
        pointers: GraphPointers, scratch: inout SearchScratch
    ) throws(NeedletailError) {
        guard let codec = pointers.codec else { return }
        let began = scratch.isTimed ? ContinuousClock.now : nil
        defer { if let began { result.measured = began.duration(to: .now) } }
        // What a filter leaves may all lie far off, where estimates tell little apart: then twice as many are worth a look.
        let usual = codec.rescoreCount(limit: limit) * (isFiltered ? 2 : 1)
        var count = max(limit, rescore ?? field.index.rescore.count ?? usual)
        if codec.refines {
            refine(&result, count: count, query, codec, pointers: pointers, scratch: &scratch)
            count = max(limit, count / 2)
        }
        try measureAgain(&result, count: count, vector, pointers: pointers, scratch: &scratch)
    }

    /// A query that does not fit is refused by an empty graph too.
    func check(_ vector: DenseVector, scratch: inout SearchScratch) throws(NeedletailError) {
        scratch.prepare(slots: 0, queryBytes: distance.scratchBytes)
        _ = try distance.prepare(vector, field: field.name, scratch: scratch.query.pointer)
    }

    /// Measures the `count` nearest again with all that their rows hold, and forgets the rest.
    private func refine(
        _ result: inout WalkResult, count: Int, _ query: PreparedQuery, _ codec: any RowCodec, pointers: GraphPointers,
        scratch: inout SearchScratch
    ) {
        let count = min(count, result.nearest.count, SearchScratch.rowCapacity)
        result.nearest.removeLast(result.nearest.count - count)
        for index in 0..<count { scratch.rows[index] = result.nearest[index].slot }
        codec.refine(query, base: pointers.walked, rows: scratch.rows, count: count, scratch: scratch.query.pointer, out: scratch.distances)
        for index in 0..<count { result.nearest[index].distance = scratch.distances[index] }
        result.nearest.sort { $0.distance < $1.distance }
    }

    /// Measures the `count` nearest again in full precision and forgets the rest.
    private func measureAgain(
        _ result: inout WalkResult, count: Int, _ vector: DenseVector, pointers: GraphPointers, scratch: inout SearchScratch
    ) throws(NeedletailError) {
        let count = min(count, result.nearest.count, SearchScratch.rowCapacity)
        result.nearest.removeLast(result.nearest.count - count)
        let query = try distance.prepare(vector, field: field.name, scratch: scratch.second.pointer)
        for index in 0..<count { scratch.rows[index] = result.nearest[index].slot }
        distance.distances(query, base: pointers.rows, rows: scratch.rows, count: count, out: scratch.distances)
        for index in 0..<count { result.nearest[index].distance = scratch.distances[index] }
        result.nearest.sort { $0.distance < $1.distance }
        result.work.distances += UInt64(count)
    }

    /// The entry point and its distance.
    func nearest(
        to query: PreparedQuery, entry: UInt64, pointers: GraphPointers, scratch: inout SearchScratch, work: inout SearchWork
    ) -> SlotDistance {
        scratch.rows[0] = UInt32(truncatingIfNeeded: entry) &- 1
        pointers.scorer.distances(query, base: pointers.walked, rows: scratch.rows, count: 1, out: scratch.distances)
        work.distances += 1
        return SlotDistance(slot: scratch.rows[0], distance: scratch.distances[0])
    }

    /// Walks greedily to the nearest node of each level in turn: Algorithm 2 with ef = 1.
    func descend(
        _ query: PreparedQuery, from start: SlotDistance, levels: some Sequence<Int>, pointers: GraphPointers, scratch: inout SearchScratch,
        work: inout SearchWork
    ) -> SlotDistance {
        var position = start
        for level in levels {
            var moved = true
            while moved {
                moved = false
                let list = pointers.list(position.slot, level: level)
                var count = 0
                while count < pointers.upperDegree {
                    let link = list[count].load(ordering: .acquiring)
                    if link == 0 { break }
                    scratch.rows[count] = link &- 1
                    count &+= 1
                }
                pointers.scorer.distances(query, base: pointers.walked, rows: scratch.rows, count: count, out: scratch.distances)
                work.distances += UInt64(count)
                work.hops += 1
                for index in 0..<count where scratch.distances[index] < position.distance {
                    // A slot that was freed and used again may not reach up to this level: stay below it.
                    guard pointers.level(scratch.rows[index]) >= level else { continue }
                    position = SlotDistance(slot: scratch.rows[index], distance: scratch.distances[index])
                    moved = true
                }
            }
        }
        return position
    }
}

extension CandidateList {
    /// The answerable entries, nearest first.
    func answers() -> [SlotDistance] {
        var result: [SlotDistance] = []
        result.reserveCapacity(count)
        for index in 0..<count where entries[index].isAnswer {
            result.append(SlotDistance(slot: entries[index].slot, distance: entries[index].distance))
        }
        return result
    }
}
