public import NeedletailCore

/// What a leader asks of the replicas on a node.
public protocol ReplicationOperations: Sendable {
    /// - Throws: `aborted` when the replica knows of a later epoch, `notFound` when it is not there.
    func fence(_ shard: ShardID, _ fence: Fence, deadline: Deadline?) async throws -> FenceAnswer
    /// The primary ends its epoch, for another to lead, as soon as all members of the set have the same records; it may also not, and go on.
    func handOver(_ shard: ShardID, epoch: UInt64, deadline: Deadline?) async throws
    /// Makes the children of a replica whose shard is being split, and says how far they are.
    func split(_ order: SplitOrder, deadline: Deadline?) async throws -> SplitProgress
    /// Makes one replica of two whose shards are being merged, and says how far it is.
    func merge(_ order: MergeOrder, deadline: Deadline?) async throws -> MergeProgress
    /// Holds the replica's newest checkpoint still, to be copied.
    func beginCopy(_ shard: ShardID, deadline: Deadline?) async throws -> CopyDescription
    /// - Throws: `notFound` when the copy has ended.
    func readCopy(_ id: UInt64, _ name: String, from offset: UInt64, _ body: (CopyPiece) async throws -> Void) async throws
    func endCopy(_ id: UInt64) async throws
    /// What the replica holds after a mark in the log.
    func digest(_ shard: ShardID, at mark: UInt64, _ scope: ReplicaDigest.Scope, deadline: Deadline?) async throws -> ReplicaDigest
}

/// What primaries ask of the leader.
public protocol LeaderOperations: Sendable {
    /// Another in-sync set; returns when it is made.
    /// - Throws: `aborted` when the shard has changed meanwhile; `unavailable` when the one asked does not lead.
    func propose(_ proposal: Proposal, for shard: ShardID, by node: NodeID) async throws
    /// The primary has given its epoch up.
    func resign(_ shard: ShardID, by node: NodeID, epoch: UInt64) async throws
}
