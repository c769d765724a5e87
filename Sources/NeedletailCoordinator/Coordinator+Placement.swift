internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

/// Where replicas ought to be: what the leader plans by itself, and what operators ask for.
extension Coordinator {
    /// Begins what is due, on the leader: called on the clock. No more at a time than may be under way, so that each next move is planned
    /// with what has happened since.
    func planMoves() async {
        guard isLeader else { return }
        let (planned, open) = state.withLock { state in
            noteHealth(&state)
            let open = state.copy.operations.values.values.count { !$0.step.hasEnded && $0.dropped == nil }
            return (state.isPaused ? [] : PlacementPlanner.plan(picture(state)).filter { heldBack($0, state) == nil }, open)
        }
        for planned in planned.prefix(max(0, policy.limits.atOnce - open)) { _ = try? await begin(planned) }
    }

    private func begin(_ planned: PlannedMove) async throws -> Move {
        let move = Move(planned, id: UInt64.random(in: 1...UInt64.max), nowMilliseconds: Self.milliseconds())
        guard try await store(move, replacing: nil) != nil else {
            throw NeedletailError(.aborted, "the cluster has changed meanwhile; see `needletail cluster operations`, then try again")
        }
        return move
    }

    private func noteHealth(_ state: inout State) {
        let now = ContinuousClock.now
        let isHealthy = state.collections.values.allSatisfy { entry in
            entry.state == .active
                && entry.shards.allSatisfy { place in
                    place.inSync == place.replicas && place.replicas.allSatisfy { state.membership.serves(entry.shardID(place), on: $0, now: now) }
                }
        }
        state.healthySince = isHealthy ? state.healthySince ?? now : nil
    }

    /// Why a move that is planned does not begin now; nil when it does. What is only for balance waits for quiet times.
    private func heldBack(_ move: PlannedMove, _ state: State) -> String? {
        let now = ContinuousClock.now
        guard move.cause == .balance || move.cause == .leads else { return nil }
        guard let healthy = state.healthySince else { return "not every replica is in sync" }
        guard healthy.duration(to: now) >= policy.stableFor else { return "all replicas have been in sync for a short time only" }
        let isStable = state.membership.nodes.values.allSatisfy { node in
            node.isDraining || !node.isAlive(at: now, lease: Self.lease) || node.aliveSince.duration(to: now) >= policy.stableFor
        }
        return isStable ? nil : "a node has been there for a short time only"
    }

    /// One that is to be emptied anyway is not waited for longer than a restart takes.
    private static let longestWaitForDrained = Duration.seconds(10)

    /// Silent for so long that what they hold is made elsewhere.
    func lostNodes(_ state: State) -> Set<NodeID> {
        let now = ContinuousClock.now
        let silent = state.copy.nodes.values.values.filter { node in
            let last = state.membership.nodes[node.id]?.lastHeartbeat ?? started
            return max(last, started).duration(to: now) >= (node.isDrained ? min(policy.lostAfter, Self.longestWaitForDrained) : policy.lostAfter)
        }
        return Set(silent.map(\.id))
    }

    /// What the planner is told. A shard that is being moved counts as if it had been.
    func picture(_ state: State) -> ClusterPicture {
        let now = ContinuousClock.now
        let (lost, wall) = (lostNodes(state), Self.milliseconds())
        let entries = Dictionary(state.copy.nodes.values.values.map { ($0.id, $0) }) { $1 }
        let nodes = Set(entries.keys).union(state.membership.nodes.keys).map { id -> ClusterPicture.Node in
            let (heard, entry) = (state.membership.nodes[id], entries[id])
            let facts = heard?.facts ?? entry?.facts ?? NodeFacts()
            return ClusterPicture.Node(
                id: id, zone: facts.zone, weight: facts.weight, memoryLimitBytes: facts.memoryLimitBytes == 0 ? nil : facts.memoryLimitBytes,
                diskLimitBytes: facts.diskLimitBytes == 0 ? nil : facts.diskLimitBytes, isDrained: entry?.isDrained ?? false,
                isUsable: heard.map { $0.isAlive(at: now, lease: Self.lease) && !$0.isDraining } ?? false, isLost: lost.contains(id))
        }
        let open = Dictionary(state.copy.operations.values.values.filter { !$0.step.hasEnded }.map { ($0.shard, $0) }) { $1 }
        let rest = Int64(policy.rest.nanoseconds / 1_000_000)
        let resting = Set(
            state.copy.operations.values.values
                .filter { $0.step == .done && wall - $0.changedMilliseconds < rest && [.balance, .leads, .byHand].contains($0.cause) }.map(\.shard))
        let shards = state.collections.values.filter { $0.state == .active }.flatMap { entry in
            entry.shards.map { place -> ClusterPicture.Shard in
                let shard = entry.shardID(place)
                let statuses = place.inSync.compactMap { state.membership.replica(shard, on: $0) }
                var after = place
                let move = open[shard]
                if let move, !move.isCancelled, !move.isLeadOnly { Self.apply(move, &after) }
                return ClusterPicture.Shard(
                    id: shard, collection: entry.spec.name, replicationFactor: entry.spec.replicationFactor, place: after,
                    memoryBytes: statuses.map(\.memoryBytes).max() ?? 0, diskBytes: statuses.map(\.diskBytes).max() ?? 0,
                    bytes: statuses.map { $0.dataBytes == 0 ? $0.memoryBytes : $0.dataBytes }.max() ?? 0,
                    work: state.membership.work(of: shard, now: now) ?? 0, isResting: resting.contains(shard),
                    isBusy: move != nil || state.isSplitting(shard) || !state.membership.isAlive(place.primary, now: now))
            }
        }
        return ClusterPicture(nodes: nodes, shards: shards)
    }

