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
    /// The best points of this shard, sorted, without payloads and vectors.
    /// - Parameter filter: only points that it admits; whoever hands them out looks at their payloads again.
    func search(_ query: SearchQuery, within filter: PayloadFilter? = nil, deadline: Deadline?, scratch: inout SearchScratch) throws -> ShardHits {
        guard fields.indices.contains(query.field) else {
            throw NeedletailError(.invalidArgument, "there is no vector field number \(query.field)")
        }
        let graph = fields[query.field].graph
        let plan = plan(query, isFiltered: filter != nil)
        var slots: SlotFilter?
        if let filter {
            let admitted = try members(of: filter, deadline: deadline)
            slots = SlotFilter(bits: admitted.bits, count: admitted.count)
        }
        let began = scratch.isTimed ? ContinuousClock.now : nil
        let result =
            plan.isExact
            ? try graph.exactSearch(query.vector, limit: query.limit, filter: slots, deadline: deadline, scratch: &scratch) { points.id($0) < points.id($1) }
            : try graph.search(
                query.vector, limit: query.limit, ef: plan.effort.ef, distanceLimit: plan.effort.distanceLimit, filter: slots, deadline: deadline,
                scratch: &scratch)
        let took = began.map { $0.duration(to: .now) } ?? .zero
        let metric = graph.field.metric
        let found = result.nearest.map { entry in
            ScoredPoint(id: points.id(entry.slot), score: metric.score(ofDistance: entry.distance), sequence: points.sequence(entry.slot))
        }
        // One list: puts ties in order of ids, and of a point that was being replaced keeps the newer version.
        return ShardHits(
            points: TopMerge.best(of: found, limit: query.limit), work: result.work, isTruncated: result.isTruncated, estimate: plan.estimate,
            walked: took - result.measured, measured: result.measured, isExact: plan.isExact)
    }

    /// The point as it is now; nil when there is none, or the filter does not admit it.
    func read(_ id: PointID, parts: PointParts, within filter: PayloadFilter? = nil) throws -> StoredPoint? {
        try publication.read {
            guard let slot = points.slot(of: id) else { return nil }
            let payload = parts.payload || filter != nil ? try payloads.get(id.orderedKey) ?? [] : []
            if let filter, try !filter.matches(encoded: payload) { return nil }
            let vectors = parts.vectors ? vectors(of: slot) : []
            return StoredPoint(id: id, vectors: vectors, payload: parts.payload ? payload : [], sequence: points.sequence(slot))
        }
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
