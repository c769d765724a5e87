internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

/// The shard workers, as those who run them see them.
extension Coordinator {
    public func nodes(deadline: Deadline?) async throws -> [NodeInfo] {
        let now = ContinuousClock.now
        let (heard, unheard, drained, work, placed) = state.withLock { state in
            let work = state.membership.nodes.mapValues { state.membership.work(on: $0.id, now: now) }
            return (Array(state.membership.nodes.values), state.unheardNodes, state.drainedNodes, work, state.placedReplicas)
        }
        let silent = unheard.map { node in
            NodeInfo(
                id: node.id.value, address: node.address, isAlive: false, replicas: placed[node.id] ?? 0, points: 0, memoryBytes: 0, diskBytes: 0,
                heartbeatAge: started.duration(to: now), facts: node.facts, isDrained: node.isDrained)
        }
        let infos = heard.map { node in
            let isAlive = node.isAlive(at: now, lease: Self.lease)
            // One that is dead does not say what has been taken from it.
            return NodeInfo(
                id: node.id.value, address: node.address, isAlive: isAlive, replicas: isAlive ? node.replicas.count : placed[node.id] ?? 0,
                points: node.replicas.values.reduce(0) { $0 + $1.pointCount },
                memoryBytes: node.replicas.values.reduce(0) { $0 + $1.memoryBytes },
                diskBytes: node.replicas.values.reduce(0) { $0 + $1.diskBytes }, heartbeatAge: node.lastHeartbeat.duration(to: now),
                facts: node.facts, isDrained: drained.contains(node.id), work: work[node.id] ?? 0)
        }
        return (infos + silent).sorted { $0.id < $1.id }
    }

    public func drain(_ node: UInt64, isDrained: Bool, deadline: Deadline?) async throws -> NodeInfo {
        if let leader = try leaderElsewhere() { return try await leader.drain(node, isDrained: isDrained, deadline: deadline) }
        guard let entry = state.withLock({ $0.copy.nodes.values[NodeID(node).description] }) else {
            throw NeedletailError(.notFound, "there is no node \(NodeID(node)); `needletail cluster nodes` shows those there are")
        }
        if isDrained, !entry.isDrained, state.withLock({ $0.placeable.allSatisfy { $0 == entry.id } }) {
            throw NeedletailError(
                .failedPrecondition,
                "there is no other shard worker for the replicas of node \(entry.id): all are drained or away; start one, or let a drained one take some: "
                    + "`needletail cluster drain NODE --undo`")
        }
        if entry.isDrained != isDrained {
            var changed = entry
            changed.isDrained = isDrained
            guard try await store(changed, replacing: entry) else { throw NeedletailError(.aborted, "node \(NodeID(node)) was changed meanwhile; try again") }
            await note("operator", isDrained ? "node \(NodeID(node)) is to be emptied" : "node \(NodeID(node)) takes replicas again")
        }
        guard let info = try await nodes(deadline: deadline).first(where: { $0.id == node }) else { throw notLeading }
        return info
    }

    public func forget(_ node: UInt64, deadline: Deadline?) async throws -> NodeInfo {
        if let leader = try leaderElsewhere() { return try await leader.forget(node, deadline: deadline) }
        let id = NodeID(node)
        guard let info = try await nodes(deadline: deadline).first(where: { $0.id == node }) else {
            throw NeedletailError(.notFound, "there is no node \(id); `needletail cluster nodes` shows those there are")
        }
        if info.isAlive { throw NeedletailError(.failedPrecondition, "node \(id) is alive; only one that has been stopped can be forgotten") }
        let (entry, revision, needs) = state.withLock { state in
            (state.copy.nodes.values[id.description], state.copy.nodes.revision(id.description), state.needs(of: id))
        }
        if let need = needs.first {
            let others = needs.count > 1 ? " and \(needs.count - 1) more" : ""
            throw NeedletailError(
                .failedPrecondition,
                "node \(id) has a part in \(need)\(others): `needletail cluster drain \(id)` has its replicas made elsewhere; forget it when "
                    + "`needletail cluster operations` shows the moves as done")
        }
        if entry != nil, let revision {
            let path = MetadataCopy.nodesPrefix + id.description
            let outcome = try await transactAsLeader(if: [.revision(path, revision)], [.delete(path)])
            guard outcome.succeeded else { throw NeedletailError(.aborted, "node \(id) was changed meanwhile; try again") }
            state.withLock { $0.copy.nodes.change(id.description, to: nil, revision: outcome.revision) }
        }
        await note("operator", "node \(id) is forgotten")
        await forgetNodes()
        return info
    }

    /// Lets go of nodes that are silent and that the metadata do not know any more. Every coordinator does so for itself.
    func forgetNodes() async {
        let links = state.withLock { state in
            let now = ContinuousClock.now
            let gone = state.membership.nodes.values.filter {
                !$0.isAlive(at: now, lease: Self.lease) && state.copy.nodes.values[$0.id.description] == nil
            }
            return gone.compactMap { node in
                state.membership.forget(node.id)
                state.loads[node.id] = nil
                return state.workers.removeValue(forKey: node.id)
            }
        }
        for link in links { await link.close() }
    }
}

extension Coordinator.State {
    /// Known from the metadata, but not to have sent this coordinator a heartbeat.
    var unheardNodes: [NodeEntry] { copy.nodes.values.values.filter { membership.nodes[$0.id] == nil } }

    var drainedNodes: Set<NodeID> { Set(copy.nodes.values.values.filter(\.isDrained).map(\.id)) }

    /// How many replicas the metadata give to each node.
    fileprivate var placedReplicas: [NodeID: Int] {
        collections.values.filter { $0.state != .deleting }.flatMap { $0.shards.flatMap(\.replicas) }.reduce(into: [:]) { $0[$1, default: 0] += 1 }
    }

    /// What still counts on a node, in words.
    fileprivate func needs(of node: NodeID) -> [String] {
        let shards = collections.values.sorted { $0.spec.name < $1.spec.name }.flatMap { entry in
            entry.shards.filter { $0.replicas.contains(node) }.map { "shard \($0.number) of collection \(entry.spec.name)" }
        }
        let moves = copy.operations.values.values.filter { !$0.step.hasEnded && ($0.from == node || $0.to == node) }.map(\.id)
        let resharded = reshardings.filter { !$0.step.hasEnded && $0.nodes.contains(node) }.map(\.id)
        return shards + (moves + resharded).sorted().map { "operation \(Incarnation($0))" }
    }
}
