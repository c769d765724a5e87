public import NeedletailCore

/// Which shard workers there are and which of them live, from their heartbeats. Pure: time comes in as a parameter.
public struct Membership: Sendable {
    public struct Node: Sendable {
        public var id: NodeID
        /// host:port
        public var address: String
        /// What it last said of its replicas.
        public var replicas: [ShardID: ReplicaStatus]
        public var isDraining: Bool
        public var lastHeartbeat: ContinuousClock.Instant
        /// Since when it has been there without a break.
        public var aliveSince: ContinuousClock.Instant
        public var facts = NodeFacts()
        /// Whether a request found it not answering since its last heartbeat.
        public var isSuspect = false
        /// Replicas it began to serve since its last heartbeat, which the next one may not know of: it may be on its way already.
        var begun: Set<ShardID> = []

        public func isAlive(at now: ContinuousClock.Instant, lease: Duration) -> Bool { lastHeartbeat.duration(to: now) <= lease }
    }

    /// What the world should do after an event.
    public enum Action: Sendable, Equatable {
        /// A node is new or has moved: connect to this address.
        case connect(NodeID, address: String)
        /// A node that did not answer is there again: try it at once.
        case retry(NodeID)
    }

    public private(set) var nodes: [NodeID: Node] = [:]
    public let lease: Duration
    /// Over how long work is averaged.
    private let workWindow: Duration
    private var shardWork: [ShardID: WorkRate] = [:]
    private var nodeWork: [NodeID: WorkRate] = [:]

    public init(lease: Duration, workWindow: Duration = .seconds(30)) {
        self.lease = lease
        self.workWindow = workWindow
    }

    public mutating func heartbeat(
        from id: NodeID, address: String, status: NodeStatus, isDraining: Bool, facts: NodeFacts = NodeFacts(), now: ContinuousClock.Instant
    ) -> [Action] {
        let known = nodes[id]
        var replicas = Dictionary(status.replicas.map { ($0.shard, $0.credible) }) { $1 }
        for replica in replicas.values { note(replica, before: known?.replicas[replica.shard], on: id, now: now) }
        if let known, known.address == address {
            for shard in known.begun where replicas[shard].map({ $0.state == .loading }) ?? true { replicas[shard] = known.replicas[shard] }
        }
        let aliveSince = known.flatMap { $0.address == address && $0.isAlive(at: now, lease: lease) ? $0.aliveSince : nil } ?? now
        nodes[id] = Node(
            id: id, address: address, replicas: replicas, isDraining: isDraining, lastHeartbeat: now, aliveSince: aliveSince, facts: facts)
        guard let known, known.address == address else { return [.connect(id, address: address)] }
        return known.isSuspect ? [.retry(id)] : []
    }

    /// Adds what a replica has worked since the last heartbeat. One that was opened anew counts from nothing.
    private mutating func note(_ replica: ReplicaStatus, before: ReplicaStatus?, on id: NodeID, now: ContinuousClock.Instant) {
        let last = before.map(\.workNanoseconds) ?? 0
        // What this coordinator has not seen begin may have been done at any time.
        let work = before == nil ? 0 : replica.workNanoseconds < last ? replica.workNanoseconds : replica.workNanoseconds - last
        shardWork[replica.shard, default: WorkRate(window: workWindow, now: now)].add(.nanoseconds(Int64(work)), now: now)
        nodeWork[id, default: WorkRate(window: workWindow, now: now)].add(.nanoseconds(Int64(work)), now: now)
        // Shards that are no more are forgotten when there are many of them.
        if shardWork.count > 2 * nodes.values.reduce(64, { $0 + $1.replicas.count }) {
            let there = Set(nodes.values.flatMap(\.replicas.keys)).union([replica.shard])
            shardWork = shardWork.filter { there.contains($0.key) }
        }
    }

    /// Threads that a shard's replicas keep busy together. nil when that has not been watched for long enough to go by it.
    public func work(of shard: ShardID, now: ContinuousClock.Instant) -> Double? {
        shardWork[shard].flatMap { $0.isSettled(now: now) ? $0.threads(now: now) : nil }
    }

    /// Threads that a node's replicas keep busy.
    public func work(on id: NodeID, now: ContinuousClock.Instant) -> Double { nodeWork[id]?.threads(now: now) ?? 0 }

    /// The address of another living process that has this node's identity, if there is one: two processes on copies of one folder
    /// would each take a part of the writes. A node that said farewell, or whose lease is over, may come back anywhere.
    public func rival(of id: NodeID, at address: String, now: ContinuousClock.Instant) -> String? {
        guard let known = nodes[id], known.address != address, !known.isDraining, known.isAlive(at: now, lease: lease) else { return nil }
        return known.address
    }

    /// A request found these shards of a node not answering: what the node last said of them no longer counts. Its next heartbeat does.
    public mutating func unanswered(_ shards: [ShardID], by id: NodeID) {
        guard var node = nodes[id] else { return }
        node.isSuspect = true
        for shard in shards {
            node.replicas[shard]?.state = .loading
            node.replicas[shard]?.reason = "does not answer"
        }
        nodes[id] = node
    }

    /// A node said, in answer to a request, that its replica of a shard now serves.
    public mutating func serves(_ shard: ShardID, epoch: UInt64, on id: NodeID) {
        guard let state = nodes[id]?.replicas[shard]?.state else {
            nodes[id]?.replicas[shard] = ReplicaStatus(shard: shard, state: .ready, epoch: epoch)
            nodes[id]?.begun.insert(shard)
            return
        }
        guard state == .loading else { return }
        nodes[id]?.replicas[shard]?.state = .ready
        nodes[id]?.replicas[shard]?.reason = ""
        nodes[id]?.begun.insert(shard)
    }

    /// A node said, in answer to a request, that it has no replica of a shard any more.
    public mutating func dropped(_ shard: ShardID, by id: NodeID) {
        nodes[id]?.replicas[shard] = nil
        nodes[id]?.begun.remove(shard)
    }

    /// It is gone for good. Its next heartbeat makes it a new node.
    public mutating func forget(_ id: NodeID) {
        nodes[id] = nil
        nodeWork[id] = nil
    }

    public func isAlive(_ id: NodeID, now: ContinuousClock.Instant) -> Bool { nodes[id]?.isAlive(at: now, lease: lease) ?? false }

    /// Nodes that may take new shards, by id.
    public func placeable(now: ContinuousClock.Instant) -> [NodeID] {
        nodes.values.filter { $0.isAlive(at: now, lease: lease) && !$0.isDraining }.map(\.id).sorted()
    }

    /// Whether a replica answers searches, by its node's last word.
    public func serves(_ shard: ShardID, on id: NodeID, now: ContinuousClock.Instant) -> Bool {
        guard isAlive(id, now: now), let state = nodes[id]?.replicas[shard]?.state else { return false }
        return state == .ready || state == .readOnly
    }

    /// How a shard's replica on a node is, by the node's last word.
    public func replica(_ shard: ShardID, on id: NodeID) -> ReplicaStatus? { nodes[id]?.replicas[shard] }
}

extension ReplicaStatus {
    /// Sizes that can be added up over all replicas of a cluster, whatever somebody sends.
    fileprivate var credible: ReplicaStatus {
        var status = self
        let most = UInt64(1) << 44
        (status.pointCount, status.dataBytes) = (min(pointCount, most), min(dataBytes, most))
        (status.memoryBytes, status.diskBytes) = (min(memoryBytes, most), min(diskBytes, most))
        status.workNanoseconds = min(workNanoseconds, UInt64(1) << 60)
        return status
    }
}
