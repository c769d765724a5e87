internal import NeedletailCluster
internal import NeedletailAdmin
public import NeedletailCore
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
        let (actions, assignments, models) = state.withLock { state in
            let actions = state.membership.heartbeat(
                from: node, address: heartbeat.address, status: heartbeat.status, isDraining: heartbeat.isDraining, now: .now)
            let assignments = state.collections.values.flatMap { entry in
                entry.state == .deleting
                    ? [] : entry.shards.filter { $0.replicas.contains(node) }.map { entry.assignment($0) { state.membership.nodes[$0]?.address } }
            }
            let models = TrainingPolicy.models(
                for: node, of: state.collections.values, replicas: state.membership.nodes[node]?.replicas ?? [:])
            return (actions, assignments, models)
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
        return HeartbeatAnswer(
            cluster: clusterID, assignments: assignments, models: models, lease: failover.grant(node))
    }

    /// Whether every shard of every collection has a replica that answers searches.
    public var isReady: Bool { state.withLock { $0.readyShards == $0.shardCount } }

    /// `isReady` with what is missing, by name.
    var readiness: Readiness {
        let missing = state.withLock { $0.missingShards }
        let named = missing.prefix(20).map { "shard \($0.number) of collection \($0.collection): \($0.reason)" }
        let more = missing.count > 20 ? ["and \(missing.count - 20) more"] : []
        return Readiness(isReady: missing.isEmpty, reasons: named + more)
    }

    public func clusterStatus(deadline: Deadline?) async throws -> ClusterStatus {
        state.withLock { state in
            let now = ContinuousClock.now
            let alive = state.membership.nodes.values.filter { $0.isAlive(at: now, lease: Self.lease) }
            return ClusterStatus(
                clusterID: clusterID, version: NeedletailVersion.current, nodesTotal: state.membership.nodes.count, nodesAlive: alive.count,
                collections: state.collections.values.count { $0.state == .active }, shardsTotal: state.shardCount,
                shardsReady: state.readyShards, points: alive.reduce(0) { $0 + $1.replicas.values.reduce(0) { $0 + $1.pointCount } })
        }
    }

    public func nodes(deadline: Deadline?) async throws -> [NodeInfo] {
        let now = ContinuousClock.now
        return state.withLock { Array($0.membership.nodes.values) }.sorted { $0.id < $1.id }.map { node in
            NodeInfo(
                id: node.id.value, address: node.address, isAlive: node.isAlive(at: now, lease: Self.lease),
                replicas: node.replicas.count, points: node.replicas.values.reduce(0) { $0 + $1.pointCount },
                memoryBytes: node.replicas.values.reduce(0) { $0 + $1.memoryBytes },
                diskBytes: node.replicas.values.reduce(0) { $0 + $1.diskBytes }, heartbeatAge: node.lastHeartbeat.duration(to: now))
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

    var readyShards: Int { shardCount - missingShards.count }

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
            })
    }
}
