public import NeedletailCore
internal import NeedletailIndex
internal import NeedletailQuery
internal import NeedletailTelemetry
internal import Synchronization

extension LocalNode {
    public func write(_ request: ShardWrite) async throws -> WriteReceipt { try await replica(request.shard).write(request) }

    public func get(_ request: ShardGet) async throws -> ShardPoints {
        let replica = try replica(request.shard)
        try await replica.meet(request.condition, deadline: request.deadline)
        return try await resources.searchPool.run(deadline: request.deadline) { _ in
            let applied = replica.appliedSequence.load(ordering: .acquiring)
            let points = try replica.working { try request.ids.compactMap { try replica.read($0, parts: request.parts, within: request.filter) } }
            return ShardPoints(points: points, appliedSequence: applied)
        }
    }

    public func scroll(_ request: ShardScroll) async throws -> ScrollPage {
        let replica = try replica(request.shard)
        try await replica.meet(request.condition, deadline: request.deadline)
        return try await resources.searchPool.run(deadline: request.deadline) { _ in try replica.working { try replica.scroll(request) } }
    }

    public func count(_ shard: ShardID, within filter: PayloadFilter?, condition: ReadCondition, deadline: Deadline?) async throws -> ShardCount {
        let replica = try replica(shard)
        try await replica.meet(condition, deadline: deadline)
        guard let filter else { return replica.count() }
        return try await resources.searchPool.run(deadline: deadline) { _ in try replica.working { try replica.count(within: filter, deadline: deadline) } }
    }

    /// Searches the shards on as many threads as are free; the last one to finish merges. A shard that cannot answer is reported,
    /// a request that is wrong throws.
    public func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse {
        var request = request
        let refused = await refuseUnmet(&request)
        let cancellation = Cancellation()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                NodeSearch(request, refused: refused, node: self, RequestScope.current?.span, cancellation) { continuation.resume(with: $0) }
                    .start(on: resources.searchPool)
            }
        } onCancel: {
            cancellation.isCancelled.store(true, ordering: .relaxed)
        }
    }

    /// Runs several searches in one job, so that a thread is woken once for them.
    public func searchEach(_ requests: [NodeSearchRequest]) async -> [Result<NodeSearchResponse, NeedletailError>] {
        guard !requests.isEmpty else { return [] }
        var ready: [(request: NodeSearchRequest, refused: [ShardReport])] = []
        for request in requests {
            var request = request
            let refused = await refuseUnmet(&request)
            ready.append((request, refused))
        }
        let cancellation = Cancellation()
        return await withTaskCancellationHandler { [ready] in
            await withCheckedContinuation { continuation in
                let outcomes = SearchOutcomes(ready.count) { continuation.resume(returning: $0) }
                let searches = ready.enumerated().map { index, part in
                    let span = self.span(of: part.request)
                    return NodeSearch(part.request, refused: part.refused, node: self, span, cancellation) { outcome in
                        let outcome = outcome.mapError(Self.wrap)
                        span?.endCall(outcome.failure, isServer: true)
                        outcomes.set(outcome, at: index)
                    }
                }
                let jobs = min(resources.searchPool.threadCount, (searches.count + Self.searchesPerJob - 1) / Self.searchesPerJob)
                for job in 0..<jobs {
                    NodeSearch.start(searches[searches.count * job / jobs..<searches.count * (job + 1) / jobs], on: resources.searchPool)
                }
            }
        } onCancel: {
            cancellation.isCancelled.store(true, ordering: .relaxed)
        }
    }

    /// Of one of several that travel together; nil when it is not traced.
    private func span(of request: NodeSearchRequest) -> Span? {
        guard let tracer = resources.tracer, let trace = request.trace, let context = TraceContext(parents: [trace.parent], states: [trace.state]),
            context.isSampled else { return nil }
        return tracer.begin("search among others", .server, from: context)
    }

    /// At least, while there are threads without any.
    private static let searchesPerJob = 4

    /// Waits for replicas that have a condition to meet, and takes those out of the request that cannot.
    private func refuseUnmet(_ request: inout NodeSearchRequest) async -> [ShardReport] {
        guard request.conditions.contains(where: { !$0.isNone }) else { return [] }
        var refused: [ShardReport] = []
        var shards: [ShardID] = []
        for (shard, condition) in zip(request.shards, request.conditions) {
            do {
                try await replica(shard).meet(condition, deadline: request.deadline)
                shards.append(shard)
            } catch {
                refused.append(ShardReport(shard: shard, outcome: .failed(Self.wrap(error)), appliedSequence: 0))
            }
        }
        (request.shards, request.conditions) = (shards, [])
        return refused
    }
}

