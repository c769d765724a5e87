/// What a client can ask of backups: part of `ClusterOperations`. See `Proto/needletail/v1/backup.proto`.
public protocol BackupOperations: Sendable {
    func createBackup(_ order: BackupOrder, deadline: Deadline?) async throws -> BackupOperationInfo
    func restoreBackup(_ order: RestoreOrder, deadline: Deadline?) async throws -> BackupOperationInfo
    func deleteBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupOperationInfo
    func backups(in target: String, deadline: Deadline?) async throws -> [BackupInfo]
    func verifyBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupVerification
    /// Oldest first.
    func backupOperations(deadline: Deadline?) async throws -> [BackupOperationInfo]
    func cancelBackupOperation(_ id: UInt64, deadline: Deadline?) async throws -> BackupOperationInfo
}

public struct BackupOrder: Sendable, Hashable {
    public var collection: String
    public var target: String
    /// Empty: the collection's, with the time.
    public var name: String

    public init(collection: String, target: String, name: String = "") {
        self.collection = collection
        self.target = target
        self.name = name
    }
}

public struct RestoreOrder: Sendable, Hashable {
    public var target: String
    public var name: String
    /// Of the new collection; empty: as in the backup.
    public var collection: String
    /// 0: as in the backup.
    public var shardCount: Int
    /// 0: as in the backup.
    public var replicationFactor: Int

    public init(target: String, name: String, collection: String = "", shardCount: Int = 0, replicationFactor: Int = 0) {
        self.target = target
        self.name = name
        self.collection = collection
        self.shardCount = shardCount
        self.replicationFactor = replicationFactor
    }
}

public enum BackupKind: UInt8, Sendable {
    case backup = 1
    case restore = 2
    case deletion = 3
}

/// A backup, restore or deletion, from when it was asked for.
public struct BackupOperationInfo: Sendable, Hashable {
    public var id: UInt64
    public var kind: BackupKind
    public var target: String
    public var name: String
    public var collection: String
    public var step: String
    public var hasEnded: Bool
    public var problem: String
    /// nil unless it failed.
    public var failure: NeedletailError.Code?
    public var progress: UInt64 = 0
    public var total: UInt64 = 0
    public var bytes: UInt64 = 0
    public var newBytes: UInt64 = 0
    public var heldMicroseconds: UInt64 = 0
    public var createdMilliseconds: Int64 = 0
    public var changedMilliseconds: Int64 = 0

    public init(
        id: UInt64, kind: BackupKind, target: String, name: String, collection: String, step: String, hasEnded: Bool, problem: String,
        failure: NeedletailError.Code? = nil
    ) {
        self.id = id
        self.kind = kind
        self.target = target
        self.name = name
        self.collection = collection
        self.step = step
        self.hasEnded = hasEnded
        self.problem = problem
        self.failure = failure
    }
}

public struct BackupInfo: Sendable, Hashable {
    public var name: String
    public var collection: String = ""
    public var shards: Int = 0
    public var createdMilliseconds: Int64 = 0
    public var bytes: UInt64 = 0
    public var newBytes: UInt64 = 0
    public var software: String = ""
    public var heldMicroseconds: UInt64 = 0
    /// Why it cannot be read; then only the name is known.
    public var problem: String = ""

    public init(name: String) { self.name = name }
}

public struct BackupVerification: Sendable, Hashable {
    public var objects: UInt64
    public var bytes: UInt64
    /// Empty: nothing is damaged or missing.
    public var problems: [String]

    public init(objects: UInt64, bytes: UInt64, problems: [String]) {
        self.objects = objects
        self.bytes = bytes
        self.problems = problems
    }
}

// MARK: Between coordinators and shard workers

/// What the leader asks of shard workers for backups.
public protocol BackupWorker: Sendable {
    /// Holds writes to a shard back, as its primary, until `release` or the limit.
    /// - Returns: the last write before; all up to it are committed.
    func hold(_ shard: ShardID, epoch: UInt64, token: UInt64, limit: Duration, deadline: Deadline?) async throws -> UInt64
    /// - Returns: for how long writes were held.
    /// - Throws: `aborted` when they were not held all the time.
    func release(_ shard: ShardID, epoch: UInt64, token: UInt64, deadline: Deadline?) async throws -> Duration
    /// Holds the newest checkpoint still, and the log from there on.
    func beginBackup(_ shard: ShardID, deadline: Deadline?) async throws -> CopyDescription
    func store(_ request: ShardStore) async throws -> StoredShard
    func restore(_ request: ShardRestore) async throws
}

/// An object of a backup.
public struct PieceName: Sendable, Hashable {
    /// SHA-256.
    public var checksum: [UInt8]
    public var sizeBytes: UInt64

    public init(checksum: [UInt8], sizeBytes: UInt64) {
        self.checksum = checksum
        self.sizeBytes = sizeBytes
    }
}

/// Stores a copy, and the log from there up to a write.
public struct ShardStore: Sendable, Hashable {
    public var shard: ShardID
    public var copy: UInt64
    /// The last write.
    public var cut: UInt64
    public var target: String

    public init(shard: ShardID, copy: UInt64, cut: UInt64, target: String) {
        self.shard = shard
        self.copy = copy
        self.cut = cut
        self.target = target
    }
}

public struct StoredShard: Sendable, Hashable {
    public var index: PieceName
    /// Of the last write.
    public var epoch: UInt64
    public var pieces: UInt64
    public var bytes: UInt64
    /// Those that were not there before.
    public var newPieces: UInt64
    public var newBytes: UInt64

    public init(index: PieceName, epoch: UInt64, pieces: UInt64, bytes: UInt64, newPieces: UInt64, newBytes: UInt64) {
        self.index = index
        self.epoch = epoch
        self.pieces = pieces
        self.bytes = bytes
        self.newPieces = newPieces
        self.newBytes = newBytes
    }
}

/// Makes a replica of what `ShardStore` stored.
public struct ShardRestore: Sendable, Hashable {
    public var assignment: ReplicaAssignment
    public var target: String
    public var index: PieceName

    public init(assignment: ReplicaAssignment, target: String, index: PieceName) {
        self.assignment = assignment
        self.target = target
        self.index = index
    }
}
