public import NeedletailCore

/// What the planner is told of the cluster: all that it decides by. Lists are in order of ids, so that equal pictures give equal plans.
public struct ClusterPicture: Sendable {
    public struct Node: Sendable, Hashable {
        public var id: NodeID
        /// Nodes of one zone may fail together; "" is a zone like any other.
        public var zone: String
        /// Its share of the bytes and of the work, compared with the others'.
        public var weight: Double
        /// nil: none is known.
        public var memoryLimitBytes: UInt64?
        public var diskLimitBytes: UInt64?
        /// The operator wants it empty.
        public var isDrained: Bool
        /// It is alive, and has been for long enough to be given something.
        public var isUsable: Bool
        /// It has been silent for so long that what it held is made elsewhere.
        public var isLost: Bool

        public init(
            id: NodeID, zone: String = "", weight: Double = 1, memoryLimitBytes: UInt64? = nil, diskLimitBytes: UInt64? = nil,
            isDrained: Bool = false, isUsable: Bool = true, isLost: Bool = false
        ) {
            self.id = id
            self.zone = zone
            self.weight = weight
            self.memoryLimitBytes = memoryLimitBytes
            self.diskLimitBytes = diskLimitBytes
            self.isDrained = isDrained
            self.isUsable = isUsable
            self.isLost = isLost
        }

        /// Whether replicas may come to it.
        var mayTake: Bool { isUsable && !isDrained && !isLost && weight > 0 }
    }

    public struct Shard: Sendable {
        public var id: ShardID
        public var collection: String
        public var replicationFactor: Int
        public var place: ShardPlace
        /// Of one replica.
        public var memoryBytes: UInt64
        public var diskBytes: UInt64
        /// What it weighs in a balance: unlike the others it does not change when a replica moves. Never 0, so that even empty shards spread.
        public var bytes: UInt64
        /// Threads that its replicas keep busy together.
        public var work: Double
        /// Whether it is being moved, or has been a short while ago: then it stays where it is, unless its node is lost or drained.
        public var isResting: Bool
        /// An operation is changing it at this moment: it stays as it is.
        public var isBusy: Bool

        public init(
            id: ShardID, collection: String, replicationFactor: Int, place: ShardPlace, memoryBytes: UInt64 = 0, diskBytes: UInt64 = 0, bytes: UInt64 = 0,
            work: Double = 0, isResting: Bool = false, isBusy: Bool = false
        ) {
            self.id = id
            self.collection = collection
            self.replicationFactor = replicationFactor
            self.place = place
            self.memoryBytes = memoryBytes
            self.diskBytes = diskBytes
            self.bytes = max(1, bytes)
            self.work = max(0, work)
            self.isResting = isResting
            self.isBusy = isBusy
        }

        /// Reads go to all replicas, by how quickly these answer.
        var workOfReplica: Double { work / Double(max(1, replicationFactor)) }
    }

    public var nodes: [Node]
    public var shards: [Shard]

    public init(nodes: [Node], shards: [Shard]) {
        self.nodes = nodes.sorted { $0.id < $1.id }
        self.shards = shards.sorted { $0.id < $1.id }
    }
}

/// One thing to be done, and why.
public struct PlannedMove: Sendable, Hashable {
    public enum Cause: UInt8, Sendable, CaseIterable {
        case byHand = 1
        /// The collection wants more replicas, or fewer.
        case replicas = 2
        /// A node has been gone for long.
        case lost = 3
        case drain = 4
        /// A node is over its limit of memory or disk.
        case limit = 5
        /// Replicas of one shard in one zone.
        case zone = 6
        case balance = 7
        /// Primaries are spread unevenly.
        case leads = 8
    }

    public var shard: ShardID
    public var collection: String
    /// The node that gives its replica up; nil when one is only added. For a change of the primary, the old one.
    public var from: NodeID?
    /// The node that gets a replica; nil when one is only removed. For a change of the primary, the new one.
    public var to: NodeID?
    /// Both nodes keep their replicas; the second is to be the primary.
    public var isLeadOnly: Bool
    /// To be copied.
    public var bytes: UInt64
    public var cause: Cause
    /// For people.
    public var reason: String

    public init(
        shard: ShardID, collection: String, from: NodeID?, to: NodeID?, isLeadOnly: Bool = false, bytes: UInt64, cause: Cause, reason: String
    ) {
        self.shard = shard
        self.collection = collection
        self.from = from
        self.to = to
        self.isLeadOnly = isLeadOnly
        self.bytes = bytes
        self.cause = cause
        self.reason = reason
    }
}
