/// Everything a node needs to host a replica: what it holds, and who its fellows are.
public struct ReplicaAssignment: Sendable, Hashable {
    /// A node that has a copy of the shard or is about to.
    public struct Member: Sendable, Hashable {
        public var node: NodeID
        /// host:port; empty when the cluster does not know it.
        public var address: String
        /// Whether it has every acknowledged write.
        public var isInSync: Bool

        public init(node: NodeID, address: String, isInSync: Bool) {
            self.node = node
            self.address = address
            self.isInSync = isInSync
        }
    }

    public var shard: ShardID
    public var range: HashRange
    public var epoch: UInt64
    public var collection: CollectionSpec
    /// The primary of `epoch`.
    public var primary: NodeID
    /// In order of their ids; empty in assignments of versions that knew one replica only.
    public var members: [Member]
    /// Grows with each change of who holds the shard.
    public var version: UInt64

    public init(
        shard: ShardID, range: HashRange, epoch: UInt64, collection: CollectionSpec, primary: NodeID = NodeID(0), members: [Member] = [],
        version: UInt64 = 0
    ) {
        self.shard = shard
        self.range = range
        self.epoch = epoch
        self.collection = collection
        self.primary = primary
        self.members = members
        self.version = version
    }

    /// Whether this is the shard's only replica: then what is on its disk is all there is to wait for.
    public var isAlone: Bool { members.count <= 1 }

    public var inSync: [NodeID] { members.filter(\.isInSync).map(\.node) }

    public func address(of node: NodeID) -> String? { members.first { $0.node == node }.map(\.address) }

    /// Whether a replica opened under `other` has to be opened anew under this. How many replicas there are, and what writes wait for, it need not know.
    public func redefines(_ other: ReplicaAssignment) -> Bool {
        var known = other.collection
        (known.replicationFactor, known.writeConsistency, known.minInSync) = (collection.replicationFactor, collection.writeConsistency, collection.minInSync)
        return range != other.range || collection != known
    }
}
