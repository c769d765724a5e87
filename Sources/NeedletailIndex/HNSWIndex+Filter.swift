internal import NeedletailCore
internal import NeedletailVectors
internal import Synchronization

/// The slots that a search may answer, and how many there are.
public final class SlotFilter: Sendable {
    public let bits: SlotBits
    public let count: Int

    /// `count` bits of `bits` are set; it only guides the choice between walking and scanning.
    public init(bits: SlotBits, count: Int) {
        self.bits = bits
        self.count = count
    }
}

// Search among admitted slots only. When most are admitted the walk is the ordinary one but for what it scores. When few are, a node
// rarely has admitted neighbours: then the walk looks through refused ones at theirs (ACORN: Patel et al., "ACORN: Performant and
// predicate-agnostic search over vector embeddings and structured data", 2024). When fewer still, scanning the admitted is cheaper than
// finding the way to them.
extension HNSWIndex {
    /// Admitted neighbours that one expansion is content with; the refused are not looked through for more. Where half is admitted a node
    /// has them anyway; where few are, each costs a look at several lists.
    private static func enough(_ selectivity: Double) -> Int { selectivity > 0.3 ? 16 : 12 }
    private static let entrances = 48
    /// A list entry looked at costs about a sixteenth of a row scored: one bit against a few cache lines.
    private static let entriesPerDistance = 16
    /// How much dearer than the walk a scan may be that finds what the walk missed.
    private static let scanWorth = 160.0
    /// Nodes that tell how far off answers lie: a tenth of what a walk scores.
    private static let sampled = 112
    private static let keptFarOff = 4

    /// How a filtered search came to its end.
    struct FilteredEnd {
        var isTruncated = false
        /// The nearest to be measured in full precision, when every admitted slot was scored: then only the estimates of a codec stand
        /// between the answer and the exact one.
        var rescore = 0
    }

    /// The nearest admitted slots, as `search` gives them.
    func searchFiltered(
        _ query: PreparedQuery, from start: SlotDistance, limit: Int, breadth: Int, filter: SlotFilter, deadline: Deadline?, pointers: GraphPointers,
        scratch: inout SearchScratch, work: inout SearchWork
    ) -> FilteredEnd {
        let count = Double(slotBound.load(ordering: .acquiring))
        let selectivity = Double(filter.count) / max(1, count)
        let enough = Self.enough(selectivity)
        let entries = Double(enough) / max(selectivity, 1e-9)
        let walkCost = Double(breadth) * (Double(enough) + entries / Double(Self.entriesPerDistance))
        var kept = breadth
        if Double(filter.count) > walkCost {
            let isTruncated = walkAdmitted(
                query, from: start, breadth: breadth, enough: enough, filter: filter, budget: UInt64(filter.count), deadline: deadline,
                pointers: pointers, scratch: &scratch, work: &work)
            if isTruncated == true { return FilteredEnd(isTruncated: true) }
            // Otherwise what is admitted may lie where the walk does not lead, or too far around the query for it to survey.
            if isTruncated == false, Double(filter.count) > Self.scanWorth * walkCost
                || !isFarOff(query, limit: limit, selectivity: selectivity, pointers: pointers, scratch: &scratch, work: &work)
            {
                return FilteredEnd()
            }
            // Far off, many lie at nearly the same distance, which the estimates of a codec do not tell apart.
            kept = min(Self.keptFarOff * breadth, SearchScratch.rowCapacity)
        }
        let isTruncated = scanAdmitted(
            query, breadth: kept, filter: filter, deadline: deadline, pointers: pointers, scratch: &scratch, work: &work)
        return FilteredEnd(isTruncated: isTruncated, rescore: kept)
    }

