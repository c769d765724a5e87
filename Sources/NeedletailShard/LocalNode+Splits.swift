public import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

// A shard is split by making its children beside it: see `Docs/decisions/0014-splits.md`.

extension LocalNode {
    /// Makes a replica of a part of a shard from the parent's newest checkpoint, by links: its log goes on after that. Until the cluster gives it
    /// an epoch it answers nobody.
    ///
    /// - Parameter assignment: of epoch 0, with the child's range.
    /// - Throws: what the disk says. Then nothing is there, or it goes with the next start.
    public func makeChild(_ assignment: ReplicaAssignment, of parent: HostedReplica) async throws {
        let (shard, disk, target) = (assignment.shard, resources.disk, path(assignment.shard))
        try await exclusively(shard) {
            guard replicas.withLock({ $0[shard] }) == nil else { return }
            // Not while the parent is being removed: the copy begins in its folder.
            let copied = try await exclusively(parent.shard) { () async throws -> ReplicaCopy? in
                guard try hosted(parent.shard).isSame(as: parent) else {
                    throw NeedletailError(.unavailable, "shard \(parent.shard) was opened anew; try again")
                }
                return try await parent.copyIfWritten()
            }
            guard let copy = copied else {
                // Nothing was written to a checkpoint yet: the log has all.
                return try await makeEmpty(assignment)
            }
            parent.keepLog(after: copy.sequence, for: shard)
            let (incoming, ready) = (target + Self.incomingSuffix, target + Self.readySuffix)
            do {
                try await resources.maintenancePool.run { _ in
                    try disk.removeTree(incoming)
                    try disk.removeTree(ready)
                    try copy.move(to: incoming)
                    try ReplicaLog.begin(directory: incoming + "/log", after: copy.sequence, epoch: copy.epoch, disk: disk)
                    try disk.replaceChecked(incoming + "/assignment", with: assignment.encoded)
                    try disk.syncTree(incoming)
                    try disk.renameDirectory(incoming, to: ready)
                    try Self.replace(target, with: ready, disk)
                }
            } catch {
                copy.end()
                throw error
            }
            copy.end()
            replicas.withLock { $0[shard] = .loading(assignment) }
            load(assignment)
            try await waitUntilSettled(shard)
        }
        _ = try replica(shard)
    }

    private func makeEmpty(_ assignment: ReplicaAssignment) async throws {
        replicas.withLock { $0[assignment.shard] = .loading(assignment) }
        do { try await store(assignment) } catch {
            replicas.withLock { $0[assignment.shard] = nil }
            throw error
        }
        load(assignment)
        try await waitUntilSettled(assignment.shard)
    }
}

extension HostedReplica {
    /// As `copy`; nil when there is no checkpoint, and the log goes back to the first record.
    fileprivate func copyIfWritten() async throws -> ReplicaCopy? {
        if replica.checkpoints.manifest == nil, replica.log.firstSequence == 1, !replica.applier.isDirty { return nil }
        return try await copy()
    }

    /// The log keeps what follows `sequence` for this reader; nil: no longer. Forgotten when the replica is opened anew.
    public func keepLog(after sequence: UInt64?, for reader: ShardID) { replica.copied.withLock { $0[UInt64(reader.number)] = sequence } }

    /// Whether the cluster has not given it an epoch yet: a part of a shard that is being split.
    public var isUnborn: Bool { assignment.epoch == 0 }

    /// Whether a checkpoint is being written, beside which a sync of the log takes longer.
    public var isWritingCheckpoint: Bool { replica.applier.isCheckpointing.load(ordering: .acquiring) }

    /// Whether the points of its siblings are cut out of its graphs.
    public var isTidy: Bool { !replica.applier.isTidying.load(ordering: .acquiring) }

    /// Takes no more writes of epochs before this one, also after a restart.
    /// - Returns: where the log ends: no write follows that in those epochs.
    public func seal(before epoch: UInt64) async throws -> UInt64 {
        let replica = replica
        replica.operations.withLock { _ in raiseEpoch(replica.sealedEpoch, to: epoch) }
        return try await replica.resources.modelPool.run { _ in
            try replica.storeSeal()
            // What was admitted before is in the queue, and then in the log or refused.
            replica.existingCommitter?.drain()
            return replica.log.lastSequence
        }
    }

