public import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

/// A replica being copied here from another node, beside the one that it will take the place of.
public struct IncomingReplica: Sendable {
    public let shard: ShardID
    let folder: String
    let disk: Disk
    let pool: WorkerPool

    /// What is here already of a file, from an earlier attempt.
    public func sizeBytes(_ name: String) -> UInt64 {
        ((try? disk.files(in: folder)) ?? []).first { $0.name == name }?.sizeBytes ?? 0
    }

    /// Writes a piece of a file; pieces come in order.
    /// - Throws: `invalidArgument` for a name that leads elsewhere, `dataLoss` when the checksum is wrong, what the disk says.
    public func write(_ name: String, at offset: UInt64, _ bytes: [UInt8], checksum: UInt32) async throws {
        guard !name.hasPrefix("/"), !name.split(separator: "/").contains(where: { $0 == ".." || $0 == "." }), !name.isEmpty else {
            throw NeedletailError(.invalidArgument, "\"\(name)\" is no name of a replica's file")
        }
        let (disk, path) = (disk, folder + "/" + name)
        try await pool.run { _ in
            guard crc32c(bytes) == checksum else {
                throw NeedletailError(.dataLoss, "a piece of \(name) at \(offset) was damaged on its way; it is asked for again")
            }
            try disk.writePiece(path, at: Int(offset), bytes)
        }
    }
}

extension LocalNode {
    static let incomingSuffix = ".incoming"
    static let readySuffix = ".ready"

    /// A folder for a copy of a replica. What an earlier attempt with the same name left is still there.
    public func incoming(_ shard: ShardID) throws -> IncomingReplica {
        let folder = path(shard) + Self.incomingSuffix
        try resources.disk.createDirectory(folder)
        return IncomingReplica(shard: shard, folder: folder, disk: resources.disk, pool: resources.copyPool)
    }

    /// Forgets a copy that did not come to its end.
    public func abandon(_ incoming: IncomingReplica) async throws {
        let disk = resources.disk
        try await resources.copyPool.run { _ in try disk.removeTree(incoming.folder) }
    }

    /// Puts a copy, whole and of that sequence and epoch, in the place of the replica that is here, and opens it.
    ///
    /// - Parameter isStillWanted: asked at the last moment.
    /// - Throws: `dataLoss` when it cannot be opened, what the disk says. The former replica is then gone or still there, never both.
    public func install(_ incoming: IncomingReplica, sequence: UInt64, epoch: UInt64) async throws {
        let (shard, disk, target) = (incoming.shard, resources.disk, path(incoming.shard))
        try await exclusively(shard) {
            try await waitUntilSettled(shard)
            guard let assignment = assignment(shard) else {
                throw NeedletailError(.notFound, "shard \(shard) is not on this node any more; nothing was put in its place")
            }
            let ready = target + Self.readySuffix
            let promise = try disk.readChecked(target + "/" + Replica.promiseName)
            try await resources.maintenancePool.run { _ in
                try ReplicaLog.begin(directory: incoming.folder + "/log", after: sequence, epoch: epoch, disk: disk)
                try disk.replaceChecked(incoming.folder + "/assignment", with: assignment.encoded)
                if let promise { try disk.replaceChecked(incoming.folder + "/" + Replica.promiseName, with: promise) }
                try disk.syncTree(incoming.folder)
                // From here on it is whole: should the process end now, the next one goes on.
                try disk.renameDirectory(incoming.folder, to: ready)
            }
            let former = replicas.withLock { $0.updateValue(.loading(assignment), forKey: shard) }
            if case .ready(let replica) = former { await replica.close(discarding: true) }
            try await resources.maintenancePool.run { _ in try Self.replace(target, with: ready, disk) }
            load(assignment)
            try await waitUntilSettled(shard)
            _ = try replica(shard)
        }
    }

    /// May be done again after a crash.
    static func replace(_ target: String, with ready: String, _ disk: Disk) throws {
        try disk.removeDirectory(target)
        try disk.renameDirectory(ready, to: target)
    }

    private func assignment(_ shard: ShardID) -> ReplicaAssignment? {
        switch replicas.withLock({ $0[shard] }) {
        case .ready(let replica): replica.standing.withLock { $0 }
        case .loading(let assignment), .failed(let assignment, _): assignment
        case nil: nil
        }
    }
}
