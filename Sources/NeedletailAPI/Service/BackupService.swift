public import NeedletailCore
public import NeedletailGRPC

extension GRPCRouter {
    /// Serves `needletail.v1.Backups`.
    mutating func registerBackups(_ operations: any BackupOperations) {
        serveControl(PublicMethods.createBackup, PublicMessages.createBackup, PublicMessages.backupOperation) { order, deadline in
            try await operations.createBackup(order, deadline: deadline)
        }
        serveControl(PublicMethods.restoreBackup, PublicMessages.restoreBackup, PublicMessages.backupOperation) { order, deadline in
            try await operations.restoreBackup(order, deadline: deadline)
        }
        serveControl(PublicMethods.deleteBackup, PublicMessages.deleteBackup, PublicMessages.backupOperation) { backup, deadline in
            try await operations.deleteBackup(backup.name, in: backup.target, deadline: deadline)
        }
        serve(PublicMethods.listBackups, PublicMessages.listBackups, PublicMessages.backups) { target, deadline in
            try await operations.backups(in: target, deadline: deadline)
        }
        serve(PublicMethods.verifyBackup, PublicMessages.verifyBackup, PublicMessages.backupVerified) { backup, deadline in
            try await operations.verifyBackup(backup.name, in: backup.target, deadline: deadline)
        }
        serveControl(PublicMethods.backupOperations, PublicMessages.listBackupOperations, PublicMessages.backupOperations) { _, deadline in
            try await operations.backupOperations(deadline: deadline)
        }
        serveControl(PublicMethods.cancelBackup, PublicMessages.cancelBackup, PublicMessages.backupOperation) { id, deadline in
            try await operations.cancelBackupOperation(id, deadline: deadline)
        }
    }

    /// Serves `needletail.internal.v1.Backup`: what a shard worker does for backups.
    public mutating func registerBackupWorker(_ worker: any BackupWorker) {
        serve(InternalMethods.hold, InternalMessages.hold, InternalMessages.held) { hold, deadline in
            try await worker.hold(hold.shard, epoch: hold.epoch, token: hold.token, limit: hold.limit, deadline: deadline)
        }
        serve(InternalMethods.release, InternalMessages.release, InternalMessages.released) { hold, deadline in
            try await worker.release(hold.shard, epoch: hold.epoch, token: hold.token, deadline: deadline)
        }
        serve(InternalMethods.beginBackup, InternalMessages.shard, InternalMessages.copyDescription) { shard, deadline in
            try await worker.beginBackup(shard, deadline: deadline)
        }
        serve(InternalMethods.store, InternalMessages.store, InternalMessages.stored) { request, _ in try await worker.store(request) }
        serve(InternalMethods.restore, InternalMessages.restore, InternalMessages.empty) { request, _ in try await worker.restore(request) }
    }
}

extension RemoteCluster {
    public func createBackup(_ order: BackupOrder, deadline: Deadline?) async throws -> BackupOperationInfo {
        try await client.call(
            PublicMethods.createBackup, PublicMessages.createBackup, order, PublicMessages.backupOperation, deadline: deadline, metadata: controlMetadata)
    }

    public func restoreBackup(_ order: RestoreOrder, deadline: Deadline?) async throws -> BackupOperationInfo {
        try await client.call(
            PublicMethods.restoreBackup, PublicMessages.restoreBackup, order, PublicMessages.backupOperation, deadline: deadline, metadata: controlMetadata)
    }

    public func deleteBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupOperationInfo {
        try await client.call(
            PublicMethods.deleteBackup, PublicMessages.deleteBackup, (target: target, name: name), PublicMessages.backupOperation, deadline: deadline,
            metadata: controlMetadata)
    }

    public func backups(in target: String, deadline: Deadline?) async throws -> [BackupInfo] {
        try await client.call(PublicMethods.listBackups, PublicMessages.listBackups, target, PublicMessages.backups, deadline: deadline)
    }

    public func verifyBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupVerification {
        try await client.call(
            PublicMethods.verifyBackup, PublicMessages.verifyBackup, (target: target, name: name), PublicMessages.backupVerified, deadline: deadline)
    }

    public func backupOperations(deadline: Deadline?) async throws -> [BackupOperationInfo] {
        try await client.call(
            PublicMethods.backupOperations, PublicMessages.listBackupOperations, (), PublicMessages.backupOperations, deadline: deadline,
            metadata: controlMetadata)
    }

    public func cancelBackupOperation(_ id: UInt64, deadline: Deadline?) async throws -> BackupOperationInfo {
        try await client.call(
            PublicMethods.cancelBackup, PublicMessages.cancelBackup, id, PublicMessages.backupOperation, deadline: deadline, metadata: controlMetadata)
    }
}

/// A shard worker's part in backups, over the network.
public struct RemoteBackupWorker: BackupWorker {
    private let client: GRPCClient

    public init(_ client: GRPCClient) { self.client = client }

    public func hold(_ shard: ShardID, epoch: UInt64, token: UInt64, limit: Duration, deadline: Deadline?) async throws -> UInt64 {
        try await client.call(
            InternalMethods.hold, InternalMessages.hold, (shard: shard, epoch: epoch, token: token, limit: limit), InternalMessages.held, deadline: deadline)
    }

    public func release(_ shard: ShardID, epoch: UInt64, token: UInt64, deadline: Deadline?) async throws -> Duration {
        try await client.call(
            InternalMethods.release, InternalMessages.release, (shard: shard, epoch: epoch, token: token), InternalMessages.released, deadline: deadline)
    }

    public func beginBackup(_ shard: ShardID, deadline: Deadline?) async throws -> CopyDescription {
        try await client.call(InternalMethods.beginBackup, InternalMessages.shard, shard, InternalMessages.copyDescription, deadline: deadline)
    }

    public func store(_ request: ShardStore) async throws -> StoredShard {
        try await client.call(InternalMethods.store, InternalMessages.store, request, InternalMessages.stored, deadline: nil)
    }

    public func restore(_ request: ShardRestore) async throws {
        try await client.call(InternalMethods.restore, InternalMessages.restore, request, InternalMessages.empty, deadline: nil)
    }
}