    private static func apply(_ move: Move, _ place: inout ShardPlace) {
        var replicas = Set(place.replicas)
        if let from = move.from { replicas.remove(from) }
        if let to = move.to { replicas.insert(to) }
        place.replicas = replicas.sorted()
    }

    // MARK: MoveOperations

    public func plan(deadline: Deadline?) async throws -> MovePlan {
        if let leader = try leaderElsewhere() { return try await leader.plan(deadline: deadline) }
        return state.withLock { state in
            let planned = PlacementPlanner.plan(picture(state))
            let held = planned.first.flatMap { heldBack($0, state) } ?? ""
            let reshardings = dueReshardings(state)
            let isIdle = planned.isEmpty && reshardings.isEmpty
            return MovePlan(moves: planned.map(Self.info), held: isIdle ? "" : state.isPaused ? "moves are paused" : held, reshardings: reshardings)
        }
    }

    private func dueReshardings(_ state: State) -> [ReshardingInfo] {
        let splits = policy.splitAboveBytes.map { limit in
            state.dueSplits(above: limit).map { ReshardingInfo(.split($0), reason: Self.splitReason(limit)) }
        }
        let merges = policy.mergeBelowBytes.map { limit in
            state.dueMerges(below: limit).map { ReshardingInfo(.merge($0), reason: Self.mergeReason(limit)) }
        }
        return (splits ?? []) + (merges ?? [])
    }

    public func move(_ order: MoveOrder, deadline: Deadline?) async throws -> OperationInfo {
        if let leader = try leaderElsewhere() { return try await leader.move(order, deadline: deadline) }
        let entry = try entry(order.collection)
        guard let place = entry.shards.first(where: { $0.number == order.shard }) else {
            throw NeedletailError(.notFound, "collection \"\(order.collection)\" has no shard \(order.shard); see `needletail cluster shards`")
        }
        let shard = entry.shardID(place)
        let planned = try state.withLock { state in
            if state.isUnderWay(shard) {
                throw NeedletailError(.aborted, "shard \(order.shard) is being moved, split or merged already; see `needletail cluster operations`")
            }
            try check(order, place, entry, state)
            let bytes = picture(state).shards.first { $0.id == shard }?.bytes ?? 0
            return PlannedMove(
                shard: shard, collection: order.collection, from: order.isLeadOnly ? place.primary : order.from.map { NodeID($0) },
                to: order.to.map { NodeID($0) }, isLeadOnly: order.isLeadOnly, bytes: order.to == nil || order.isLeadOnly ? 0 : bytes, cause: .byHand,
                reason: "asked for")
        }
        return Self.info(try await begin(planned))
    }

    private func check(_ order: MoveOrder, _ place: ShardPlace, _ entry: CollectionEntry, _ state: State) throws(NeedletailError) {
        func refuse(_ reason: String) -> NeedletailError { NeedletailError(.failedPrecondition, reason) }
        if order.from == nil, order.to == nil { throw NeedletailError(.invalidArgument, "a move names the node that it is from, or to, or both") }
        let (from, to) = (order.from.map { NodeID($0) }, order.to.map { NodeID($0) })
        if let to, state.membership.nodes[to] == nil, state.copy.nodes.values[to.description] == nil {
            throw NeedletailError(.notFound, "there is no node \(to); `needletail cluster nodes` shows those there are")
        }
        if order.isLeadOnly {
            guard let to, place.inSync.contains(to) else { throw refuse("only a node with an in-sync replica of the shard can lead it") }
            if place.primary == to { throw refuse("node \(to) leads the shard already") }
            return
        }
        if let from, !place.replicas.contains(from) { throw refuse("node \(from) has no replica of shard \(order.shard)") }
        if let to {
            if place.replicas.contains(to) { throw refuse("node \(to) has a replica of shard \(order.shard) already") }
            if !state.membership.isAlive(to, now: .now) { throw refuse("node \(to) is not alive") }
            if state.drainedNodes.contains(to) { throw refuse("node \(to) is drained; `needletail cluster drain --undo \(to)` first") }
        }
        let wanted = "change it with `needletail collection update \(entry.spec.name) --replicas N`"
        let (count, factor) = (place.replicas.count, entry.spec.replicationFactor)
        if from == nil, count >= factor { throw refuse("the shard has as many replicas as the collection wants; \(wanted)") }
        if to == nil, count <= factor { throw refuse("the shard has no more replicas than the collection wants; \(wanted)") }
    }

