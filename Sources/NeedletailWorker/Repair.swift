internal import NeedletailShard

extension ShardWorker {
    /// Cuts a damaged log; see `ReplicaRepair`.
    public static func repairLog(inReplica folder: String) throws -> String { try ReplicaRepair.repairLog(inReplica: folder) }
}