    /// Whether the answers that a walk found lie farther from the query than they would if the admitted were drawn by chance: measured
    /// against a sample of all nodes, the same for every search. Then none is admitted in a wide neighbourhood of the query, and the
    /// nearest admitted lie on a shell around it, of which a walk sees one side.
    private func isFarOff(
        _ query: PreparedQuery, limit: Int, selectivity: Double, pointers: GraphPointers, scratch: inout SearchScratch, work: inout SearchWork
    ) -> Bool {
        let answers = scratch.candidates.answers()
        guard answers.count >= limit, let last = answers.prefix(limit).last else { return true }
        let bound = slotBound.load(ordering: .acquiring)
        var count = 0
        for index in 0..<Self.sampled {
            let slot = UInt32(bound * index / Self.sampled)
            guard pointers.level(slot) >= 0 else { continue }
            scratch.rows[count] = slot
            count += 1
        }
        pointers.scorer.distances(query, base: pointers.walked, rows: scratch.rows, count: count, out: scratch.distances)
        work.distances += UInt64(count)
        var nearer = 0
        for index in 0..<count where scratch.distances[index] < last.distance { nearer += 1 }
        let expected = Double(limit) / selectivity / Double(max(1, bound)) * Double(count)
        return Double(nearer) > 2 + 3 * expected
    }

    /// The walk among admitted slots; nil when it spent its budget, counted in distances, before it was done. With what a scan costs as
    /// its budget, a walk in vain doubles the cost at most.
    private func walkAdmitted(
        _ query: PreparedQuery, from start: SlotDistance, breadth: Int, enough: Int, filter: SlotFilter, budget: UInt64, deadline: Deadline?,
        pointers: GraphPointers, scratch: inout SearchScratch, work: inout SearchWork
    ) -> Bool? {
        scratch.candidates.reset(breadth: breadth)
        defer { scratch.visited.clear() }
        _ = scratch.visited.insert(start.slot)
        scratch.candidates.insert(slot: start.slot, distance: start.distance, isAnswer: filter.bits[Int(start.slot)] && live[Int(start.slot)])
        var spent = UInt64(enter(query, filter: filter, pointers: pointers, scratch: &scratch))
        var hops: UInt64 = 0
        while let next = scratch.candidates.nextToExpand() {
            var found = Admission()
            lookThrough(next.slot, enough: enough, filter: filter, pointers: pointers, scratch: &scratch, found: &found)
            let (rows, distances) = (scratch.rows, scratch.distances)
            pointers.scorer.distances(query, base: pointers.walked, rows: rows, count: found.admitted, out: distances)
            var threshold = scratch.candidates.threshold
            for index in 0..<found.admitted where distances[index] < threshold {
                // A retired node leads on although it is admitted.
                scratch.candidates.insert(slot: rows[index], distance: distances[index], isAnswer: live[Int(rows[index])])
                threshold = scratch.candidates.threshold
            }
            hops &+= 1
            work.distances += UInt64(found.admitted)
            spent &+= UInt64(found.admitted &+ found.entries / Self.entriesPerDistance)
            if spent > budget { return nil }
            if hops & 15 == 0, let deadline, deadline.isPast {
                work.hops += hops
                return true
            }
        }
        work.hops += hops
        return false
    }

    /// What one expansion found: slots in `scratch.rows`, and the entries of lists it looked at.
    private struct Admission {
        var admitted = 0
        var entries = 0
    }

    /// Admitted slots drawn from all over the filter, as further places to begin: what is admitted may lie far from the query, with
    /// nothing but refused nodes on the way. Returns how many were scored.
    private func enter(_ query: PreparedQuery, filter: SlotFilter, pointers: GraphPointers, scratch: inout SearchScratch) -> Int {
        let words = (min(slotBound.load(ordering: .acquiring), filter.bits.capacity, scratch.visited.slotCapacity) + 63) / 64
        var count = 0
        // The same places for every search: an answer must not depend on chance.
        for entrance in 0..<Self.entrances {
            var word = words * entrance / Self.entrances
            let end = words * (entrance + 1) / Self.entrances
            while word < end, filter.bits.word(word) & live.word(word) == 0 { word += 1 }
            guard word < end else { continue }
            let slot = UInt32(word * 64 + (filter.bits.word(word) & live.word(word)).trailingZeroBitCount)
            guard slot < scratch.visited.slotCapacity, pointers.level(slot) >= 0, scratch.visited.insert(slot) else { continue }
            scratch.rows[count] = slot
            count += 1
        }
        pointers.scorer.distances(query, base: pointers.walked, rows: scratch.rows, count: count, out: scratch.distances)
        for index in 0..<count where scratch.distances[index] < scratch.candidates.threshold {
            scratch.candidates.insert(slot: scratch.rows[index], distance: scratch.distances[index], isAnswer: true)
        }
        return count
    }

