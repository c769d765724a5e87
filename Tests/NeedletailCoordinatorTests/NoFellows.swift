import NeedletailCluster
import NeedletailCore

/// The replication of workers whose shards have one replica: nobody fences them.
struct NoFellows: ReplicationOperations {
    func fence(_ shard: ShardID, _ fence: Fence, deadline: Deadline?) async throws -> FenceAnswer {
        throw NeedletailError(.unimplemented, "not part of this test")
    }
}
