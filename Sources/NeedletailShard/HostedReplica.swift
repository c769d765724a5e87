public import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

/// A replica that serves here, as those see it who keep it in step with its fellows: its log, and how far of it counts.
public struct HostedReplica: Sendable {
    let replica: Replica

    public var shard: ShardID { replica.assignment.shard }
    public var assignment: ReplicaAssignment { replica.standing.withLock { $0 } }

    /// How far a replica's log goes.
    public struct LogEnd: Sendable, Equatable {
        /// The first sequence that the log still has; one more than `last` when it has none.
        public var first: UInt64
        /// The last record, queued ones included.
        public var last: UInt64
        /// The last record on this disk.
        public var durable: UInt64
        /// Up to here records are known to be on the disks of all in-sync replicas.
        public var committed: UInt64
        /// Where its epochs begin, as far as the log and the checkpoint tell.
        public var epochs: [LogEpoch]
    }

    public var logEnd: LogEnd {
        let (log, gate) = (replica.log, replica.gate.withLock { ($0.committed, $0.durable) })
        let queued = replica.lastQueued ?? log.lastSequence
        return LogEnd(
            first: max(log.firstSequence, replica.ownOrderEnd + 1), last: queued, durable: min(log.durableSequence, gate.1),
            committed: gate.0, epochs: replica.logEpochs)
    }

    /// The newest checkpoint has every write up to here; 0 when there is none.
    public var checkpointedSequence: UInt64 { replica.checkpoints.manifest?.sequence ?? 0 }

    /// Why the log takes no writes until the replica is opened anew; nil when it does, or will by itself.
    public var brokenLog: NeedletailError? { replica.log.readOnlyReason.flatMap { $0.code == .dataLoss ? $0 : nil } }

    /// The log when nothing is under way, for a replica that is not written to any more: it has fellows, and no observer yet.
    public func settledLog() async throws -> LogEnd {
        let replica = replica
        return try await replica.resources.modelPool.run { _ in
            // A write that was admitted before is queued by now.
            replica.operations.withLock { _ in }
            replica.existingCommitter?.drain()
            return HostedReplica(replica: replica).logEnd
        }
    }

    /// Whether it answers no reads, since it began without what its shard has.
    public var isUnfilled: Bool { replica.isUnfilled.load(ordering: .acquiring) }

    /// It is in sync.
    public func noteFilled() async throws {
        let (disk, path) = (replica.resources.disk, replica.directory + "/" + Replica.unfilledName)
        try await replica.resources.modelPool.run { _ in try disk.removeFile(path) }
        replica.isUnfilled.store(false, ordering: .releasing)
    }

    /// Whether it is the same opening of the same replica.
    public func isSame(as other: HostedReplica) -> Bool { replica === other.replica }

    /// Every write up to here is visible to searches.
    public var appliedSequence: UInt64 { replica.appliedSequence.load(ordering: .acquiring) }

    /// From now on it is told what happens to the log; nil ends that, and with it being written to.
    public func observe(_ observer: (any ReplicationObserver)?) { replica.observer.withLock { $0 = observer } }

    /// Records from `sequence` on, those that wait for the disk included: at least one if there is any, beyond that about `maximumBytes`.
    /// - Throws: `outOfRange` when the log begins after `sequence`; `dataLoss` when it is damaged.
    public func records(from sequence: UInt64, maximumBytes: Int) async throws -> [LogRecord] {
        let replica = replica
        if let recent = replica.existingCommitter?.recentRecords(from: sequence, maximumBytes: maximumBytes) { return recent }
        return try await replica.resources.modelPool.run { _ in try replica.log.records(from: sequence, maximumBytes: maximumBytes) }
    }

    /// Appends records that the primary sent, in the order of their sequences. The observer hears when they are on the disk.
    /// - Throws: `failedPrecondition` when the first record does not follow the log's end, `dataLoss` for bytes that are no write, what the
    ///   log says while it is read-only.
    public func accept(_ records: [LogRecord]) async throws {
        let replica = replica
        let batches = try await replica.resources.intakePool.run { _ in
            try records.map { record in
                let logged = try LoggedWrite(encoded: record.payload)
                var batch = try PreparedBatch(
                    encoded: logged.batch, collection: replica.assignment.collection, layouts: replica.layouts, range: replica.assignment.range)
                if logged.isPart { batch.isMark = false }
                return (logged, batch)
            }
        }
        for (record, (logged, batch)) in zip(records, batches) {
            let operation = logged.operation
            let trace = WriteTrace(record, shard: replica.assignment.shard, replica.resources.tracer)
            try replica.operations.withLock { table in
                try replica.withCommitter { committer in
                    try committer.append(sequence: record.sequence, epoch: record.epoch, payload: record.payload) { result in
                        trace?.becameDurable(committer.times)
                        replica.logged(result, epoch: record.epoch, operation: operation, batch, trace, source: logged.source)
                    }
                }
                if let source = logged.source { replica.lineage.withLock { $0.advance(source) } }
                if let operation { table.note(operation, batch.operations, sequence: record.sequence, now: .now) }
            }
        }
    }

