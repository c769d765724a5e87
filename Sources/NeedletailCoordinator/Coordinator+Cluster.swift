internal import NeedletailCluster
internal import NeedletailAdmin
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

extension Coordinator {
    public func heartbeat(_ heartbeat: Heartbeat) async throws -> HeartbeatAnswer {
        guard heartbeat.cluster == 0 || heartbeat.cluster == clusterID else {
            throw NeedletailError(
                .failedPrecondition,
                "shard worker \(NodeID(heartbeat.node)) belongs to cluster \(NodeID(heartbeat.cluster)), this is \(NodeID(clusterID)); "
                    + "give it another data folder or another coordinator")
        }
        let node = NodeID(heartbeat.node)
        if let rival = state.withLock({ $0.membership.rival(of: node, at: heartbeat.address, now: .now) }) {
            // Not for good: a worker that was killed and started again at another address has to wait for the end of its own lease.
            throw NeedletailError(
                .aborted,
                "shard worker \(node) is alive at \(rival): this is a copy of its data folder. Stop one of them; a copy is no replica")
        }
        let term = term
        let (actions, assignments, models, dropped, kept) = state.withLock { state in
            let actions = state.membership.heartbeat(
                from: node, address: heartbeat.address, status: heartbeat.status, isDraining: heartbeat.isDraining,
                facts: heartbeat.facts, now: .now)
            guard term != nil else { return (actions, [ReplicaAssignment](), [CollectionModel](), [ShardID](), [ShardID]()) }
            let assignments = state.collections.values.flatMap { entry in
                entry.state == .deleting
                    ? [] : entry.shards.filter { $0.replicas.contains(node) }.map { entry.assignment($0, address: state.address) }
            }
            let models = TrainingPolicy.models(
                for: node, of: state.collections.values, replicas: state.membership.nodes[node]?.replicas ?? [:])
            return (actions, assignments, models, state.dropped(on: node), state.kept(on: node))
        }
        for action in actions {
            switch action {
            case .connect(let node, let address):
                let link = try connect(address)
                let old = state.withLock { state in
                    defer { state.workers[node] = link }
                    return state.workers[node]
                }
                await old?.close()
            case .retry(let node): state.withLock { $0.workers[node] }?.retryNow()
            }
        }
        if term != nil { await remember(node, at: heartbeat.address, heartbeat.facts) }
        // Asked again, after all that took time: whose lease is over by now says nothing as the leader.
        tellLeadership()
        resignForBroken(node, heartbeat.status)
        let epochs = failover.grant(node)
        guard let term, term == self.term, let epochs else { return HeartbeatAnswer(cluster: clusterID, leadership: nil, coordinators: addresses) }
        return HeartbeatAnswer(
            cluster: clusterID, leadership: .init(term: term, lease: Self.lease, epochs: epochs), coordinators: addresses, assignments: assignments,
            models: models, dropped: dropped, kept: kept)
    }

    /// A node lives and its replica does not: nobody but us can say that the shard needs another primary.
    private func resignForBroken(_ node: NodeID, _ status: NodeStatus) {
        let states = Dictionary(status.replicas.map { ($0.shard, $0.state) }) { $1 }
        let broken = state.withLock { state in
            state.collections.values.filter { $0.state == .active }.flatMap { entry in
                entry.shards.filter { $0.primary == node && $0.replicas.count > 1 }.map { (entry.shardID($0), $0.epoch) }
            }
        }
        .filter { states[$0.0] == nil || states[$0.0] == .failed }
        for (shard, epoch) in broken { failover.receive(.resigned(shard, node, epoch: epoch)) }
    }

    /// Puts a worker that is new, or has moved, among the metadata, for coordinators that have not heard of it. Its heartbeat counts
    /// also when that fails; the next one tries again.
    private func remember(_ node: NodeID, at address: String, _ facts: NodeFacts) async {
        let known = state.withLock { $0.copy.nodes.values[Incarnation(node.value).description] }
        let entry = NodeEntry(id: node, address: address, facts: facts, isDrained: known?.isDrained ?? false)
        if known != entry { _ = try? await store(entry, replacing: known) }
    }

    /// False when somebody else was first.
    func store(_ entry: NodeEntry, replacing old: NodeEntry?) async throws -> Bool {
        let key = Incarnation(entry.id.value).description
        let revision = state.withLock { $0.copy.nodes.values[key] == old ? $0.copy.nodes.revision(key) : 0 }
        let path = MetadataCopy.nodesPrefix + key
        let outcome = try await transactAsLeader(if: [revision.map { .revision(path, $0) } ?? .absent(path)], [.put(path, entry.encoded)])
        if outcome.succeeded { state.withLock { $0.copy.nodes.change(key, to: entry, revision: outcome.revision) } }
        return outcome.succeeded
    }

    /// Of all coordinators; none when there can be but one.
    private var addresses: [String] {
        metadata.isExclusive ? [] : state.withLock { state in state.copy.coordinators.values.values.map(\.address).sorted() }
    }