    /// Gathers the admitted among a node's neighbours, and among theirs while they are not enough.
    private func lookThrough(
        _ node: UInt32, enough: Int, filter: SlotFilter, pointers: GraphPointers, scratch: inout SearchScratch, found: inout Admission
    ) {
        let degree = pointers.baseDegree
        let bound = UInt32(truncatingIfNeeded: min(scratch.visited.slotCapacity, filter.bits.capacity))
        let rows = scratch.rows
        // The refused wait at the end of the buffer; those of the second hop are not wanted and end behind them.
        let refused = rows + (SearchScratch.rowCapacity - 2 * degree)
        let visited = scratch.visited.words
        let admitted = UnsafeRawPointer(filter.bits.words)
        let first = pointers.gather.admitted(
            list: UnsafeRawPointer(pointers.list(node, level: 0)), degree: degree, bound: bound, visited: visited, admitted: admitted,
            out: rows, refused: refused)
        found.admitted = first.admitted
        found.entries = degree
        let ahead = 4
        func fetch(_ index: Int) {
            if index < first.refused {
                pointers.gather.prefetch(list: UnsafeRawPointer(pointers.list(refused[index], level: 0)), degree: degree)
            }
        }
        if found.admitted < enough { for index in 0..<ahead { fetch(index) } }
        for index in 0..<first.refused where found.admitted < enough {
            fetch(index &+ ahead)
            // Looked through once only, by whoever comes first.
            _ = scratch.visited.insert(refused[index])
            found.admitted &+= pointers.gather.admitted(
                list: UnsafeRawPointer(pointers.list(refused[index], level: 0)), degree: degree, bound: bound, visited: visited,
                admitted: admitted, out: rows + found.admitted, refused: refused + degree
            ).admitted
            found.entries &+= degree
        }
        scratch.visited.note(rows, count: found.admitted)
    }

    /// Scores every admitted slot; the `breadth` nearest stay in `scratch.candidates`.
    private func scanAdmitted(
        _ query: PreparedQuery, breadth: Int, filter: SlotFilter, deadline: Deadline?, pointers: GraphPointers,
        scratch: inout SearchScratch, work: inout SearchWork
    ) -> Bool {
        scratch.candidates.reset(breadth: breadth)
        let bound = min(slotBound.load(ordering: .acquiring), filter.bits.capacity)
        let (rows, distances) = (scratch.rows, scratch.distances)
        let block = 256
        var count = 0
        func score() {
            pointers.scorer.distances(query, base: pointers.walked, rows: rows, count: count, out: distances)
            for index in 0..<count where distances[index] < scratch.candidates.threshold {
                scratch.candidates.insert(slot: rows[index], distance: distances[index], isAnswer: true)
            }
            work.distances += UInt64(count)
            count = 0
        }
        for word in 0..<(bound + 63) / 64 {
            var bits = filter.bits.word(word) & live.word(word)
            while bits != 0 {
                let slot = word &* 64 &+ bits.trailingZeroBitCount
                bits &= bits &- 1
                // A published slot that has no vector in this field has no node.
                guard slot < bound, pointers.level(UInt32(slot)) >= 0 else { continue }
                rows[count] = UInt32(truncatingIfNeeded: slot)
                count &+= 1
            }
            if count > block {
                score()
                if let deadline, deadline.isPast { return true }
            }
        }
        score()
        return false
    }
}
