public import NeedletailGRPC

/// The methods of the public services.
public enum PublicMethods {
    public static let collections = "needletail.v1.Collections"
    public static let points = "needletail.v1.Points"
    public static let cluster = "needletail.v1.Cluster"

    public static let createCollection = GRPCMethod(service: collections, name: "Create")
    public static let getCollection = GRPCMethod(service: collections, name: "Get")
    public static let listCollections = GRPCMethod(service: collections, name: "List")
    public static let updateCollection = GRPCMethod(service: collections, name: "Update")
    public static let trainCollection = GRPCMethod(service: collections, name: "Train")
    public static let deleteCollection = GRPCMethod(service: collections, name: "Delete")

    public static let upsert = GRPCMethod(service: points, name: "Upsert")
    public static let upsertStream = GRPCMethod(service: points, name: "UpsertStream")
    public static let get = GRPCMethod(service: points, name: "Get")
    public static let delete = GRPCMethod(service: points, name: "Delete")
    public static let setPayload = GRPCMethod(service: points, name: "SetPayload")
    public static let overwritePayload = GRPCMethod(service: points, name: "OverwritePayload")
    public static let deletePayload = GRPCMethod(service: points, name: "DeletePayload")
    public static let scroll = GRPCMethod(service: points, name: "Scroll")
    public static let count = GRPCMethod(service: points, name: "Count")
    public static let search = GRPCMethod(service: points, name: "Search")
    public static let searchBatch = GRPCMethod(service: points, name: "SearchBatch")

    public static let backups = "needletail.v1.Backups"
    public static let createBackup = GRPCMethod(service: backups, name: "Create")
    public static let restoreBackup = GRPCMethod(service: backups, name: "Restore")
    public static let deleteBackup = GRPCMethod(service: backups, name: "Delete")
    public static let listBackups = GRPCMethod(service: backups, name: "List")
    public static let verifyBackup = GRPCMethod(service: backups, name: "Verify")
    public static let backupOperations = GRPCMethod(service: backups, name: "Operations")
    public static let cancelBackup = GRPCMethod(service: backups, name: "Cancel")

    public static let access = "needletail.v1.Access"
    public static let createKey = GRPCMethod(service: access, name: "CreateKey")
    public static let listKeys = GRPCMethod(service: access, name: "ListKeys")
    public static let revokeKey = GRPCMethod(service: access, name: "RevokeKey")
    public static let whoAmI = GRPCMethod(service: access, name: "WhoAmI")

    public static let status = GRPCMethod(service: cluster, name: "Status")
    public static let nodes = GRPCMethod(service: cluster, name: "Nodes")
    public static let shards = GRPCMethod(service: cluster, name: "Shards")
    public static let plan = GRPCMethod(service: cluster, name: "Plan")
    public static let move = GRPCMethod(service: cluster, name: "Move")
    public static let splitShard = GRPCMethod(service: cluster, name: "Split")
    public static let mergeShards = GRPCMethod(service: cluster, name: "Merge")
    public static let cancelMove = GRPCMethod(service: cluster, name: "Cancel")
    public static let drain = GRPCMethod(service: cluster, name: "Drain")
    public static let undrain = GRPCMethod(service: cluster, name: "Undrain")
    public static let forget = GRPCMethod(service: cluster, name: "Forget")
    public static let pauseMoves = GRPCMethod(service: cluster, name: "Pause")
    public static let resumeMoves = GRPCMethod(service: cluster, name: "Resume")
    public static let operations = GRPCMethod(service: cluster, name: "Operations")
    public static let events = GRPCMethod(service: cluster, name: "Events")
}

/// The methods between the cluster's own processes.
public enum InternalMethods {
    public static let shardWorker = "needletail.internal.v1.ShardWorker"
    public static let membership = "needletail.internal.v1.Membership"
    public static let replication = "needletail.internal.v1.Replication"

    public static let write = GRPCMethod(service: shardWorker, name: "Write")
    public static let search = GRPCMethod(service: shardWorker, name: "Search")
    public static let searchEach = GRPCMethod(service: shardWorker, name: "SearchEach")
    public static let get = GRPCMethod(service: shardWorker, name: "Get")
    public static let scroll = GRPCMethod(service: shardWorker, name: "Scroll")
    public static let count = GRPCMethod(service: shardWorker, name: "Count")
    public static let createReplica = GRPCMethod(service: shardWorker, name: "CreateReplica")
    public static let updateReplica = GRPCMethod(service: shardWorker, name: "UpdateReplica")
    public static let dropReplica = GRPCMethod(service: shardWorker, name: "DropReplica")
    public static let status = GRPCMethod(service: shardWorker, name: "Status")
    public static let sample = GRPCMethod(service: shardWorker, name: "Sample")
    public static let train = GRPCMethod(service: shardWorker, name: "Train")

    public static let follow = GRPCMethod(service: replication, name: "Follow")
    public static let fence = GRPCMethod(service: replication, name: "Fence")
    public static let handOver = GRPCMethod(service: replication, name: "HandOver")
    public static let split = GRPCMethod(service: replication, name: "Split")
    public static let merge = GRPCMethod(service: replication, name: "Merge")
    public static let beginCopy = GRPCMethod(service: replication, name: "BeginCopy")
    public static let readCopy = GRPCMethod(service: replication, name: "ReadCopy")
    public static let digest = GRPCMethod(service: replication, name: "Digest")
    public static let endCopy = GRPCMethod(service: replication, name: "EndCopy")

    public static let backup = "needletail.internal.v1.Backup"
    public static let hold = GRPCMethod(service: backup, name: "Hold")
    public static let release = GRPCMethod(service: backup, name: "Release")
    public static let beginBackup = GRPCMethod(service: backup, name: "BeginCopy")
    public static let store = GRPCMethod(service: backup, name: "Store")
    public static let restore = GRPCMethod(service: backup, name: "Restore")

    public static let heartbeat = GRPCMethod(service: membership, name: "Heartbeat")
    public static let changeInSync = GRPCMethod(service: membership, name: "ChangeInSync")
    public static let resign = GRPCMethod(service: membership, name: "Resign")
}
