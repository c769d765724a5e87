internal import NeedletailAPI
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailGRPC
internal import NeedletailHTTP2
internal import Synchronization

/// A coordinator that heartbeats go to.
struct KnownCoordinator: Sendable {
    var address: String
    /// Named at the start, so that it is asked for ever.
    var isConfigured: Bool
    var membership: any MembershipOperations
    var leader: any LeaderOperations
    var close: @Sendable () async -> Void

    static func connect(
        _ address: String, isConfigured: Bool, _ credentials: TLSCredentials?, _ threads: TransportThreads
    ) throws -> KnownCoordinator {
        let (host, port) = try Endpoint.parse(address)
        var reconnecting = GRPCClientConfiguration()
        // A coordinator that is back should hear of its workers soon.
        reconnecting.maxBackoff = .milliseconds(500)
        reconnecting.tls = credentials.map { .client($0, wanted: .coordinator) }
        let client = GRPCClient(host: host, port: port, configuration: reconnecting, group: threads.group)
        return KnownCoordinator(
            address: address, isConfigured: isConfigured, membership: RemoteMembership(client), leader: RemoteLeader(client),
            close: { await client.close() })
    }
}

/// The coordinators that a worker talks to: those named at its start, and those that any of them has named.
final class KnownCoordinators: LeaderOperations {
    typealias Connect = @Sendable (_ address: String, _ isConfigured: Bool) throws -> KnownCoordinator

    private struct State {
        var known: [String: KnownCoordinator] = [:]
        /// When each answered last.
        var answers: [String: ContinuousClock.Instant] = [:]
    }

    /// A coordinator that no list names and that was silent for so long has gone. One that answers is still told what there is: its entry
    /// may only have been late to be renewed, and without heartbeats it would take all workers for dead.
    private static let memory = Duration.seconds(10)

    private let connect: Connect
    private let state: Mutex<State>
    private let found: AsyncStream<KnownCoordinator>
    private let finding: AsyncStream<KnownCoordinator>.Continuation

    /// - Throws: `invalidArgument` for an address that is none.
    init(_ addresses: [String], connect: @escaping Connect) throws {
        self.connect = connect
        let configured = try addresses.map { ($0, try connect($0, true)) }
        state = Mutex(State(known: Dictionary(configured) { first, _ in first }))
        // No more than there are coordinators, which are few.
        (found, finding) = AsyncStream.makeStream()
        for coordinator in all { finding.yield(coordinator) }
    }

    private let leading = Mutex<KnownCoordinator?>(nil)

    /// It has answered a heartbeat as the leader.
    func setLeader(_ coordinator: KnownCoordinator) { leading.withLock { $0 = coordinator } }

    fileprivate func leader() throws(NeedletailError) -> any LeaderOperations {
        guard let leader = leading.withLock({ $0?.leader }) else {
            throw NeedletailError(.unavailable, "no coordinator has answered as the leader yet; it is asked again")
        }
        return leader
    }

    var all: [KnownCoordinator] { state.withLock { Array($0.known.values) } }

    /// Those known from the start and then those found, each once; for one reader, which ends it by being cancelled.
    var arrivals: AsyncStream<KnownCoordinator> { found }

    func isKnown(_ address: String) -> Bool { state.withLock { $0.known[address] != nil } }

    func answered(_ coordinator: KnownCoordinator, at now: ContinuousClock.Instant = .now) {
        state.withLock { $0.answers[coordinator.address] = now }
    }

    /// Takes the list that a leader gave, which is complete, or another coordinator, whose list may be old.
    func learn(_ addresses: [String], isComplete: Bool, at now: ContinuousClock.Instant = .now) {
        state.withLock { state in
            for address in addresses where state.known[address] == nil {
                // One that cannot be an address is some coordinator's mistake.
                guard let coordinator = try? connect(address, false) else { continue }
                state.known[address] = coordinator
                finding.yield(coordinator)
            }
            guard isComplete, !addresses.isEmpty else { return }
            let answering = state.answers.filter { $0.value.duration(to: now) < Self.memory }
            state.known = state.known.filter { $0.value.isConfigured || addresses.contains($0.key) || answering[$0.key] != nil }
            state.answers = answering
        }
    }
}

extension KnownCoordinators {
    func propose(_ proposal: Proposal, for shard: ShardID, by node: NodeID) async throws {
        try await leader().propose(proposal, for: shard, by: node)
    }

    func resign(_ shard: ShardID, by node: NodeID, epoch: UInt64) async throws { try await leader().resign(shard, by: node, epoch: epoch) }
}
