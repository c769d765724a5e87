public import NeedletailCore
public import NeedletailStorage
internal import Synchronization

/// A replica's newest checkpoint with its payloads and codec models, held still so that it can be copied: the files have second names in a
/// folder of their own, and the log keeps the records that follow.
public final class ReplicaCopy: Sendable {
    /// The last record that is in it, and its epoch.
    public let sequence: UInt64
    public let epoch: UInt64
    public let files: [CopiedFile]
    private let replica: Replica
    private let folder: String
    private let id: UInt64

    /// - Parameter mayBeEmpty: without a checkpoint there are no files, and the log has everything.
    fileprivate init(_ replica: Replica, id: UInt64, mayBeEmpty: Bool) throws {
        let disk = replica.resources.disk
        // The next one opens on this very thread, so the files stay what the manifest in memory says until this is done.
        try replica.checkFilesAreOurs()
        folder = "\(replica.directory)/copy-\(id)"
        (self.replica, self.id) = (replica, id)
        // First of all the log, since what comes after the checkpoint is needed as well.
        replica.copied.withLock { $0[id] = replica.checkpoints.manifest?.sequence ?? 0 }
        do {
            try disk.createDirectory(folder)
            // Models before and after: the checkpoint is of one of them, whichever comes or goes meanwhile.
            try replica.linkModels(to: folder)
            if mayBeEmpty, replica.checkpoints.manifest == nil {
                (sequence, epoch) = (0, 0)
            } else {
                (sequence, epoch) = try replica.checkpoints.link(to: folder + "/checkpoint")
            }
            try replica.linkModels(to: folder)
            // Last: the payloads must not be older than the checkpoint.
            try replica.payloads.store.copy(to: folder + "/payloads.lmdb")
            files = try disk.files(in: folder)
        } catch {
            replica.copied.withLock { $0[id] = nil }
            try? disk.removeTree(folder)
            throw error
        }
    }

    /// At most `count` bytes of a file.
    /// - Throws: `notFound` for a name that is not in `files`.
    public func read(_ name: String, at offset: UInt64, count: Int) async throws -> CopyPiece {
        guard files.contains(where: { $0.name == name }) else { throw NeedletailError(.notFound, "the copy has no file \"\(name)\"; begin another") }
        let (disk, path) = (replica.resources.disk, folder + "/" + name)
        // Checksums as well: event loops have searches to answer.
        return try await run {
            let bytes = try disk.readPiece(path, at: Int(offset), count: count)
            return CopyPiece(offset: offset, bytes: bytes, checksum: crc32c(bytes))
        }
    }

    /// Gives the files to a replica that begins with them; what remains is to `end` the copy.
    func move(to target: String) throws { try replica.resources.disk.renameDirectory(folder, to: target) }

    public var hosted: HostedReplica { HostedReplica(replica: replica) }

    /// The checkpoint, to be read slab by slab; nil when there is none.
    public func checkpoint() async throws -> CheckpointReader? {
        let (disk, path) = (replica.resources.disk, folder + "/checkpoint")
        return sequence == 0 ? nil : try await run { try CheckpointReader(directory: path, disk: disk) }
    }

    /// The payloads; to be closed before `end`.
    public func payloadStore() -> PayloadStore { PayloadStore(path: folder + "/payloads.lmdb", disk: replica.resources.disk) }

    /// What is beside the checkpoint and the payloads: codec models.
    public var otherFiles: [CopiedFile] { files.filter { !$0.name.contains("/") && !$0.name.hasPrefix("payloads.lmdb") } }

    /// Runs what waits for the disk on a thread that may.
    public func run<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await replica.resources.copyPool.run { _ in try body() }
    }

    /// Lets go of the files.
    public func end() {
        replica.copied.withLock { $0[id] = nil }
        try? replica.resources.disk.removeTree(folder)
    }
}

extension HostedReplica {
    /// Holds the newest checkpoint still, for copying; first writes one if there is none.
    /// - Parameter mayBeEmpty: a replica without a write has no checkpoint either, nor does one that has applied none yet.
    /// - Throws: what the disk says.
    public func copy(mayBeEmpty: Bool = false) async throws -> ReplicaCopy {
        // A log that comes after a copy must not begin with records whose order is this node's own.
        let least = replica.ownOrderEnd
        if (replica.checkpoints.manifest.map { $0.sequence < least } ?? true) {
            await replica.applier.untilCheckpointEnds()
            replica.requestCheckpoint()
            await replica.untilCheckpointed()
        }
        guard replica.checkpoints.manifest?.sequence ?? 0 >= least else {
            throw NeedletailError(.unavailable, "shard \(shard) was merged a moment ago and is still being written to the disk; try again")
        }
        let replica = replica
        return try await replica.resources.maintenancePool.run { _ in try ReplicaCopy(replica, id: .random(in: 1...UInt64.max), mayBeEmpty: mayBeEmpty) }
    }
}

extension Replica {
    fileprivate func linkModels(to folder: String) throws {
        for name in try resources.disk.list(directory) where modelName(name) != nil {
            // It may go meanwhile: then a later one is there.
            try? resources.disk.addName(directory + "/" + name, folder + "/" + name)
        }
    }

    /// Copies that a crash cut short.
    func removeCopies() throws {
        for name in try resources.disk.list(directory) where name.hasPrefix("copy-") { try resources.disk.removeTree(directory + "/" + name) }
    }

    fileprivate func untilCheckpointed() async {
        await untilIdle()
        await applier.untilCheckpointEnds()
    }
}
