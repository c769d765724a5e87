import NeedletailClient

/// Performs single requests and says how they went.
struct Requests: Sendable {
    let load: PreparedLoad
    let phase: Scenario.Phase
    /// The segment's start, by the load's clock.
    let begin: Double

    typealias Outcome = SliceRecorder.Outcome

    /// - Returns: nil when the request was cancelled here.
    func perform(_ request: RequestPlan.Request, intended: Double, over connection: LoadClients.Connection) async -> Outcome? {
        let kind = RequestPlan.kind(request.operation, tenant: request.tenant, load.scenario.collection)
        let sent = load.now - begin
        var outcome = Outcome(kind: kind, intended: intended, sent: max(sent, intended), ended: 0)
        do {
            switch request.operation {
            case .search, .batch: try await search(request, connection, &outcome)
            case .upsert, .load: try await upsert(request, connection, &outcome)
            case .delete: try await delete(request, connection, &outcome)
            }
        } catch {
            (outcome.failure, outcome.message) = (Self.name(error), Self.message(error))
            if Task.isCancelled { return nil }
        }
        if outcome.ended == 0 { outcome.ended = load.now - begin }
        outcome.ended = max(outcome.ended, outcome.sent)
        return outcome
    }

    static func name(_ error: any Error) -> String {
        guard let error = error as? NeedletailError else { return error is CancellationError ? "cancelled" : "unknown" }
        return "\(error.code)"
    }

    static func message(_ error: any Error) -> String { (error as? NeedletailError)?.message ?? "\(error)" }

    private func search(_ request: RequestPlan.Request, _ connection: LoadClients.Connection, _ outcome: inout Outcome) async throws
    {
        let count = request.operation == .batch ? phase.search.queries : 1
        let numbers = (0..<count).map { (request.query + $0) % load.set.queryCount }
        let spec = phase.search
        let queries = numbers.map { number in
            NamedQuery(
                vector: load.set.query(number), limit: spec.limit, ef: spec.ef > 0 ? spec.ef : nil,
                recallTarget: spec.recallTarget > 0 ? spec.recallTarget : nil)
        }
        let seen = load.seen(tenant: request.tenant)
        let sent = load.now
        let answer = try await connection.operations.search(
            PointsSearch(
                collection: load.scenario.collection.names[request.tenant], queries: queries, allowPartial: spec.partial,
                read: ReadOptions(consistency: spec.read == "primary" ? .primary : .anyInSync),
                deadline: .after(.seconds(spec.deadline))))
        outcome.ended = load.now - begin
        outcome.queries = count
        outcome.uncovered = answer.coverage.shards.contains { if case .complete = $0.outcome { false } else { true } }
        outcome.stale = PreparedLoad.isStale(answer.coverage, than: seen)
        guard let judge = load.judge else { return }
        for (number, found) in zip(numbers, answer.results) {
            let verdict = judge.verdict(
                query: number, tenant: request.tenant, answer: found.map(\.id), limit: spec.limit, sent: sent)
            outcome.right += verdict.right
            outcome.wanted += verdict.wanted
            outcome.deletedFound = outcome.deletedFound || verdict.deletedFound
        }
    }

    private func upsert(_ request: RequestPlan.Request, _ connection: LoadClients.Connection, _ outcome: inout Outcome) async throws
    {
        let rows = load.live.takeUpserts(phase.write.points, tenant: request.tenant, now: load.now, place: request.place)
        guard !rows.isEmpty else { return }
        let states = load.live.states(of: rows.map(Int.init), since: .infinity)
        let packed = PackedRows(ids: rows.map { UInt64($0) }, rows: load.set.bytes(of: rows.map(Int.init)))
        // Of rows that are written again as they are nothing becomes uncertain.
        let moving = zip(rows, states).filter { $1 == .unsettled }.map(\.0)
        do {
            let summary = try await connection.operations.upsert(
                packed, collection: load.scenario.collection.names[request.tenant], deadline: .after(.seconds(phase.write.deadline))
            )
            outcome.ended = load.now - begin
            outcome.points = Int(summary.applied)
            load.acknowledge(summary, tenant: request.tenant)
            load.live.settle(moving, .live, now: load.now)
        } catch {
            load.live.settle(moving, .unsettled, now: load.now)
            throw error
        }
    }

    private func delete(_ request: RequestPlan.Request, _ connection: LoadClients.Connection, _ outcome: inout Outcome) async throws
    {
        let rows = load.live.takeDeletes(phase.write.points, tenant: request.tenant, now: load.now)
        guard !rows.isEmpty else { return }
        do {
            let summary = try await connection.operations.write(
                PointsWrite(
                    collection: load.scenario.collection.names[request.tenant],
                    operations: rows.map { .delete(.number(UInt64($0))) },
                    deadline: .after(.seconds(phase.write.deadline))))
            outcome.ended = load.now - begin
            outcome.points = Int(summary.applied)
            load.acknowledge(summary, tenant: request.tenant)
            load.live.settle(rows, .gone, now: load.now)
        } catch {
            load.live.settle(rows, .unsettled, now: load.now)
            throw error
        }
    }
}
