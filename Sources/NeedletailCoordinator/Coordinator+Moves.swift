internal import Logging
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailMetadata
internal import NeedletailTelemetry
internal import Synchronization

/// Goes on with moves, on the leader. What is to be done says `Mover`; whoever leads next finds it in the metadata.
extension Coordinator {
    /// Until cancelled. Moves do not wait for each other.
    func runMoves(logger: Logger) async {
        await withDiscardingTaskGroup { steps in
            while !Task.isCancelled {
                for move in dueMoves() {
                    steps.addTask {
                        await self.advance(move, logger)
                        self.state.withLock { _ = $0.advancing.remove(move.id) }
                    }
                }
                await forgetOldMoves()
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Those to be gone on with now; each is marked as being so.
    private func dueMoves() -> [Move] {
        guard isLeader else { return [] }
        return state.withLock { state in
            let moves = state.copy.operations.values.values.filter { !$0.step.hasEnded }
            let startable = Set(policy.limits.startable(moves, isHeld: state.isPaused).map(\.id))
            let due = moves.filter { move in
                if move.step == .adding { return startable.contains(move.id) }
                // A pause holds moves where they are; what was cancelled, or has only files to remove, ends.
                return !state.isPaused || move.isCancelled || move.dropped != nil
            }
            return due.sorted { $0.id < $1.id }.filter { state.advancing.insert($0.id).inserted }
        }
    }

    private func advance(_ move: Move, _ logger: Logger) async {
        var move = move
        // As far as it goes without waiting for anybody.
        while let next = await step(move, logger) { move = next }
    }

    /// The move as it is after one step; nil when there is nothing more to be done now.
    private func step(_ move: Move, _ logger: Logger) async -> Move? {
        guard state.withLock({ $0.copy.operations.values[move.key] }) == move else { return nil }
        let known = place(of: move.shard)
        let now = Mover.Circumstances(
            place: known?.1, minInSync: known?.0.spec.minInSync ?? 1, lost: state.withLock { lostNodes($0) },
            isLed: known.map { failover.isLed(move.shard, epoch: $0.1.epoch) } ?? false)
        do {
            let action = Mover.next(move, now)
            return try await step(of: TracedOperation(move)) { try await perform(action, of: move, known, logger) }
        } catch {
            logger.debug("a move waits: \(error)", metadata: ["operation": "\(move.key)"])
            return nil
        }
    }

    private func perform(
        _ action: Mover.Order, of move: Move, _ known: (CollectionEntry, ShardPlace)?, _ logger: Logger
    ) async throws -> Move? {
        switch action {
        case .change(let next, let place): return try await change(move, to: next, place, logger)
        case .drop(let node):
            // The leader that took the replica out of the shard may have died before it said so.
            if let (entry, place) = known { await announce(place, of: entry) }
            try await ask(node, about: [move.shard]) { try await $0.dropReplica(move.shard, deadline: .after(.seconds(60))) }
            state.withLock { $0.membership.dropped(move.shard, by: node) }
            guard case .change(let next, let place) = Mover.dropped(move) else { return nil }
            return try await change(move, to: next, place, logger)
        case .handOver(let heir):
            if let place = known?.1 { await handOver(move, place, to: heir) }
            return nil
        case .wait, .nothing: return nil
        }
    }

    /// Between two requests to a primary to hand over.
    private static let handOverPause = Duration.seconds(2)

    private func handOver(_ move: Move, _ place: ShardPlace, to heir: NodeID) async {
        let link = state.withLock { state -> WorkerLink? in
            if let last = state.handOvers[move.id], last.duration(to: .now) < Self.handOverPause { return nil }
            state.handOvers[move.id] = .now
            return state.workers[place.primary]
        }
        guard let link else { return }
        failover.receive(.preferred(move.shard, heir, epoch: place.epoch))
        try? await link.replication.handOver(move.shard, epoch: place.epoch, deadline: .after(.seconds(1)))
    }

    /// The next state of a move, with that of its shard's place if it changes, in one transaction.
    private func change(_ move: Move, to next: Move, _ place: ShardPlace?, _ logger: Logger) async throws -> Move? {
        var next = next
        next.changedMilliseconds = Self.milliseconds()
        guard let entry = try await store(next, replacing: move, place) else { return nil }
        if let place { await announce(place, of: entry) }
        if next.step == .done, next.bytes == 0 || next.dropped == nil { state.withLock { $0.handOvers[move.id] = nil } }
        let message = Self.account(of: next)
        logger.info("\(message)", metadata: ["operation": "\(next.key)"])
        if next.step.hasEnded || move.step == .adding { await note("move", message) }
        return next.step.hasEnded ? nil : next
    }

    /// - Returns: the collection as it is then; nil when the move or the place were no longer as they are named.
    func store(_ move: Move, replacing old: Move?, _ place: ShardPlace? = nil) async throws -> CollectionEntry? {
        let path = MetadataCopy.operationsPrefix + move.key
        var comparisons = [MetadataComparison.absent(path)]
        if let old {
            guard let revision = state.withLock({ $0.copy.operations.values[old.key] == old ? $0.copy.operations.revision(old.key) : nil }) else { return nil }
            comparisons = [.revision(path, revision)]
        }
        var operations = [MetadataOperation.put(path, move.encoded)]
        let known = self.place(of: move.shard)
        var changed = known?.0
        if let place {
            guard let (entry, current) = known, current.version + 1 == place.version,
                let revision = state.withLock({ $0.collections[entry.spec.name] == entry ? $0.copy.collections.revision(entry.spec.name) : nil })
            else { return nil }
            changed?.shards = entry.shards.map { $0.number == place.number ? place : $0 }
            try changed?.validate()
            let key = MetadataCopy.collectionsPrefix + entry.spec.name
            comparisons.append(.revision(key, revision))
            operations.append(.put(key, changed?.encoded ?? []))
        }
        let outcome = try await transactAsLeader(if: comparisons, operations)
        guard outcome.succeeded else { return nil }
        state.withLock { state in
            state.copy.operations.change(move.key, to: move, revision: outcome.revision)
            if place != nil, let changed { state.copy.collections.change(changed.spec.name, to: changed, revision: outcome.revision) }
        }
        if place != nil, let changed { tellFailover(changed) }
        ended(TracedOperation(move))
        return changed ?? CollectionEntry.gone(move)
    }

    /// How many moves that have ended are kept.
    private static let keptMoves = 64

    private func forgetOldMoves() async {
        guard isLeader else { return }
        let ended = state.withLock { $0.copy.operations.values.values.filter(\.step.hasEnded) }
        guard ended.count > Self.keptMoves else { return }
        for move in ended.sorted(by: { ($0.changedMilliseconds, $0.id) < ($1.changedMilliseconds, $1.id) }).prefix(ended.count - Self.keptMoves) {
            guard let outcome = try? await transactAsLeader(if: [], [.delete(MetadataCopy.operationsPrefix + move.key)]), outcome.succeeded else { return }
            state.withLock { $0.copy.operations.change(move.key, to: nil, revision: outcome.revision) }
        }
    }

    /// Of this coordinator's clock, since 1970.
    static func milliseconds() -> Int64 { WallClock.microseconds() / 1000 }

    // MARK: Events

    /// Keeps for people what the leader did. Best effort: nothing depends on it.
    func note(_ kind: String, _ message: String) async {
        guard isLeader else { return }
        metrics?.noted(kind)
        let number = state.withLock { state in
            state.lastEvent = max(state.lastEvent, state.copy.events.values.values.map(\.number).max() ?? 0) + 1
            return state.lastEvent
        }
        let event = ClusterEvent(number: number, milliseconds: Self.milliseconds(), kind: kind, message: message)
        guard let outcome = try? await transactAsLeader(if: [], [.put(MetadataCopy.eventsPrefix + event.key, event.encoded)]), outcome.succeeded else { return }
        state.withLock { $0.copy.events.change(event.key, to: event, revision: outcome.revision) }
    }

    /// What a failover or a primary's proposal changed.
    func note(_ swap: FailoverMachine.Swap, _ entry: CollectionEntry) async {
        let shard = "shard \(swap.place.number) of \(entry.spec.name)"
        if swap.proposal == nil {
            await note("failover", "\(shard): node \(swap.place.primary) is primary, epoch \(swap.place.epoch)")
        } else {
            await note("in-sync", "\(shard): in sync are \(swap.place.inSync.map(\.description).joined(separator: ", "))")
        }
    }

    static func account(of move: Move) -> String {
        let shard = "shard \(move.shard.number) of \(move.collection)"
        let what =
            switch (move.from, move.to, move.isLeadOnly) {
            case (_, let to?, true): "\(shard): primary to node \(to)"
            case (let from?, let to?, _): "\(shard) from node \(from) to \(to)"
            case (nil, let to?, _): "\(shard): another replica, on node \(to)"
            case (let from?, nil, _): "\(shard): one replica fewer, not on node \(from)"
            case (nil, nil, _): shard
            }
        return "\(what): \(move.step.name) (\(move.problem.isEmpty ? move.reason : move.problem))"
    }
}

extension CollectionEntry {
    /// In place of a collection that was deleted during a move.
    fileprivate static func gone(_ move: Move) -> CollectionEntry {
        CollectionEntry(
            spec: CollectionSpec(name: move.collection, fields: [], shardCount: 0), incarnation: move.shard.incarnation, state: .deleting, shards: [])
    }
}

extension Coordinator.State {
    var isPaused: Bool { copy.moveSettings.values.values.first?.isPaused ?? false }

    /// Replicas whose files a node may remove.
    func dropped(on node: NodeID) -> [ShardID] {
        let resharded = reshardings.filter { $0.nodes.contains(node) }.flatMap(\.dropped)
        // Before the request to remove it comes, which a node that is away never gets.
        let deleted = collections.values.filter { $0.state == .deleting }.flatMap { entry in
            entry.shards.filter { $0.replicas.contains(node) }.map(entry.shardID)
        }
        return (copy.operations.values.values.filter { $0.dropped == node }.map(\.shard) + resharded + deleted).sorted()
    }
}

extension Move.Step {
    var name: String {
        switch self {
        case .adding: "adding"
        case .catchingUp: "catching up"
        case .leading: "leading"
        case .removing: "removing"
        case .dropping: "dropping"
        case .done: "done"
        case .undoing: "undoing"
        case .undropping: "undropping"
        case .cancelled: "cancelled"
        case .failed: "failed"
        }
    }
}