    /// Records up to `sequence` are on the disks of all in-sync replicas, and those up to `majority` on those of most.
    public func commit(through sequence: UInt64, majority: UInt64 = 0) {
        replica.pass { $0.commit(through: sequence, majority: majority) }
    }

    /// Removes the records after `sequence` from the log: another primary never had them, and nobody was told that they are safe.
    /// - Throws: `internal` when one of the records is committed, which the protocol rules out; what the disk says.
    public func cut(after sequence: UInt64) async throws {
        let replica = replica
        try await replica.resources.modelPool.run { _ in
            try replica.withCommitter { committer in
                try committer.whileIdle { log in
                    let committed = replica.gate.withLock { $0.committed }
                    guard sequence >= committed else {
                        throw NeedletailError(
                            .internal,
                            "shard \(replica.assignment.shard) was told to cut its log after \(sequence), and \(committed) is committed; report this")
                    }
                    try log.truncateSuffix(after: sequence)
                    replica.takeBack(
                        after: sequence,
                        NeedletailError(.unavailable, "another primary took over before the write was safe; send it again with the same operation id"))
                }
            }
        }
    }

    /// Runs `body` while no write is between its admission and the log, so that a change of the role falls between two writes.
    public func betweenWrites<Value>(_ body: () -> sending Value) -> sending Value { replica.operations.withLock { _ in body() } }

    /// Keeps a few bytes beside the replica's data, durable when it returns; the last ones are what counts.
    public func storePromise(_ bytes: [UInt8]) async throws {
        let (disk, path) = (replica.resources.disk, replica.directory + "/" + Replica.promiseName)
        try await replica.resources.modelPool.run { _ in try disk.replaceChecked(path, with: bytes) }
    }

    /// What was stored last; nil before that.
    public func storedPromise() throws -> [UInt8]? { try replica.resources.disk.readChecked(replica.directory + "/" + Replica.promiseName) }

    /// Answers everyone who waits for a write: it is not known here any more what becomes of it.
    public func abandonWriters(_ error: NeedletailError) { replica.abandonWriters(error) }

    /// Waits until every write up to `sequence` is visible to searches.
    /// - Throws: `deadlineExceeded`.
    public func waitUntilApplied(_ sequence: UInt64, deadline: Deadline?) async throws { try await replica.waitUntilApplied(sequence, deadline: deadline) }
}

extension Replica {
    /// nil before the first write since the replica was opened.
    var lastQueued: UInt64? { existingCommitter?.lastQueued }

    /// The last record that nodes may have in another order than this one; 0 when there is none.
    var ownOrderEnd: UInt64 { lineage.withLock { $0.end } }

    /// Where the log's epochs begin; that of the last record of the checkpoint comes first when the log has no older one.
    var logEpochs: [LogEpoch] {
        // Up to the end of what came of parents the records' order is this node's own: others begin after it.
        let shared = ownOrderEnd
        if log.firstSequence <= shared {
            return [LogEpoch(epoch: Lineage.epoch, firstSequence: shared)] + log.epochs.filter { $0.firstSequence > shared }
        }
        var epochs = log.epochs
        guard let manifest = checkpoints.manifest, manifest.epoch > 0 else { return epochs }
        let begin = LogEpoch(epoch: manifest.epoch, firstSequence: manifest.sequence)
        if epochs.isEmpty { return [begin] }
        // A log that begins right after the checkpoint: who has nothing but that checkpoint can follow it.
        if manifest.sequence + 1 == log.firstSequence, let first = epochs.first, first.firstSequence > manifest.sequence {
            if first.epoch == manifest.epoch { epochs[0] = begin } else { epochs.insert(begin, at: 0) }
        }
        return epochs
    }

    func waitUntilApplied(_ sequence: UInt64, deadline: Deadline?) async throws {
        while true {
            let ticket = appliedChange.ticket
            if appliedSequence.load(ordering: .acquiring) >= sequence { return }
            if let failure = applier.failure { throw failure }
            guard deadline?.isPast != true else {
                throw NeedletailError(
                    .deadlineExceeded, "shard \(assignment.shard) has not applied write \(sequence) yet on this node; allow more time, or ask another replica")
            }
            try await appliedChange.wait(after: ticket, until: deadline)
        }
    }
}
