internal import NeedletailCore
internal import NeedletailVectors
internal import Synchronization

/// How far a walk on one level has come; what it found is in the scratch space.
struct WalkState {
    let level: Int
    let degree: Int
    /// Slots at or beyond are not part of the answer: they were made after the walk began.
    let bound: UInt32
    let distanceLimit: Int
    var hops: UInt64 = 0
    var scored = 0
}

// Algorithm 2, cut in two steps so that walks of several queries can take turns: `gather` reads the lists of the nearest unexpanded nodes
// and has the rows of their neighbours fetched; `absorb` scores them.
extension HNSWIndex {
    /// Begins a walk at `start`.
    func beginWalk(
        from start: SlotDistance, level: Int, breadth: Int, reach: WalkReach = .unlimited, admitted: SlotBits, distanceLimit: Int = .max,
        pointers: GraphPointers, scratch: inout SearchScratch
    ) -> WalkState {
        scratch.candidates.reset(breadth: reach.rank == .max ? breadth : breadth * WalkReach.room, reach: reach)
        _ = scratch.visited.insert(start.slot)
        scratch.candidates.insert(slot: start.slot, distance: start.distance, isAnswer: admitted[Int(start.slot)])
        return WalkState(
            level: level, degree: pointers.degree(level: level), bound: UInt32(truncatingIfNeeded: scratch.visited.slotCapacity),
            distanceLimit: distanceLimit)
    }

    /// Expands the nearest unexpanded nodes, one or two of them: their unvisited neighbours are in `scratch.rows`. nil when the walk is over.
    @inline(__always)
    func gather(_ state: inout WalkState, pointers: GraphPointers, scratch: inout SearchScratch) -> Int? {
        var count = 0
        var expanded = 0
        while expanded < pointers.expansions, let next = scratch.candidates.nextToExpand() {
            count &+= pointers.gather.unvisited(
                list: UnsafeRawPointer(pointers.list(next.slot, level: state.level)), degree: state.degree, bound: state.bound,
                visited: scratch.visited.words, base: pointers.walked, out: scratch.rows + count)
            expanded &+= 1
        }
        if expanded == 0 || state.scored >= state.distanceLimit { return nil }
        state.hops &+= UInt64(expanded)
        // While these are scored: unless one of them comes before it, the next list is this one.
        if let likely = scratch.candidates.likelyNext {
            pointers.gather.prefetch(list: UnsafeRawPointer(pointers.list(likely, level: state.level)), degree: state.degree)
        }
        scratch.visited.note(scratch.rows, count: count)
        return min(count, state.distanceLimit &- state.scored)
    }

    /// Scores the first `count` of `scratch.rows` and keeps those that may be among the answers.
    @inline(__always)
    func absorb(
        _ count: Int, _ query: PreparedQuery, admitted: SlotBits, _ state: inout WalkState, pointers: GraphPointers,
        scratch: inout SearchScratch
    ) {
        let (rows, distances) = (scratch.rows, scratch.distances)
        pointers.scorer.distances(query, base: pointers.walked, rows: rows, count: count, out: distances)
        var threshold = scratch.candidates.threshold
        for index in 0..<count where distances[index] < threshold {
            scratch.candidates.insert(slot: rows[index], distance: distances[index], isAnswer: admitted[Int(rows[index])])
            threshold = scratch.candidates.threshold
        }
        if let likely = scratch.candidates.likelyNext {
            pointers.gather.prefetch(list: UnsafeRawPointer(pointers.list(likely, level: state.level)), degree: state.degree)
        }
        state.scored &+= count
    }

    /// Walks until the `breadth` best admitted nodes are all expanded. The result stays in `scratch.candidates`. Returns whether the deadline
    /// cut it short.
    func walk(
        _ query: PreparedQuery, from start: SlotDistance, level: Int, breadth: Int, reach: WalkReach = .unlimited, admitted: SlotBits,
        distanceLimit: Int = .max, deadline: Deadline?, pointers: GraphPointers, scratch: inout SearchScratch, work: inout SearchWork
    ) -> Bool {
        var state = beginWalk(
            from: start, level: level, breadth: breadth, reach: reach, admitted: admitted, distanceLimit: distanceLimit, pointers: pointers,
            scratch: &scratch)
        defer { scratch.visited.clear() }
        var isTruncated = false
        while !isTruncated, let count = gather(&state, pointers: pointers, scratch: &scratch) {
            absorb(count, query, admitted: admitted, &state, pointers: pointers, scratch: &scratch)
            isTruncated = isLate(state, deadline, pointers)
        }
        work.hops += state.hops
        work.distances += UInt64(state.scored)
        return isTruncated
    }

    /// A look at the clock costs as much as a few distances: every 16 hops or so, some tens of microseconds apart.
    @inline(__always) func isLate(_ state: WalkState, _ deadline: Deadline?, _ pointers: GraphPointers) -> Bool {
        guard let deadline, state.hops & 15 < pointers.expansions else { return false }
        return deadline.isPast
    }
}
