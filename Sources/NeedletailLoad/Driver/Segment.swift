import NeedletailClient
import Synchronization

/// A segment under way.
struct Segment: Sendable {
    let order: SegmentOrder
    let phase: Scenario.Phase
    let load: PreparedLoad
    let recorder: SliceRecorder
    /// By the load's clock.
    let begin: Double
    let isStopped: @Sendable () -> Bool

    private var requests: Requests { Requests(load: load, phase: phase, begin: begin) }

    // MARK: Open loop

    /// Requests start when their time has come, whatever became of earlier ones.
    func runOpen() async {
        let thread = PaceThread()
        let places = Outstanding(limit: load.scenario.client.outstanding)
        await withTaskExecutorPreference(thread) {
            await withDiscardingTaskGroup { group in
                self.pace(places) { request, intended in
                    let connection = self.load.clients.next
                    group.addTask(executorPreference: connection.executor) {
                        let outcome = await self.requests.perform(request, intended: intended, over: connection)
                        if let outcome { self.recorder.record(outcome) }
                        places.leave()
                    }
                }
                // Answers may take as long as their deadlines, but not when the load is to stop.
                let latest = self.load.now + 1
                while places.count > 0 {
                    try? await Task.sleep(for: .milliseconds(5))
                    if self.isStopped() || Task.isCancelled, self.load.now > latest { break }
                }
                group.cancelAll()
            }
        }
        thread.end()
    }

    /// Runs on a thread of its own and blocks it.
    private func pace(_ places: Outstanding, start: (RequestPlan.Request, Double) -> Void) {
        var plan = RequestPlan(phase, load.scenario.collection, queries: load.set.queryCount, seed: order.seed, branch: load.process)
        let arrivals = Arrivals(
            phase.arrivals, rate: order.rate, process: load.process, processes: load.processes, seed: order.seed)
        let origin = load.origin.advanced(by: .seconds(begin))
        let isStopped = { self.isStopped() || Task.isCancelled }
        for intended in arrivals {
            guard intended < order.seconds, PaceThread.sleep(until: origin.advanced(by: .seconds(intended)), unless: isStopped)
            else { return }
            guard let waited = places.take(unless: isStopped) else { return }
            if waited { recorder.held(at: intended) }
            start(plan.next(), intended)
        }
    }

    // MARK: Closed loop

    /// Each worker sends when it has its answer. So a server that stalls is asked less, and the stall is measured once: kept for comparison.
    func runClosed() async {
        let workers = (0..<phase.workers).filter { $0 % load.processes == load.process }
        await withDiscardingTaskGroup { group in
            for worker in workers {
                let connection = load.clients.next
                group.addTask(executorPreference: connection.executor) {
                    var plan = RequestPlan(
                        phase, load.scenario.collection, queries: load.set.queryCount, seed: order.seed, branch: worker)
                    while !isStopped(), !Task.isCancelled {
                        let now = load.now - begin
                        guard now < order.seconds else { return }
                        guard let outcome = await requests.perform(plan.next(), intended: now, over: connection) else { return }
                        recorder.record(outcome)
                        // Whoever is refused at once would otherwise do nothing but ask.
                        if outcome.failure != nil { try? await Task.sleep(for: .milliseconds(10)) }
                    }
                }
            }
        }
    }

    // MARK: Bulk load

    /// Writes all points, some batches at a time. A batch that fails is sent again.
    func bulkLoad() async throws {
        let plan = phase.bulk ?? Scenario.Bulk(streams: 4, points: 500)
        let batches = (load.set.points + plan.points - 1) / plan.points
        let mine = (0..<batches).filter { $0 % load.processes == load.process }
        let turns = Turns(count: mine.count)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<plan.streams {
                let connection = load.clients.next
                group.addTask {
                    while !isStopped(), !Task.isCancelled, let turn = turns.take() {
                        try await write(mine[turn] * plan.points..<min(load.set.points, (mine[turn] + 1) * plan.points), connection)
                    }
                }
            }
            for try await _ in group {}
        }
    }

    private func write(_ rows: Range<Int>, _ connection: LoadClients.Connection) async throws {
        let tenants = load.scenario.collection.tenants
        for tenant in 0..<tenants {
            let own = rows.filter { $0 % tenants == tenant }
            guard !own.isEmpty else { continue }
            let packed = PackedRows(ids: own.map { UInt64($0) }, rows: load.set.bytes(of: own))
            var attempts = 0
            while !isStopped(), !Task.isCancelled {
                let sent = load.now - begin
                var outcome = SliceRecorder.Outcome(
                    kind: RequestPlan.kind(.load, tenant: tenant, load.scenario.collection), intended: sent, sent: sent, ended: 0)
                do {
                    let summary = try await connection.operations.upsert(
                        packed, collection: load.scenario.collection.names[tenant], deadline: .after(.seconds(60)))
                    outcome.ended = load.now - begin
                    outcome.points = own.count
                    load.acknowledge(summary, tenant: tenant)
                    recorder.record(outcome)
                    break
                } catch {
                    outcome.ended = load.now - begin
                    (outcome.failure, outcome.message) = (Requests.name(error), Requests.message(error))
                    recorder.record(outcome)
                    attempts += 1
                    guard attempts < 20, !isStopped(), !Task.isCancelled else { throw error }
                    try await Task.sleep(for: .milliseconds(min(1000, 50 * attempts)))
                }
            }
        }
    }
}

/// Hands out 0 ..< `count`, each once, to any task.
private final class Turns: Sendable {
    private let count: Int
    private let next = Atomic<Int>(0)

    init(count: Int) { self.count = count }

    func take() -> Int? {
        let turn = next.wrappingAdd(1, ordering: .relaxed).oldValue
        return turn < count ? turn : nil
    }
}