    /// Answers no more reads of epochs before this one, also after a restart.
    public func close(before epoch: UInt64) async throws {
        let replica = replica
        raiseEpoch(replica.closedEpoch, to: epoch)
        try await replica.resources.modelPool.run { _ in try replica.storeSeal() }
    }

    /// Whether it answers no reads of epochs before this one, whatever happens to it.
    public func isClosed(before epoch: UInt64) -> Bool { replica.storedSeal.withLock { $0.closed >= epoch } }

    /// Takes over what of the parent's records, all of them committed, concerns this part of it. Their sequences are kept.
    public func follow(_ records: [LogRecord]) async throws {
        let replica = replica
        let range = replica.assignment.range
        let own = try await replica.resources.intakePool.run { _ in
            try records.map { record in
                let logged = try LoggedWrite(encoded: record.payload)
                let batch = WriteBatch(try WriteBatch(encoded: logged.batch).operations.filter { range.contains($0.id.placementHash) })
                let part = LoggedWrite(committed: record.sequence, operation: logged.operation, batch: batch.encoded, isPart: true)
                return LogRecord(sequence: record.sequence, epoch: record.epoch, payload: part.encoded)
            }
        }
        try await accept(own)
        if let last = own.last { commit(through: last.sequence) }
    }

    /// Puts on the disk what waits for that by interval.
    public func syncNow() async throws {
        let replica = replica
        guard replica.log.durableSequence < replica.log.lastSequence else { return }
        try await replica.resources.modelPool.run { _ in try replica.log.sync() }
    }

    /// Every record up to here is applied and on the disk.
    public var safeSequence: UInt64 { min(appliedSequence, logEnd.durable) }
}

/// Never back: two orders may come at once.
private func raiseEpoch(_ epoch: borrowing Atomic<UInt64>, to value: UInt64) {
    var known = epoch.load(ordering: .acquiring)
    while known < value { (_, known) = epoch.compareExchange(expected: known, desired: value, ordering: .acquiringAndReleasing) }
}

extension Replica {
    /// Opens: what was sealed stays so.
    func restoreSeal() throws {
        guard let bytes = try resources.disk.readChecked(sealPath) else { return }
        var reader = ByteReader(bytes, location: sealPath)
        guard try reader.u8() == 1 else {
            throw NeedletailError(.failedPrecondition, "a replica's seal has a format that this build does not read; upgrade this node", location: sealPath)
        }
        let (sealed, closed) = (try reader.u64(), try reader.u64())
        storedSeal.withLock { $0 = (sealed, closed) }
        raiseEpoch(sealedEpoch, to: sealed)
        raiseEpoch(closedEpoch, to: closed)
    }

    private var sealPath: String { directory + "/sealed" }

    /// Puts on the disk what is sealed and closed, if it is not there.
    fileprivate func storeSeal() throws {
        try storedSeal.withLock { stored in
            let seal = (sealed: sealedEpoch.load(ordering: .acquiring), closed: closedEpoch.load(ordering: .acquiring))
            guard seal != stored else { return }
            var writer = ByteWriter()
            writer.u8(1)
            writer.u64(seal.sealed)
            writer.u64(seal.closed)
            try resources.disk.replaceChecked(sealPath, with: writer.bytes)
            stored = seal
        }
    }

    /// - Throws: `aborted` when the shard takes no writes in this epoch, or has none yet: nothing was done, and the map will soon say where to turn.
    func checkOpen(_ epoch: UInt64) throws(NeedletailError) { try check(epoch, after: sealedEpoch.load(ordering: .acquiring)) }

    /// - Throws: `aborted` when the shard answers no reads in its epoch, or has none yet; `unavailable` while the replica has not what its shard has.
    func checkReadable() throws(NeedletailError) {
        if isUnfilled.load(ordering: .acquiring) {
            throw NeedletailError(.unavailable, "this replica of shard \(assignment.shard) is being filled; ask another one")
        }
        try check(standing.withLock { $0.epoch }, after: closedEpoch.load(ordering: .acquiring))
    }

    private func check(_ epoch: UInt64, after end: UInt64) throws(NeedletailError) {
        guard epoch == 0 || epoch < end else { return }
        throw NeedletailError(.aborted, "shard \(assignment.shard) is being split or merged; read the cluster map again")
    }
}
