import NeedletailClient
import Synchronization

/// What a load process has when it is ready to send: vectors, exact answers, connections.
final class PreparedLoad: Sendable {
    let scenario: Scenario
    let process: Int
    let processes: Int
    let set: LoadSet
    let live: LiveRows
    /// nil when answers are not judged.
    let judge: Judge?
    let clients: LoadClients
    /// The writes that this process was told of, by tenant.
    private let acknowledged: Mutex<[Session?]>
    /// The clock of everything that is measured here.
    let origin = ContinuousClock.now

    init(_ order: PrepareOrder, security: ClientSecurity) async throws {
        scenario = order.scenario
        (process, processes) = (order.process, order.processes)
        set = try LoadSet(scenario.data, seed: scenario.seed)
        let tenants = scenario.collection.tenants
        let isMoving = scenario.changesRows
        live = LiveRows(
            count: set.count, points: set.points, tenants: tenants, process: process, processes: processes, areMoving: isMoving)
        if scenario.data.truth {
            let limit = scenario.phases.map(\.search.limit).max() ?? 10
            let depth = isMoving ? max(100, 8 * limit) : limit
            let truth = await ExactTruth(set, rows: isMoving ? set.count : set.points, tenants: tenants, depth: depth)
            judge = Judge(set: set, truth: truth, live: live)
        } else {
            judge = nil
        }
        acknowledged = Mutex(Array(repeating: nil, count: tenants))
        clients = try await LoadClients(
            endpoints: order.endpoints, security: security, connections: scenario.client.connections, threads: scenario.client.threads)
    }

    /// Seconds since `origin`.
    var now: Double { Double(origin.duration(to: .now).nanoseconds) / 1e9 }

    func acknowledge(_ summary: WriteSummary, tenant: Int) {
        acknowledged.withLock { all in
            guard all[tenant] != nil else {
                all[tenant] = summary.session
                return
            }
            all[tenant]?.merge(summary.session)
        }
    }

    /// What an answer to a request sent now should have seen.
    func seen(tenant: Int) -> Session? { acknowledged.withLock { $0[tenant] } }

    /// Whether a shard answered from before a write that is in `seen`.
    static func isStale(_ coverage: Coverage, than seen: Session?) -> Bool {
        guard let seen, let session = coverage.session, session.incarnation == seen.incarnation else { return false }
        return session.sequences.contains { shard, sequence in sequence < seen.sequences[shard] ?? 0 }
    }
}
