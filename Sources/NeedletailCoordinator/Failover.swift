internal import Logging
public import NeedletailCluster
public import NeedletailCore
internal import Synchronization

/// Lets the machine that decides about primaries know what happens, and does what it decides: the leader's half of replication.
final class Failover: Sendable {
    private struct State {
        var machine: FailoverMachine
        /// In which the machine was told that this coordinator leads.
        var term: UInt64?
        /// The epochs on which primaries were given leases, and how often.
        var granted: [ShardID: (epoch: UInt64, count: Int)] = [:]
        /// Primaries that wait for their proposal.
        var waiters: [ShardID: [(proposal: Proposal, continuation: CheckedContinuation<Void, any Error>)]] = [:]
    }

    private let state: Mutex<State>
    private let began = ContinuousClock.now
    private let actions: AsyncStream<FailoverMachine.Action>
    private let queue: AsyncStream<FailoverMachine.Action>.Continuation

    /// - Parameter lease: of nodes, after which their shards are led by others.
    init(lease: Duration) {
        state = Mutex(State(machine: FailoverMachine(lease: lease)))
        (actions, queue) = AsyncStream.makeStream()
    }

    private var now: Duration { began.duration(to: .now) }

    func receive(_ event: FailoverMachine.Event) {
        state.withLock { state in for action in state.machine.receive(event, now: now) { queue.yield(action) } }
    }

    /// Whether the machine has not been told this term yet.
    func isNews(_ term: UInt64?) -> Bool {
        state.withLock { state in
            defer { state.term = term }
            return state.term != term
        }
    }

    /// This coordinator leads until then at least, by its own clock.
    func renew(until end: ContinuousClock.Instant) { receive(.renewed(until: began.duration(to: end))) }

    /// A heartbeat came: the epochs that the node has its lease on for it, nil when this coordinator does not lead.
    func grant(_ node: NodeID) -> [ShardID: UInt64]? {
        state.withLock { state in
            var granted: [ShardID: UInt64]?
            for action in state.machine.receive(.heartbeat(node, number: 0), now: now) {
                if case .grant(_, _, let epochs) = action { granted = epochs } else { queue.yield(action) }
            }
            for (shard, epoch) in granted ?? [:] {
                let known = state.granted[shard]
                state.granted[shard] = (epoch, known?.epoch == epoch ? (known?.count ?? 0) + 1 : 1)
            }
            return granted
        }
    }

    /// Whether a primary was given a lease on this epoch, and was heard of after that.
    func isLed(_ shard: ShardID, epoch: UInt64) -> Bool { state.withLock { $0.granted[shard].map { $0.epoch == epoch && $0.count > 1 } ?? false } }

    /// Returns when the proposal was made.
    /// - Throws: `aborted` when it was not.
    func propose(_ proposal: Proposal, for shard: ShardID, by node: NodeID) async throws {
        try await withCheckedThrowingContinuation { continuation in
            state.withLock { state in
                state.waiters[shard, default: []].append((proposal, continuation))
                for action in state.machine.receive(.proposed(shard, node, proposal), now: now) { queue.yield(action) }
            }
        }
    }

    func settle(_ proposal: Proposal, of shard: ShardID, _ result: Result<Void, any Error>) {
        let waiters = state.withLock { state in
            let all = state.waiters.removeValue(forKey: shard) ?? []
            let rest = all.filter { $0.proposal != proposal }
            if !rest.isEmpty { state.waiters[shard] = rest }
            return all.filter { $0.proposal == proposal }
        }
        for waiter in waiters { waiter.continuation.resume(with: result) }
    }

    /// Until cancelled: carries out what is decided. Actions on different shards do not wait for each other.
    func run(_ coordinator: Coordinator, logger: Logger) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                while !Task.isCancelled {
                    self.receive(.tick)
                    try? await Task.sleep(for: .milliseconds(50))
                }
            }
            group.addTask {
                await withDiscardingTaskGroup { steps in
                    for await action in self.actions { steps.addTask { await coordinator.perform(action, logger: logger) } }
                }
            }
        }
        let error = NeedletailError(.unavailable, "the coordinator is stopping; ask another one")
        let waiters = state.withLock { state in
            defer { state.waiters = [:] }
            return state.waiters.values.flatMap { $0 }
        }
        for waiter in waiters { waiter.continuation.resume(throwing: error) }
    }
}

