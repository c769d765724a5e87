internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailQuery

extension Coordinator {
    public func search(_ request: PointsSearch) async throws -> SearchAnswer {
        let entry = try entry(request.collection)
        let names = FieldNames(entry.spec)
        let queries = try validated(request.queries, names)
        let responses = await scatter(ScatterPlan(entry), queries: queries, deadline: request.deadline)
        let reports = responses.flatMap(\.reports).sorted { $0.shard < $1.shard }
        try CoverageVerdict.check(reports, allowPartial: request.allowPartial)
        var work = SearchWork()
        for response in responses { work += response.work }
        let results = queries.indices.map { index in
            let lists = responses.compactMap { $0.results.indices.contains(index) ? $0.results[index] : nil }
            return TopMerge.merge(lists, limit: queries[index].limit).map { names.name($0, field: queries[index].field) }
        }
        let estimates = queries.indices.map { index in
            RecallEstimate.merge(responses.compactMap { $0.estimates.indices.contains(index) ? $0.estimates[index] : nil })
        }
        return SearchAnswer(results: results, coverage: Coverage(shards: reports), work: work, estimates: estimates)
    }

    private func validated(_ queries: [NamedQuery], _ names: FieldNames) throws(NeedletailError) -> [SearchQuery] {
        guard (1...Limits.queriesPerBatch).contains(queries.count) else {
            throw NeedletailError(.invalidArgument, "a batch has 1 to \(Limits.queriesPerBatch) queries, not \(queries.count)")
        }
        var result: [SearchQuery] = []
        for query in queries {
            guard (1...Limits.searchLimit).contains(query.limit) else {
                throw NeedletailError(.invalidArgument, "limit must be 1 to \(Limits.searchLimit), not \(query.limit)")
            }
            guard query.ef.map({ (1...Limits.ef).contains($0) }) ?? true else {
                throw NeedletailError(.invalidArgument, "ef must be 1 to \(Limits.ef), not \(query.ef ?? 0)")
            }
            try checkRecallTarget(query)
            result.append(
                SearchQuery(
                    field: try names.number(query.field), vector: query.vector, limit: query.limit, ef: query.ef, recallTarget: query.recallTarget,
                    exact: query.exact, parts: query.parts))
        }
        return result
    }

    private func checkRecallTarget(_ query: NamedQuery) throws(NeedletailError) {
        guard let target = query.recallTarget else { return }
        guard target > 0, target < 1 else {
            throw NeedletailError(.invalidArgument, "recall_target must be above 0 and below 1, not \(target); for all of the nearest set exact")
        }
        guard query.ef == nil, !query.exact else {
            throw NeedletailError(
                .invalidArgument, "recall_target and \(query.exact ? "exact" : "ef") both say how thoroughly to search; choose one of them")
        }
        guard query.limit <= Limits.recallTargetLimit else {
            throw NeedletailError(
                .invalidArgument, "recall_target takes a limit of at most \(Limits.recallTargetLimit), not \(query.limit); set ef instead")
        }
    }

    /// Asks all nodes of a plan side by side. A node that fails is a report for each of its shards, not an error.
    private func scatter(_ plan: ScatterPlan, queries: [SearchQuery], deadline: Deadline?) async -> [NodeSearchResponse] {
        if plan.parts.count == 1 { return [await ask(plan.parts[0], queries: queries, deadline: deadline)] }
        return await withTaskGroup(of: NodeSearchResponse.self) { group in
            for part in plan.parts { group.addTask { await self.ask(part, queries: queries, deadline: deadline) } }
            var responses: [NodeSearchResponse] = []
            for await response in group { responses.append(response) }
            return responses
        }
    }

    private func ask(_ part: ScatterPlan.Part, queries: [SearchQuery], deadline: Deadline?) async -> NodeSearchResponse {
        let request = NodeSearchRequest(shards: part.shards, queries: queries, deadline: deadline.map(Self.forShards))
        do throws(NeedletailError) {
            return try await ask(part.node, about: part.shards) { try await $0.search(request) }
        } catch {
            let reports = part.shards.map { ShardReport(shard: $0, outcome: .failed(error), appliedSequence: 0) }
            return NodeSearchResponse(results: [], reports: reports)
        }
    }

    /// The deadline that shards are given: earlier by what the way back and the merge need, a tenth of what is left, at most 100 ms.
    /// A node that hangs is given up on that much before the client gives up, so that a partial answer still reaches it.
    private static func forShards(_ deadline: Deadline) -> Deadline {
        let margin = min(max(deadline.remaining / 10, .zero), .milliseconds(100))
        return deadline.moved(by: .zero - margin)
    }
}
