public import NeedletailCore
internal import NeedletailVectors
internal import Synchronization

/// Scratch spaces for a few walks at once; one thread's.
public final class WalkLanes {
    /// Walks that take turns. Measured: the rows of four hops fit the first-level cache together; more push each other out.
    static let count = 4
    fileprivate var lanes = (0..<WalkLanes.count).map { _ in Lane() }

    public init() {}

    fileprivate final class Lane {
        // One thread's and never passed on while it is used: checks of that would cost as much as a hop's arithmetic.
        @exclusivity(unchecked) var scratch = SearchScratch()
        /// The query that is walking here, by its place in the batch.
        @exclusivity(unchecked) var index: Int?
        @exclusivity(unchecked) var query: PreparedQuery?
        @exclusivity(unchecked) var state = WalkState(level: 0, degree: 0, bound: 0, distanceLimit: 0)
        @exclusivity(unchecked) var count = 0
    }
}

// A batch of queries: while the rows of one query's hop come from memory, the others' are scored.
extension HNSWIndex {
    /// What `search` answers for each of the queries, in their order, in less time than one after the other.
    /// - Throws: `invalidArgument` for a query that does not fit the field; then none is answered.
    public func search(
        batch: [DenseVector], limit: Int, ef: Int, rescore: Int? = nil, deadline: Deadline?, lanes: WalkLanes
    ) throws(NeedletailError) -> [WalkResult] {
        var results = [WalkResult](repeating: WalkResult(), count: batch.count)
        guard let pointers, entry.load(ordering: .acquiring) != 0 else {
            for vector in batch { try check(vector, scratch: &lanes.lanes[0].scratch) }
            return results
        }
        do {
            try walkInTurns(batch, limit: limit, ef: ef, rescore: rescore, deadline: deadline, lanes, &results, pointers)
        } catch {
            // The other walks end here: their marks must not stay.
            for lane in lanes.lanes {
                lane.scratch.visited.clear()
                lane.index = nil
            }
            throw error
        }
        return results
    }

    private func walkInTurns(
        _ batch: [DenseVector], limit: Int, ef: Int, rescore: Int?, deadline: Deadline?, _ lanes: WalkLanes, _ results: inout [WalkResult],
        _ pointers: GraphPointers
    ) throws(NeedletailError) {
        var next = 0
        var active = 0
        for lane in lanes.lanes where next < batch.count {
            try begin(batch, next, limit: limit, ef: ef, lane, &results[next], pointers)
            next += 1
            active += 1
        }
        while active > 0 {
            for lane in lanes.lanes {
                guard let index = lane.index else { continue }
                if results[index].isTruncated == false, let count = gather(&lane.state, pointers: pointers, scratch: &lane.scratch) {
                    lane.count = count
                    continue
                }
                try finish(batch[index], limit: limit, rescore: rescore, lane, &results[index], pointers)
                if next < batch.count {
                    try begin(batch, next, limit: limit, ef: ef, lane, &results[next], pointers)
                    next += 1
                    lane.count = gather(&lane.state, pointers: pointers, scratch: &lane.scratch) ?? 0
                } else {
                    lane.index = nil
                    active -= 1
                }
            }
            for lane in lanes.lanes {
                guard let index = lane.index, let query = lane.query else { continue }
                absorb(lane.count, query, admitted: live, &lane.state, pointers: pointers, scratch: &lane.scratch)
                results[index].isTruncated = isLate(lane.state, deadline, pointers)
            }
        }
    }

    /// Takes a query up: down to the base level by itself, which is a small part of the work.
    private func begin(
        _ batch: [DenseVector], _ index: Int, limit: Int, ef: Int, _ lane: WalkLanes.Lane, _ result: inout WalkResult, _ pointers: GraphPointers
    ) throws(NeedletailError) {
        let entry = entry.load(ordering: .acquiring)
        lane.scratch.prepare(slots: slotBound.load(ordering: .acquiring), queryBytes: pointers.queryBytes)
        let query = try pointers.scorer.prepare(batch[index], field: field.name, scratch: lane.scratch.query.pointer)
        var position = nearest(to: query, entry: entry, pointers: pointers, scratch: &lane.scratch, work: &result.work)
        position = descend(
            query, from: position, levels: stride(from: Int(entry >> 32), to: 0, by: -1), pointers: pointers, scratch: &lane.scratch,
            work: &result.work)
        lane.state = beginWalk(
            from: position, level: 0, breadth: ef, reach: reach(limit: limit, ef: ef), admitted: live, pointers: pointers,
            scratch: &lane.scratch)
        lane.query = query
        lane.index = index
        lane.count = 0
    }

    private func finish(
        _ vector: DenseVector, limit: Int, rescore: Int?, _ lane: WalkLanes.Lane, _ result: inout WalkResult, _ pointers: GraphPointers
    ) throws(NeedletailError) {
        lane.scratch.visited.clear()
        result.work.hops += lane.state.hops
        result.work.distances += UInt64(lane.state.scored)
        result.nearest = lane.scratch.candidates.answers()
        guard let query = lane.query else { return }
        try measureNearest(&result, query, vector, limit: limit, rescore: rescore, isFiltered: false, pointers: pointers, scratch: &lane.scratch)
    }
}
