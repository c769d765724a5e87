import NeedletailCluster
import NeedletailCore

/// The replication of workers whose shards have one replica: nobody fences them.
struct NoFellows: ReplicationOperations {
    private static let notAsked = NeedletailError(.unimplemented, "not part of this test")

    func fence(_ shard: ShardID, _ fence: Fence, deadline: Deadline?) async throws -> FenceAnswer { throw Self.notAsked }
    func handOver(_ shard: ShardID, epoch: UInt64, deadline: Deadline?) async throws { throw Self.notAsked }
    func split(_ order: SplitOrder, deadline: Deadline?) async throws -> SplitProgress { throw Self.notAsked }
    func merge(_ order: MergeOrder, deadline: Deadline?) async throws -> MergeProgress { throw Self.notAsked }
    func beginCopy(_ shard: ShardID, deadline: Deadline?) async throws -> CopyDescription { throw Self.notAsked }
    func readCopy(_ id: UInt64, _ name: String, from offset: UInt64, _ body: (CopyPiece) async throws -> Void) async throws { throw Self.notAsked }
    func digest(_ shard: ShardID, at mark: UInt64, _ scope: ReplicaDigest.Scope, deadline: Deadline?) async throws -> ReplicaDigest { throw Self.notAsked }
    func endCopy(_ id: UInt64) async throws { throw Self.notAsked }
}
