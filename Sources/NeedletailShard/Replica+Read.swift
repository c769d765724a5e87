internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailQuery
internal import NeedletailStorage
internal import Synchronization

/// What one shard found for one query.
struct ShardHits: Sendable {
    var points: [ScoredPoint]
    var work: SearchWork
    var isTruncated: Bool
    /// What became of the query's recall target; nil without one.
    var estimate: RecallEstimate?
    /// What the walk took, and measuring the nearest again; known when `SearchScratch.isTimed`.
    var walked = Duration.zero
    var measured = Duration.zero
    var isExact = false
}

// All of these run in jobs of the search pool: while such a job runs, no slot that it has met is used for another point.
extension Replica {
    /// Searches one after the other, when points that they found are replaced meanwhile.
    private static let searchAttempts = 8

    /// The best points of this shard, sorted, without payloads and vectors. Each as it was at some moment of the search, and none left out because it was
    /// replaced meanwhile.
    /// - Parameter filter: only points that it admits; whoever hands them out looks at their payloads again.
    /// - Throws: `unavailable` when points are replaced faster than they can be looked at.
    func search(_ query: SearchQuery, within filter: PayloadFilter? = nil, deadline: Deadline?, scratch: inout SearchScratch) throws -> ShardHits {
        guard fields.indices.contains(query.field) else {
            throw NeedletailError(.invalidArgument, "there is no vector field number \(query.field)")
        }
        let graph = fields[query.field].graph
        let plan = plan(query, isFiltered: filter != nil)
        var surplus = 0
        for attempt in 1...Self.searchAttempts {
            let mark = publication.mark
            let (result, took) = try searchOnce(query, plan, limit: query.limit + surplus, filter, deadline: deadline, scratch: &scratch)
            var found = result.nearest.map { entry in
                ScoredPoint(id: points.id(entry.slot), score: graph.field.metric.score(ofDistance: entry.distance), sequence: points.sequence(entry.slot))
            }
            if !publication.isUnchanged(since: mark) {
                guard let published = publication.slots(publishedSince: mark) else { continue }
                let renewed = try renew(result.nearest, found, published: published, query, filter, scratch: &scratch)
                // What was beyond the last one found may belong to the answer now.
                let isShort = renewed.lost > max(0, result.nearest.count - query.limit) && result.nearest.count >= query.limit + surplus
                if isShort, !result.isTruncated, plan.isExact || attempt < Self.searchAttempts {
                    surplus = 2 * renewed.lost + 8
                    continue
                }
                found = renewed.points
            }
            // One list: puts ties in order of ids.
            return ShardHits(
                points: TopMerge.best(of: found, limit: query.limit), work: result.work, isTruncated: result.isTruncated, estimate: plan.estimate,
                walked: took - result.measured, measured: result.measured, isExact: plan.isExact)
        }
        throw NeedletailError(.unavailable, "points of shard \(assignment.shard) are replaced faster than they can be searched; try again")
    }

    private func searchOnce(
        _ query: SearchQuery, _ plan: SearchPlan, limit: Int, _ filter: PayloadFilter?, deadline: Deadline?, scratch: inout SearchScratch
    ) throws -> (result: WalkResult, took: Duration) {
        let graph = fields[query.field].graph
        var slots: SlotFilter?
        if let filter {
            let admitted = try members(of: filter, deadline: deadline)
            slots = SlotFilter(bits: admitted.bits, count: admitted.count)
        }
        let began = scratch.isTimed ? ContinuousClock.now : nil
        let result =
            plan.isExact
            ? try graph.exactSearch(query.vector, limit: limit, filter: slots, deadline: deadline, scratch: &scratch) { points.id($0) < points.id($1) }
            : try graph.search(
                query.vector, limit: limit, ef: max(plan.effort.ef, limit), distanceLimit: plan.effort.distanceLimit, filter: slots, deadline: deadline,
                scratch: &scratch)
        return (result, began.map { $0.duration(to: .now) } ?? .zero)
    }