/// Whether nobody waits for an answer any more: another replica was quicker, or the client has gone.
private final class Cancellation: Sendable {
    let isCancelled = Atomic<Bool>(false)
}

/// Takes the outcomes of several searches, and passes them on when the last one has come.
private final class SearchOutcomes: Sendable {
    private let outcomes: Mutex<(found: [Result<NodeSearchResponse, NeedletailError>?], remaining: Int)>
    private let completion: @Sendable ([Result<NodeSearchResponse, NeedletailError>]) -> Void

    init(_ count: Int, completion: @escaping @Sendable ([Result<NodeSearchResponse, NeedletailError>]) -> Void) {
        outcomes = Mutex((Array(repeating: nil, count: count), count))
        self.completion = completion
    }

    /// Once for each index.
    func set(_ outcome: Result<NodeSearchResponse, NeedletailError>, at index: Int) {
        let all = outcomes.withLock { state in
            state.found[index] = outcome
            state.remaining -= 1
            return state.remaining == 0 ? state.found : nil
        }
        if let all { completion(all.compactMap(\.self)) }
    }
}

/// One search request on its way through the search pool.
private final class NodeSearch: Sendable {
    private struct State {
        /// By query, then by replica; empty while it has not answered.
        var lists: [[[ScoredPoint]]]
        /// The same of recall targets.
        var estimates: [[RecallEstimate]]
        var reports: [ShardReport] = []
        var work = SearchWork()
        var refusal: NeedletailError?
        var remaining: Int
    }

    private let request: NodeSearchRequest
    private let replicas: [Replica]
    private let cancellation: Cancellation
    private let state: Mutex<State>
    private let completion: @Sendable (Result<NodeSearchResponse, any Error>) -> Void
    private let began = ContinuousClock.now
    private let span: Span?

    init(
        _ request: NodeSearchRequest, refused: [ShardReport], node: LocalNode, _ span: Span?, _ cancellation: Cancellation,
        completion: @escaping @Sendable (Result<NodeSearchResponse, any Error>) -> Void
    ) {
        self.request = request
        self.span = span
        self.cancellation = cancellation
        self.completion = completion
        var found: [Replica] = []
        var reports = refused
        for shard in request.shards {
            do throws(NeedletailError) {
                found.append(try node.replica(shard))
            } catch {
                reports.append(ShardReport(shard: shard, outcome: .failed(error), appliedSequence: 0))
            }
        }
        replicas = found
        let queries = request.queries.count
        state = Mutex(
            State(
                lists: Array(repeating: Array(repeating: [], count: found.count), count: queries), estimates: Array(repeating: [], count: queries),
                reports: reports, remaining: found.count))
    }

    func start(on pool: WorkerPool) {
        if replicas.isEmpty { return answer([]) }
        if replicas.count == 1, isShort, pool.runHere({ run(0, &$0) }) { return }
        for index in replicas.indices {
            do throws(NeedletailError) {
                try pool.submit(deadline: request.deadline) { [self] scratch in run(index, &scratch) }
            } catch {
                // The node is overloaded, not the shard: the rest would only add to it.
                cancellation.isCancelled.store(true, ordering: .relaxed)
                state.withLock { $0.refusal = $0.refusal ?? error }
                if isLast() { completion(.failure(state.withLock(\.refusal) ?? error)) }
            }
        }
    }

    /// Several, one after the other in one job.
    static func start(_ searches: ArraySlice<NodeSearch>, on pool: WorkerPool) {
        // Those whose own deadline passes meanwhile notice it themselves.
        let deadlines = searches.compactMap(\.request.deadline)
        do throws(NeedletailError) {
            try pool.submit(requests: searches.count, deadline: deadlines.count == searches.count ? deadlines.max() : nil) { scratch in
                for search in searches { search.run(&scratch) }
            }
        } catch {
            for search in searches { search.completion(.failure(error)) }
        }
    }

    private func run(_ scratch: inout SearchScratch) {
        if replicas.isEmpty { return answer([]) }
        for index in replicas.indices { run(index, &scratch) }
    }