    public func cancelMove(_ id: UInt64, deadline: Deadline?) async throws -> OperationInfo {
        if let leader = try leaderElsewhere() { return try await leader.cancelMove(id, deadline: deadline) }
        if let split = try await cancel(Split.self, id) { return split }
        if let merge = try await cancel(Merge.self, id) { return merge }
        // It may take a step at the same time.
        for _ in 0..<20 {
            guard let move = state.withLock({ $0.copy.operations.values[Incarnation(id).description] }) else {
                throw NeedletailError(.notFound, "there is no operation \(Incarnation(id)); `needletail cluster operations` shows those there are")
            }
            if move.isCancelled, !move.step.hasEnded { return Self.info(move) }
            guard !move.step.hasEnded, move.step != .dropping else {
                throw NeedletailError(.failedPrecondition, "operation \(Incarnation(id)) is \(move.step.name): it cannot be undone; ask for the move back")
            }
            var cancelled = move
            (cancelled.isCancelled, cancelled.problem, cancelled.changedMilliseconds) = (true, "cancelled by the operator", Self.milliseconds())
            if try await store(cancelled, replacing: move) != nil { return Self.info(cancelled) }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw NeedletailError(.aborted, "operation \(Incarnation(id)) goes on too quickly to be cancelled; try again")
    }

    public func pauseMoves(_ isPaused: Bool, deadline: Deadline?) async throws -> OperationList {
        if let leader = try leaderElsewhere() { return try await leader.pauseMoves(isPaused, deadline: deadline) }
        if state.withLock({ $0.isPaused }) != isPaused {
            let settings = MoveSettings(isPaused: isPaused)
            let outcome = try await transactAsLeader(if: [], [.put(MetadataCopy.moveSettingsKey, settings.encoded)])
            guard outcome.succeeded else { throw notLeading }
            state.withLock { $0.copy.moveSettings.change("", to: settings, revision: outcome.revision) }
            await note("operator", isPaused ? "moves are paused" : "moves go on")
        }
        return try await operations(deadline: deadline)
    }

    public func operations(deadline: Deadline?) async throws -> OperationList {
        state.withLock { state in
            let resharding = state.copy.splits.values.values.map { Self.info($0) } + state.copy.merges.values.values.map { Self.info($0) }
            let all = state.copy.operations.values.values.map(Self.info) + resharding
            return OperationList(
                isPaused: state.isPaused, operations: all.sorted { ($0.createdMilliseconds, $0.id) < ($1.createdMilliseconds, $1.id) })
        }
    }

    public func events(after number: UInt64, deadline: Deadline?) async throws -> [EventInfo] {
        state.withLock { $0.copy.events.values.values.filter { $0.number > number } }.sorted { $0.number < $1.number }
            .map { EventInfo(number: $0.number, milliseconds: $0.milliseconds, kind: $0.kind, message: $0.message) }
    }

    private static func info(_ move: PlannedMove) -> MoveInfo {
        let order = MoveOrder(
            collection: move.collection, shard: move.shard.number, from: move.from?.value, to: move.to?.value, isLeadOnly: move.isLeadOnly)
        return MoveInfo(order: order, bytes: move.bytes, cause: move.cause.name, reason: move.reason)
    }

    private static func info(_ move: Move) -> OperationInfo {
        let order = MoveOrder(
            collection: move.collection, shard: move.shard.number, from: move.from?.value, to: move.to?.value, isLeadOnly: move.isLeadOnly)
        return OperationInfo(
            id: move.id, move: MoveInfo(order: order, bytes: move.bytes, cause: move.cause.name, reason: move.reason), step: move.step.name,
            problem: move.problem, createdMilliseconds: move.createdMilliseconds, changedMilliseconds: move.changedMilliseconds)
    }
}

extension Coordinator.State {
    /// Nodes that may be given new replicas.
    var placeable: [NodeID] {
        let drained = drainedNodes
        return membership.placeable(now: .now).filter { !drained.contains($0) }
    }
}

extension PlannedMove.Cause {
    var name: String {
        switch self {
        case .byHand: "by hand"
        case .replicas: "replicas"
        case .lost: "lost"
        case .drain: "drain"
        case .limit: "limit"
        case .zone: "zone"
        case .balance: "balance"
        case .leads: "leads"
        }
    }
}