extension Coordinator: LeaderOperations {
    public func propose(_ proposal: Proposal, for shard: ShardID, by node: NodeID) async throws {
        try await failover.propose(proposal, for: shard, by: node)
    }

    public func resign(_ shard: ShardID, by node: NodeID, epoch: UInt64) async throws { failover.receive(.resigned(shard, node, epoch: epoch)) }

    func perform(_ action: FailoverMachine.Action, logger: Logger) async {
        switch action {
        case .grant: break
        case .fence(let shard, let node, let fence): await self.fence(shard, node, fence)
        case .swap(let shard, let swap): await self.swap(shard, swap, logger)
        case .refuse(let shard, let proposal):
            failover.settle(proposal, of: shard, .failure(NeedletailError(.aborted, "shard \(shard) has changed meanwhile; see how it is, then propose again")))
        case .read(let shard):
            if let (_, place) = place(of: shard) { failover.receive(.place(shard, place)) } else { failover.receive(.removed(shard)) }
        case .waiting(let shard, let reason):
            logger.warning("\(reason.message)", metadata: ["shard": "\(shard)"])
            await note("failover", reason.message)
        }
    }

    private func fence(_ shard: ShardID, _ node: NodeID, _ fence: Fence) async {
        guard let link = state.withLock({ $0.workers[node] }) else { return }
        do {
            let answer = try await link.replication.fence(shard, fence, deadline: .after(Self.fenceTime))
            failover.receive(.fenced(shard, answer))
        } catch {
            switch Self.wrap(error).code {
            case .aborted: failover.receive(.fenceRefused(shard, node, fence))
            case .notFound, .dataLoss, .failedPrecondition: failover.receive(.unable(shard, node, fence))
            default: break  // It is asked again while its lease holds.
            }
        }
    }

    private static let fenceTime = Duration.milliseconds(500)

    /// Changes the shard's place in the metadata, and tells those concerned.
    private func swap(_ shard: ShardID, _ swap: FailoverMachine.Swap, _ logger: Logger) async {
        do {
            let entry = try await changePlace(of: shard, from: swap.version) { $0 = swap.place }
            if let proposal = swap.proposal {
                failover.settle(proposal, of: shard, .success(()))
            } else {
                logger.info(
                    "a replica was made primary",
                    metadata: ["shard": "\(shard)", "node": "\(swap.place.primary)", "epoch": "\(swap.place.epoch)"])
            }
            await announce(swap.place, of: entry)
            await note(swap, entry)
        } catch {
            failover.receive(.swapFailed(shard, swap))
            if let proposal = swap.proposal { failover.settle(proposal, of: shard, .failure(error)) }
        }
    }

    /// The collection and the place of a shard.
    func place(of shard: ShardID) -> (CollectionEntry, ShardPlace)? {
        state.withLock { state in
            for entry in state.collections.values where entry.incarnation == shard.incarnation && entry.state != .deleting {
                return entry.shards.first { $0.number == shard.number }.map { (entry, $0) }
            }
            return nil
        }
    }

    /// Changes one shard's place by compare-and-swap, whatever else of the collection changes meanwhile.
    /// - Throws: `aborted` when the place has another version, what the metadata store says.
    func changePlace(of shard: ShardID, from version: UInt64, _ change: (inout ShardPlace) -> Void) async throws -> CollectionEntry {
        for _ in 0..<20 {
            guard let (entry, place) = place(of: shard), place.version == version else { break }
            var (changed, next) = (entry, place)
            change(&next)
            changed.shards = entry.shards.map { $0.number == shard.number ? next : $0 }
            try changed.validate()
            if try await store(changed, replacing: entry) { return changed }
        }
        throw NeedletailError(.aborted, "shard \(shard) has changed meanwhile; see how it is, then try again")
    }

    /// Tells the nodes of a shard its new place, without waiting for their heartbeats. Those that are away learn it from them.
    func announce(_ place: ShardPlace, of entry: CollectionEntry) async {
        let assignment = assignment(place, of: entry)
        await withTaskGroup(of: Void.self) { group in
            for node in place.replicas where state.withLock({ $0.membership.isAlive(node, now: .now) }) {
                group.addTask { try? await self.tell(assignment, on: node, .after(.seconds(2))) }
            }
        }
    }
}
