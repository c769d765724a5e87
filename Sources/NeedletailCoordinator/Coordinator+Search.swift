internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailQuery
internal import NeedletailTelemetry
internal import Synchronization

extension Coordinator {
    public func search(_ request: PointsSearch) async throws -> SearchAnswer {
        try await onOneMap(request.collection, request.read, request.deadline) { entry, read in
            var adapted = request
            adapted.read = read
            return try await search(adapted, entry)
        }
    }

    private func search(_ request: PointsSearch, _ entry: CollectionEntry) async throws -> SearchAnswer {
        var profile = SearchProfile()
        do {
            let answer = try await search(request, entry, &profile)
            ended(profile, request, nil)
            return answer
        } catch {
            ended(profile, request, error)
            throw error
        }
    }

    private func ended(_ profile: SearchProfile, _ request: PointsSearch, _ error: (any Error)?) {
        profile.record(in: RequestScope.current?.span)
        metrics?.searched(queries: request.queries.count, profile)
        guard let slowQueries, let threshold = live.current.slowQuery else { return }
        let now = profile.merged ?? .now
        let took = profile.began.duration(to: now)
        guard took >= threshold else { return }
        metrics?.slow()
        slowQueries.note(profile.account(of: request, took: took, error: error), at: now)
    }

    private func search(_ request: PointsSearch, _ entry: CollectionEntry, _ profile: inout SearchProfile) async throws -> SearchAnswer {
        let names = FieldNames(entry.spec)
        var queries = try validated(request.queries, names)
        for index in queries.indices { queries[index].parts = queries[index].parts.checked(by: request.filter) }
        profile.planned = .now
        let responses = await gather(entry, queries: queries, request)
        let reports = responses.flatMap(\.reports)
        (profile.gathered, profile.reports) = (.now, reports)
        for response in responses { profile.work += response.work }
        for case .failed(let error) in reports.map(\.outcome) where Self.mayPass(error) {
            // Whoever takes a partial answer does not wait for another map.
            let isOutdated =
                request.allowPartial
                ? resharded(entry) != nil : await isOutdated(entry, by: error, before: request.deadline ?? .after(Self.patience))
            if isOutdated { throw error }
        }
        try CoverageVerdict.check(reports, allowPartial: request.allowPartial)
        let results = try queries.indices.map { index in
            let lists = responses.compactMap { $0.results.indices.contains(index) ? $0.results[index] : nil }
            let best = try request.filter.admits(TopMerge.merge(lists, limit: queries[index].limit), request.queries[index].parts)
            return best.map { names.name($0, field: queries[index].field) }
        }
        let estimates = queries.indices.map { index in
            RecallEstimate.merge(responses.compactMap { $0.estimates.indices.contains(index) ? $0.estimates[index] : nil })
        }
        profile.merged = .now
        return SearchAnswer(results: results, coverage: .of(reports), work: profile.work, estimates: estimates)
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

    /// Asks one replica of every shard, one request a node; what does not answer is asked of its other replicas, and all over again while
    /// there is time, if there are others. Every shard is in one report.
    private func gather(_ entry: CollectionEntry, queries: [SearchQuery], _ request: PointsSearch) async -> [NodeSearchResponse] {
        let choices = entry.shards.map { place in
            let shard = entry.shardID(place)
            return (shard: shard, node: readers(of: place, shard, request.read.consistency)[0])
        }
        let responses = await scatter(ScatterPlan(choices), of: entry, queries: queries, request)
        // Nearly always; the rest is for bad times.
        if responses.allSatisfy(\.isWhole) { return responses }
        return await gather(entry, queries: queries, request, asked: choices, responses)
    }

    /// - Parameter asked: where every shard was asked first, which gave `responses`.
    private func gather(
        _ entry: CollectionEntry, queries: [SearchQuery], _ request: PointsSearch, asked: [(shard: ShardID, node: NodeID)],
        _ responses: [NodeSearchResponse]
    ) async -> [NodeSearchResponse] {
        let end = request.deadline.map(Self.forShards) ?? .after(Self.patience)
        var pause = RetryPause()
        var open = Dictionary(uniqueKeysWithValues: entry.shards.map { (entry.shardID($0), $0) })
        var tried: [ShardID: Set<NodeID>] = [:]
        var failed: [ShardID: ShardReport] = [:]
        var (choices, latest, answers) = (asked, responses, [NodeSearchResponse]())
        while true {
            for choice in choices { tried[choice.shard, default: []].insert(choice.node) }
            for var response in latest {
                for report in response.reports {
                    if case .failed(let error) = report.outcome {
                        if error.code == .resourceExhausted { metrics?.refused() }
                        failed[report.shard] = report
                        if !Self.mayPass(error) { open[report.shard] = nil }
                    } else {
                        (open[report.shard], failed[report.shard]) = (nil, nil)
                    }
                }
                response.reports.removeAll { if case .failed = $0.outcome { true } else { false } }
                answers.append(response)
            }
            if open.isEmpty { break }
            choices = untried(open, tried, request)
            if choices.isEmpty {
                // Then it is asked of the shards that there are now.
                if resharded(entry) != nil { break }
                // Every replica was asked. A shard that has several may have another primary soon; who takes a partial answer need not wait for it,
                // and nodes that have too much to do are not asked again by those who could wait.
                let hopeful = open.filter { shard, place in
                    !request.allowPartial && !Self.isOverload(failed[shard])
                        && (place.replicas.count > 1 || isSplitting(shard) || (place.version > 1 && pause.age < Self.lease)
                            || self.place(of: shard)?.1.version != place.version)
                }
                guard !hopeful.isEmpty, await pause.wait(before: end) else { break }
                for shard in hopeful.keys {
                    if let (_, place) = place(of: shard) { open[shard] = place }
                    tried[shard] = nil
                }
                metrics?.retried()
                choices = untried(open, tried, request)
            }
            latest = await scatter(ScatterPlan(choices), of: entry, queries: queries, request)
        }
        return answers + [NodeSearchResponse(results: [], reports: Array(failed.values))]
    }

    /// For each shard that has not answered the next replica to ask; none for those whose replicas were all asked.
    private func untried(
        _ open: [ShardID: ShardPlace], _ tried: [ShardID: Set<NodeID>], _ request: PointsSearch
    ) -> [(shard: ShardID, node: NodeID)] {
        open.compactMap { shard, place in
            readers(of: place, shard, request.read.consistency).first { tried[shard]?.contains($0) != true }.map { (shard, $0) }
        }
    }

    private static func isOverload(_ report: ShardReport?) -> Bool {
        if case .failed(let error)? = report?.outcome { error.code == .resourceExhausted } else { false }
    }

    /// Asks all nodes of a plan side by side. A node that fails is a report for each of its shards, not an error.
    private func scatter(
        _ plan: ScatterPlan, of entry: CollectionEntry, queries: [SearchQuery], _ request: PointsSearch
    ) async -> [NodeSearchResponse] {
        if plan.parts.count == 1 { return await hedged(plan.parts[0], of: entry, queries: queries, request) }
        return await withTaskGroup(of: [NodeSearchResponse].self) { group in
            for part in plan.parts { group.addTask { await self.hedged(part, of: entry, queries: queries, request) } }
            var responses: [NodeSearchResponse] = []
            for await some in group { responses += some }
            return responses
        }
    }

    /// Asks a node, and when it takes longer than most do, other replicas of the same shards: the first whole answer counts, the rest is
    /// cancelled.
    private func hedged(
        _ part: ScatterPlan.Part, of entry: CollectionEntry, queries: [SearchQuery], _ request: PointsSearch
    ) async -> [NodeSearchResponse] {
        guard entry.spec.replicationFactor > 1, request.read.consistency == .anyInSync else { return [await ask(part, queries: queries, request)] }
        let began = ContinuousClock.now
        let life = entry.incarnation
        let delay = state.withLock { state in
            state.hedging[life, default: Hedging()].begin()
            return state.hedging[life]?.delay
        }
        let responses = await withTaskGroup(of: Attempt.self) { group in
            group.addTask { .first(await self.ask(part, queries: queries, request)) }
            if let delay {
                group.addTask {
                    try? await Task.sleep(for: delay)
                    return .isLate
                }
            }
            var failed: NodeSearchResponse?
            var isHedged = false
            for await attempt in group {
                switch attempt {
                case .isLate where !Task.isCancelled && failed == nil:
                    guard let other = alternative(to: part), state.withLock({ $0.hedging[life]?.allow() ?? false }) else { break }
                    isHedged = true
                    metrics?.hedged()
                    group.addTask { .second(await self.askAll(other, queries: queries, request)) }
                case .isLate: break
                case .first(let response) where !isHedged || response.isWhole:
                    group.cancelAll()
                    return [response]
                case .first(let response): failed = response
                case .second(let responses) where failed != nil || responses.allSatisfy(\.isWhole):
                    metrics?.hedgeWon()
                    group.cancelAll()
                    return responses
                case .second: isHedged = false
                }
            }
            return failed.map { [$0] } ?? []
        }
        let took = began.duration(to: .now)
        state.withLock { $0.hedging[life]?.answered(after: took) }
        return responses
    }

    private enum Attempt: Sendable {
        case first(NodeSearchResponse)
        case second([NodeSearchResponse])
        case isLate
    }

    /// Other replicas that could answer for all shards of a part; nil when there are none.
    private func alternative(to part: ScatterPlan.Part) -> ScatterPlan? {
        var choices: [(shard: ShardID, node: NodeID)] = []
        for shard in part.shards {
            guard let (_, place) = place(of: shard), let node = readers(of: place, shard, .anyInSync).first(where: { $0 != part.node }) else { return nil }
            choices.append((shard, node))
        }
        return ScatterPlan(choices)
    }

    private func askAll(_ plan: ScatterPlan, queries: [SearchQuery], _ request: PointsSearch) async -> [NodeSearchResponse] {
        await withTaskGroup(of: NodeSearchResponse.self) { group in
            for part in plan.parts { group.addTask { await self.ask(part, queries: queries, request, isHedge: true) } }
            var responses: [NodeSearchResponse] = []
            for await response in group { responses.append(response) }
            return responses
        }
    }

    private func ask(_ part: ScatterPlan.Part, queries: [SearchQuery], _ request: PointsSearch, isHedge: Bool = false) async -> NodeSearchResponse {
        var response = await RequestScope.describingCalls(part.attributes(isHedge: isHedge)) { await attempt(part, queries: queries, request) }
        for index in response.reports.indices { response.reports[index].node = part.node }
        return response
    }

    private func attempt(_ part: ScatterPlan.Part, queries: [SearchQuery], _ request: PointsSearch) async -> NodeSearchResponse {
        let conditions = request.read == ReadOptions() ? [] : part.shards.map(request.read.condition)
        let search = NodeSearchRequest(
            shards: part.shards, queries: queries, conditions: conditions, filter: request.filter, deadline: request.deadline.map(Self.forShards))
        do throws(NeedletailError) {
            return try await askReader(part.node, about: part.shards) { try await $0.search(search) }
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

extension ScatterPlan.Part {
    /// What a span says of the attempt to ask a node.
    fileprivate func attributes(isHedge: Bool) -> [SpanAttribute] {
        [
            SpanAttribute("needletail.node", .text("\(node)")), SpanAttribute("needletail.shards", .text(shards.map { "\($0.number)" }.joined(separator: ","))),
            SpanAttribute("needletail.hedge", .flag(isHedge)),
        ]
    }
}

extension NodeSearchResponse {
    /// Whether every shard that was asked has answered.
    fileprivate var isWhole: Bool { reports.allSatisfy { if case .failed = $0.outcome { false } else { true } } }
}