    /// By id, this one among them.
    private var coordinators: [CoordinatorInfo] {
        var leader = state.withLock { $0.copy.leader.values.first?.value.coordinator.id }
        // Its lease may have ended without its being able to read that.
        if leader == id, !isLeader { leader = nil }
        var known = Dictionary(state.withLock { $0.copy.coordinators.values.values.map { ($0.id, $0.address) } }) { $1 }
        known[id] = address
        return known.sorted { $0.key < $1.key }.map { CoordinatorInfo(id: $0.key, address: $0.value, isLeader: $0.key == leader) }
    }

    /// Whether every shard of every collection has a replica that answers searches.
    public var isReady: Bool { state.withLock { $0.readyShards == $0.shardCount } }

    /// Stricter than `isReady`: whether the cluster can be changed as well, with what is missing, by name.
    var readiness: Readiness {
        let (missing, whole) = state.withLock { state in (state.missingShards, state.reasonsAgainst(alone: metadata.isExclusive)) }
        let named = missing.prefix(20).map { "shard \($0.number) of collection \($0.collection): \($0.reason)" }
        let more = missing.count > 20 ? ["and \(missing.count - 20) more"] : []
        let reasons = whole + named + more
        return Readiness(isReady: reasons.isEmpty, reasons: reasons)
    }

    /// From now on it is not ready.
    func beginDraining() { state.withLock { $0.isDraining = true } }

    public func clusterStatus(deadline: Deadline?) async throws -> ClusterStatus {
        let coordinators = coordinators
        return state.withLock { state in
            let now = ContinuousClock.now
            let alive = state.membership.nodes.values.filter { $0.isAlive(at: now, lease: Self.lease) }
            return ClusterStatus(
                clusterID: clusterID, version: NeedletailVersion.current,
                nodesTotal: state.membership.nodes.count + state.unheardNodes.count, nodesAlive: alive.count,
                collections: state.collections.values.count { $0.state == .active }, shardsTotal: state.shardCount,
                shardsReady: state.readyShards, points: state.points,
                coordinators: coordinators)
        }
    }

    public func shards(of collection: String?, deadline: Deadline?) async throws -> [ShardInfo] {
        if let collection { _ = try entry(collection) }
        return state.withLock { state in
            state.collections.values
                .filter { $0.state == .active && (collection == nil || $0.spec.name == collection) }
                .sorted { $0.spec.name < $1.spec.name }
                .flatMap { entry in entry.shards.map { state.info($0, of: entry) } }
        }
    }
}

extension Coordinator.State {
    fileprivate var active: [CollectionEntry] { collections.values.filter { $0.state == .active } }
    var shardCount: Int { active.reduce(0) { $0 + $1.shards.count } }

    /// Where a node was heard of last, here or by another coordinator.
    func address(of node: NodeID) -> String? {
        membership.nodes[node]?.address ?? copy.nodes.values[Incarnation(node.value).description]?.address
    }

    var readyShards: Int { shardCount - missingShards.count }

    /// What keeps the whole coordinator from being ready.
    func reasonsAgainst(alone: Bool) -> [String] {
        var reasons: [String] = []
        if isDraining { reasons.append("draining: the process ends") }
        if let metadataProblem { reasons.append("no metadata store: \(metadataProblem)") }
        if !alone, copy.leader.values.isEmpty { reasons.append("no leader: no coordinator leads the cluster at this moment") }
        return reasons
    }

    /// Shards without a replica that answers searches, and why.
    var missingShards: [(collection: String, number: UInt32, reason: String)] {
        let now = ContinuousClock.now
        return active.flatMap { entry in
            entry.shards.compactMap { place in
                if place.inSync.contains(where: { membership.serves(entry.shardID(place), on: $0, now: now) }) { return nil }
                guard membership.isAlive(place.primary, now: now) else {
                    return (entry.spec.name, place.number, "shard worker \(place.primary) is not alive")
                }
                let status = membership.replica(entry.shardID(place), on: place.primary)
                return (entry.spec.name, place.number, status?.reason ?? "shard worker \(place.primary) has not reported it")
            }
        }
    }

    fileprivate func info(_ place: ShardPlace, of entry: CollectionEntry) -> ShardInfo {
        let now = ContinuousClock.now
        return ShardInfo(
            collection: entry.spec.name, number: place.number, range: place.range, epoch: place.epoch,
            replicas: place.replicas.map { node in
                let status = membership.isAlive(node, now: now) ? membership.replica(entry.shardID(place), on: node) : nil
                return .init(node: node.value, isPrimary: node == place.primary, isInSync: place.inSync.contains(node), status: status)
            }, work: membership.work(of: entry.shardID(place), now: now) ?? 0)
    }
}

extension Coordinator.State {
    /// Each counted once, by what the replicas in sync said last.
    fileprivate var points: UInt64 {
        collections.values.flatMap { entry in entry.shards.map { (entry.shardID($0), $0.inSync) } }
            .reduce(0) { sum, shard in sum + (shard.1.compactMap { membership.replica(shard.0, on: $0)?.pointCount }.max() ?? 0) }
    }
}