    /// What was found, but for points of which something was published since the search began: those as they are now, found or not.
    /// - Returns: also how many of those found are gone, or farther than they were found.
    private func renew(
        _ nearest: [SlotDistance], _ found: [ScoredPoint], published: [UInt32], _ query: SearchQuery, _ filter: PayloadFilter?, scratch: inout SearchScratch
    ) throws -> (points: [ScoredPoint], lost: Int) {
        let graph = fields[query.field].graph
        let slots = Set(published)
        var kept: [ScoredPoint] = []
        var unsure: [(slot: UInt32, point: ScoredPoint)] = []
        for (entry, point) in zip(nearest, found) {
            if !slots.contains(entry.slot), points.slot(of: point.id) == entry.slot { kept.append(point) } else { unsure.append((entry.slot, point)) }
        }
        let changed = Set(published.map { points.id($0) }).union(unsure.map(\.point.id))
        var current: [(point: ScoredPoint, slot: UInt32)] = []
        for id in changed {
            let now = try publication.read { () throws -> (UInt32, UInt64)? in
                guard let slot = points.slot(of: id), graph.live[Int(slot)] else { return nil }
                if let filter, try !filter.matches(encoded: try payloads.get(id.orderedKey) ?? []) { return nil }
                return (slot, points.sequence(slot))
            }
            if let (slot, sequence) = now { current.append((ScoredPoint(id: id, score: 0, sequence: sequence), slot)) }
        }
        let distances = try graph.distances(query.vector, to: current.map(\.slot), scratch: &scratch)
        for (index, distance) in distances.enumerated() {
            current[index].point.score = graph.field.metric.score(ofDistance: distance)
            kept.append(current[index].point)
        }
        let renewed = Dictionary(current.map { ($0.slot, $0.point.score) }) { $1 }
        return (kept, unsure.count { renewed[$0.slot] != $0.point.score })
    }

    /// The point as it is now; nil when there is none, or the filter does not admit it.
    func read(_ id: PointID, parts: PointParts, within filter: PayloadFilter? = nil) throws -> StoredPoint? {
        try publication.read {
            guard let slot = points.slot(of: id) else { return nil }
            return try stored(id, slot, parts: parts, within: filter)
        }
    }

    /// What is in a slot. While nothing is published, as `publication.read` sees to.
    private func stored(_ id: PointID, _ slot: UInt32, parts: PointParts, within filter: PayloadFilter?) throws -> StoredPoint? {
        let payload = parts.payload || filter != nil ? try payloads.get(id.orderedKey) ?? [] : []
        if let filter, try !filter.matches(encoded: payload) { return nil }
        let vectors = parts.vectors ? vectors(of: slot) : []
        return StoredPoint(id: id, vectors: vectors, payload: parts.payload ? payload : [], sequence: points.sequence(slot))
    }

    /// A point that was found, with the parts that its query asks for, measured again if it was written since then; nil when it is gone, or the filter does
    /// not admit it.
    func read(_ found: ScoredPoint, for query: SearchQuery, within filter: PayloadFilter?, scratch: inout SearchScratch) throws -> ScoredPoint? {
        let graph = fields[query.field].graph
        let now = try publication.read { () throws -> (slot: UInt32, stored: StoredPoint)? in
            guard let slot = points.slot(of: found.id), graph.live[Int(slot)] else { return nil }
            return try stored(found.id, slot, parts: query.parts, within: filter).map { (slot, $0) }
        }
        guard let now else { return nil }
        var point = found
        (point.sequence, point.payload, point.vectors) = (now.stored.sequence, now.stored.payload, now.stored.vectors)
        if point.sequence != found.sequence {
            let distances = try graph.distances(query.vector, to: [now.slot], scratch: &scratch)
            for distance in distances { point.score = graph.field.metric.score(ofDistance: distance) }
        }
        return point
    }

    private func vectors(of slot: UInt32) -> [FieldVector] {
        fields.indices.compactMap { field in fields[field].graph.vector(slot: slot).map { FieldVector(field: field, vector: $0) } }
    }

    func scroll(_ request: ShardScroll) throws -> ScrollPage {
        if let filter = request.filter { return try scroll(request, within: filter) }
        var ids: [PointID] = []
        try payloads.scan(after: request.after?.orderedKey, limit: request.limit + 1) { key, _ in
            guard let id = PointID(orderedKey: key) else {
                throw NeedletailError(.dataLoss, "payloads.lmdb holds a key that is no point id; \(NeedletailError.damagedReplicaAdvice)", location: directory)
            }
            ids.append(id)
        }
        let points = try ids.prefix(request.limit).compactMap { try read($0, parts: request.parts) }
        // A page can lose its last point to a deletion; the caller goes on after the last id it saw, so an empty page must not end it.
        if points.isEmpty, ids.count > request.limit, let last = ids.prefix(request.limit).last {
            var next = request
            next.after = last
            return try scroll(next)
        }
        return ScrollPage(points: points, hasMore: ids.count > request.limit)
    }

    func count() -> ShardCount {
        let applied = appliedSequence.load(ordering: .acquiring)
        return ShardCount(count: UInt64(points.count), appliedSequence: applied)
    }
}