    /// Whether it walks through memory once, and not far.
    private var isShort: Bool {
        // What a filter admits may have to be found out first.
        guard request.filter == nil, request.queries.count == 1,
            let query = request.queries.first, !query.exact, query.recallTarget == nil, !query.parts.payload else { return false }
        let fields = replicas[0].fields
        return query.ef ?? 0 <= Self.shortWalk && fields.indices.contains(query.field)
            && fields[query.field].graph.field.index.rescore.source == .memory
    }

    private static let shortWalk = 128

    /// Searches one shard. Who is last merges, then fetches what the answers carry, for those points only that are in the answer.
    private func run(_ index: Int, _ scratch: inout SearchScratch) {
        search(index, &scratch)
        guard isLast() else { return }
        if let refusal = state.withLock(\.refusal) { return completion(.failure(refusal)) }
        do {
            answer(try results(&scratch))
        } catch {
            completion(.failure(error))
        }
    }

    private func isLast() -> Bool {
        state.withLock { state in
            state.remaining -= 1
            return state.remaining == 0
        }
    }

    private func search(_ index: Int, _ scratch: inout SearchScratch) {
        let replica = replicas[index]
        let shard = replica.assignment.shard
        let applied = replica.appliedSequence.load(ordering: .acquiring)
        let metrics = replica.resources.metrics
        let started = ContinuousClock.now
        scratch.isTimed = span != nil
        do {
            var found: [ShardHits] = []
            var work = SearchWork()
            var isTruncated = false
            try replica.checkReadable()
            for query in request.queries {
                // Looked at between two queries; a walk takes less than a cancellation does.
                if cancellation.isCancelled.load(ordering: .relaxed) { throw NeedletailError(.cancelled, "the search was cancelled") }
                let hits = try replica.search(query, within: request.filter, deadline: request.deadline, scratch: &scratch)
                found.append(hits)
                // What is known of recall is of searches without a filter.
                if !hits.isTruncated, request.filter == nil { replica.sample(query, found: hits.points) }
                work += hits.work
                isTruncated = isTruncated || hits.isTruncated
            }
            let ended = ContinuousClock.now
            var report = ShardReport(shard: shard, outcome: isTruncated ? .truncated : .complete, appliedSequence: applied)
            (report.waited, report.searched, report.work) = (began.duration(to: started), started.duration(to: ended), work)
            replica.worked(for: report.searched)
            metrics?.searched(queries: found.count, report, isTruncated: isTruncated)
            if let span { record(report, found, in: span, started, ended) }
            state.withLock { state in
                for (query, hits) in found.enumerated() {
                    state.lists[query][index] = hits.points
                    if let estimate = hits.estimate { state.estimates[query].append(estimate) }
                }
                state.work += work
                state.reports.append(report)
            }
        } catch {
            let error = LocalNode.wrap(error)
            metrics?.searchFailed(queries: request.queries.count)
            span?.record("search shard", from: began, [SpanAttribute("needletail.shard", .count(shard.number))], error: error.message)
            state.withLock { state in
                if error.code == .invalidArgument { state.refusal = error }
                state.reports.append(ShardReport(shard: shard, outcome: .failed(error), appliedSequence: applied))
            }
        }
    }

    /// A span for the shard, and in it what it waited and what each walk took.
    private func record(_ report: ShardReport, _ found: [ShardHits], in parent: Span, _ started: ContinuousClock.Instant, _ ended: ContinuousClock.Instant) {
        let attributes = [
            SpanAttribute("needletail.shard", .count(report.shard.number)), SpanAttribute("needletail.queries", .count(found.count)),
            SpanAttribute("needletail.distances", .count(report.work.distances)), SpanAttribute("needletail.hops", .count(report.work.hops)),
            SpanAttribute("needletail.truncated", .flag(report.outcome.isTruncated)),
        ]
        let span = parent.child("search shard", .internal, attributes, at: began)
        span.record("wait for a thread", from: began, to: started)
        var last = started
        for hits in found.prefix(Self.walksRecorded) {
            let walked = last + hits.walked
            span.record(
                hits.isExact ? "scan" : "walk", from: last, to: walked,
                [SpanAttribute("needletail.distances", .count(hits.work.distances)), SpanAttribute("needletail.hops", .count(hits.work.hops))])
            if hits.measured > .zero { span.record("rescore", from: walked, to: walked + hits.measured) }
            last = walked + hits.measured
        }
        span.end(at: ended)
    }

    /// Of a batch; the rest is in the sums.
    private static let walksRecorded = 8

