public import NeedletailCore
public import NeedletailStorage
internal import Synchronization

/// A replica being put together from a backup, piece by piece, in a folder that nothing reads yet. One task at a time.
public struct RestoredReplica: Sendable {
    let folder: String
    let disk: Disk
    let pool: WorkerPool

    /// The checkpoint, from slabs.
    /// - Parameter image: the bytes of the slab with this number of the array with this number; nil for one that was never written.
    public func writeCheckpoint(
        _ description: CheckpointDescription, image: @Sendable (_ array: Int, _ slabs: Range<Int>) async throws -> [[UInt8]?]
    ) async throws {
        let (path, disk) = (folder + "/checkpoint", disk)
        var builder = try CheckpointBuilder(description, directory: path, disk: disk)
        for (array, described) in description.arrays.enumerated() {
            for start in stride(from: 0, to: described.slabCount, by: Self.slabsAtOnce) {
                let slabs = start..<min(described.slabCount, start + Self.slabsAtOnce)
                let images = try await image(array, slabs)
                builder = try await pool.run { [builder] _ in
                    var builder = builder
                    for (slab, image) in zip(slabs, images) { if let image { try builder.add(image, slab: slab, of: array) } }
                    return builder
                }
            }
        }
        try await pool.run { [builder] _ in
            var builder = builder
            try builder.finish()
        }
    }

    /// 4 MiB.
    private static let slabsAtOnce = 32

    /// Entries of the payloads as `PayloadStore.chunk` gave them.
    public func writePayloads(_ chunks: [[UInt8]], sequence: UInt64) async throws {
        let (path, disk) = (folder + "/payloads.lmdb", disk)
        try await pool.run { _ in
            let store = PayloadStore(path: path, disk: disk)
            defer { store.close() }
            for chunk in chunks { try store.commit(sequence: sequence, changes: try PayloadStore.entries(of: chunk)) }
            if chunks.isEmpty { try store.commit(sequence: sequence, changes: []) }
        }
    }

    /// - Parameter name: that of a codec's model.
    public func writeFile(_ name: String, _ bytes: [UInt8]) async throws {
        guard name.hasPrefix(Replica.modelPrefix), !name.contains("/") else {
            throw NeedletailError(.dataLoss, "\"\(name)\" is no name of a codec's model; the backup is damaged")
        }
        let (path, disk) = (folder + "/" + name, disk)
        try await pool.run { _ in try disk.replaceFile(path, with: bytes) }
    }

    /// The log, from the checkpoint on.
    public func beginLog(after sequence: UInt64, epoch: UInt64) async throws {
        let (path, disk) = (folder + "/log", disk)
        try await pool.run { _ in try ReplicaLog.begin(directory: path, after: sequence, epoch: epoch, disk: disk) }
    }

    public func writeLog(_ records: [LogRecord]) async throws {
        let (path, disk) = (folder + "/log", disk)
        try await pool.run { _ in
            let (log, _) = try ReplicaLog.open(directory: path, disk: disk)
            for record in records { try log.append(sequence: record.sequence, epoch: record.epoch, payload: record.payload) }
            try log.commit()
        }
    }
}

extension LocalNode {
    /// Makes a replica from a backup, or does nothing when it is there already; returns once it serves.
    ///
    /// - Parameter fill: writes its files. What it leaves when it throws is removed.
    public func restoreReplica(_ assignment: ReplicaAssignment, fill: (RestoredReplica) async throws -> Void) async throws {
        try assignment.collection.validate()
        let (shard, disk, target) = (assignment.shard, resources.disk, path(assignment.shard))
        try await exclusively(shard) {
            try await waitUntilSettled(shard)
            if replicas.withLock({ $0[shard] != nil }) {
                _ = try replica(shard)
                return
            }
            let folder = target + Self.incomingSuffix
            do {
                try await resources.maintenancePool.run { _ in
                    if disk.exists(folder) { try disk.removeTree(folder) }
                    try disk.createDirectory(folder)
                }
                try await fill(RestoredReplica(folder: folder, disk: disk, pool: resources.copyPool))
                try Task.checkCancellation()
                try await resources.maintenancePool.run { _ in
                    try disk.replaceChecked(folder + "/assignment", with: assignment.encoded)
                    try disk.syncTree(folder)
                    // From here on it is whole, and found at the next start.
                    try disk.renameDirectory(folder, to: target)
                }
            } catch {
                _ = try? await resources.maintenancePool.run { _ in try disk.removeTree(folder) }
                throw error
            }
            replicas.withLock { $0[shard] = .loading(assignment) }
            load(assignment)
            try await waitUntilSettled(shard)
            _ = try replica(shard)
        }
    }
}
