public import NeedletailCore

/// What a leader asks of the replicas on a node.
public protocol ReplicationOperations: Sendable {
    /// - Throws: `aborted` when the replica knows of a later epoch, `notFound` when it is not there.
    func fence(_ shard: ShardID, _ fence: Fence, deadline: Deadline?) async throws -> FenceAnswer
}

/// What primaries ask of the leader.
public protocol LeaderOperations: Sendable {
    /// Another in-sync set; returns when it is made.
    /// - Throws: `aborted` when the shard has changed meanwhile; `unavailable` when the one asked does not lead.
    func propose(_ proposal: Proposal, for shard: ShardID, by node: NodeID) async throws
    /// The primary has given its epoch up.
    func resign(_ shard: ShardID, by node: NodeID, epoch: UInt64) async throws
}
