public import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

extension LocalNode {
    /// Puts a replica whose files are damaged out of the way of a new one, when its shard does not count on it: nothing that was acknowledged is
    /// only there. The files stay under `damaged/`, until the operator removes them: should the others be lost as well, they are what is left.
    ///
    /// - Parameter node: this one.
    /// - Returns: where the files are now; nil when they are sound, or may not be parted with.
    /// - Throws: `failedPrecondition` while there still are files of an earlier time: twice is no accident, and a bad disk is not to be copied to
    ///   for ever; what the disk says.
    public func setAsideDamaged(_ assignment: ReplicaAssignment, on node: NodeID) async throws -> String? {
        guard isDamaged(assignment.shard), assignment.canDoWithout(node) else { return nil }
        return try await exclusively(assignment.shard) {
            guard isDamaged(assignment.shard) else { return nil }
            let (disk, folder, from, target) = (resources.disk, damagedDirectory, path(assignment.shard), damagedPath(assignment.shard))
            guard !disk.exists(target) else {
                throw NeedletailError(
                    .failedPrecondition,
                    "the files of shard \(assignment.shard) are damaged, and not for the first time: check the disk, then remove the folder of last time, "
                        + "and the replica is filled anew",
                    location: target)
            }
            try await resources.maintenancePool.run { _ in
                try disk.createDirectory(folder)
                try disk.renameDirectory(from, to: target)
            }
            replicas.withLock { $0[assignment.shard] = nil }
            return target
        }
    }

    private func isDamaged(_ shard: ShardID) -> Bool {
        if case .failed(_, let error) = replicas.withLock({ $0[shard] }) { error.code == .dataLoss } else { false }
    }

    var damagedDirectory: String { directory + "/damaged" }

    func damagedPath(_ shard: ShardID) -> String { damagedDirectory + "/" + Self.folderName(shard) }

    /// What a damaged replica had promised binds the one in its place: the node has not become another one.
    func damagedPromise(_ shard: ShardID) -> [UInt8]? { try? resources.disk.readChecked(damagedPath(shard) + "/" + Replica.promiseName) }
}

extension ReplicaAssignment {
    /// Whether others are in sync, and the node is not.
    fileprivate func canDoWithout(_ node: NodeID) -> Bool {
        epoch > 0 && primary != node && !inSync.isEmpty && members.contains { $0.node == node && !$0.isInSync }
    }
}