    private func answer(_ results: [[ScoredPoint]]) {
        let state = state.withLock { $0 }
        completion(
            .success(
                NodeSearchResponse(
                    results: results.isEmpty ? Array(repeating: [], count: request.queries.count) : results,
                    reports: state.reports.sorted { $0.shard < $1.shard }, work: state.work, estimates: state.estimates.map(RecallEstimate.merge))))
    }

    /// By query.
    private func results(_ scratch: inout SearchScratch) throws -> [[ScoredPoint]] {
        let lists = state.withLock(\.lists)
        let began = span.map { _ in ContinuousClock.now }
        let merged = zip(request.queries, lists).map { query, lists in TopMerge.merge(lists, limit: query.limit) }
        let fetching = span.map { _ in ContinuousClock.now }
        var results: [[ScoredPoint]] = []
        for (index, query) in request.queries.enumerated() { results.append(try complete(merged[index], lists[index], query, &scratch)) }
        if let span, let began, let fetching {
            span.record("merge", from: began, to: fetching)
            if request.queries.contains(where: { $0.parts.payload || $0.parts.vectors }) { span.record("fetch", from: fetching) }
        }
        return results
    }

    /// Searches one after the other, when points that they found are gone before their parts are read.
    private static let searchAttempts = 3

    /// The points with what the answer carries of them: score, payload and vectors of one version. What was written since it was found is measured as it is
    /// now. Where that makes room for points that were not found, the replicas are searched again, for some more than are asked for.
    private func complete(
        _ merged: [ScoredPoint], _ lists: [[ScoredPoint]], _ query: SearchQuery, _ scratch: inout SearchScratch
    ) throws -> [ScoredPoint] {
        guard query.parts.payload || query.parts.vectors || request.filter != nil else { return merged }
        let answered = replicas.indices.filter { !lists[$0].isEmpty }
        var (merged, wider) = (merged, query)
        var attempt = 1
        while true {
            let (completed, lost) = try read(merged, query, &scratch)
            let best = TopMerge.best(of: completed, limit: query.limit)
            // What was not found is no better than the last of a full list.
            let isWhole = lost == 0 || merged.count < wider.limit || best.count == query.limit && best[best.count - 1].score >= merged[merged.count - 1].score
            if isWhole || cancellation.isCancelled.load(ordering: .relaxed) { return best }
            wider.limit = query.limit + 2 * lost + 8
            guard attempt < Self.searchAttempts, let again = searchAgain(answered, wider, &scratch) else {
                // What is there is an answer, too.
                if best.count < query.limit { noteTruncated(answered) }
                return best
            }
            merged = again
            attempt += 1
        }
    }

    /// Points as they are now, and how many of them are gone, or farther than they were found.
    private func read(_ merged: [ScoredPoint], _ query: SearchQuery, _ scratch: inout SearchScratch) throws -> (completed: [ScoredPoint], lost: Int) {
        var (completed, lost): ([ScoredPoint], Int) = ([], 0)
        for point in merged {
            let hash = point.id.placementHash
            guard let replica = replicas.first(where: { $0.assignment.range.contains(hash) }) else { continue }
            let now = try replica.read(point, for: query, within: request.filter, scratch: &scratch)
            if let now { completed.append(now) }
            if now.map({ $0.score < point.score }) ?? true { lost += 1 }
        }
        return (completed, lost)
    }

    /// nil when not all could be searched to the end.
    private func searchAgain(_ indices: [Int], _ query: SearchQuery, _ scratch: inout SearchScratch) -> [ScoredPoint]? {
        var lists: [[ScoredPoint]] = []
        for index in indices {
            let replica = replicas[index]
            let hits = try? replica.working { try replica.search(query, within: request.filter, deadline: request.deadline, scratch: &scratch) }
            guard let hits, !hits.isTruncated else { return nil }
            lists.append(hits.points)
            state.withLock { $0.work += hits.work }
        }
        return TopMerge.merge(lists, limit: query.limit)
    }

    /// There may be points that the answer has room for.
    private func noteTruncated(_ indices: [Int]) {
        let shards = Set(indices.map { replicas[$0].assignment.shard })
        state.withLock { state in
            for report in state.reports.indices where shards.contains(state.reports[report].shard) { state.reports[report].outcome = .truncated }
        }
    }
}

extension ShardReport.Outcome {
    fileprivate var isTruncated: Bool { if case .truncated = self { true } else { false } }
}
