internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import Synchronization

extension Replica {
    /// Opens a replica's folder, or makes it: maps the checkpoint, then applies what the log has beyond it. No graph is rebuilt.
    ///
    /// Runs on a maintenance thread; linking uses the build threads.
    /// - Throws: `dataLoss` when the log or the checkpoint is damaged, with the file, offset and the command that helps.
    static func open(
        _ assignment: ReplicaAssignment, directory: String, resources: NodeResources, scratch: inout SearchScratch
    ) throws -> Replica {
        let disk = resources.disk
        try disk.createDirectory(directory)
        var configuration = resources.configuration.log
        if case .interval(let milliseconds) = assignment.collection.durability { configuration.syncMode = .interval(.milliseconds(milliseconds)) }
        let (log, recovery) = try ReplicaLog.open(directory: directory + "/log", configuration: configuration, disk: disk)
        let checkpoints = try CheckpointStore.open(directory: directory + "/checkpoint", disk: disk)
        let payloads = PayloadOverlay(store: PayloadStore(path: directory + "/payloads.lmdb", disk: disk))
        let replica = Replica(
            assignment: assignment, directory: directory, resources: resources, log: log, recovery: recovery, checkpoints: checkpoints,
            payloads: payloads)
        try replica.removeCopies()
        try replica.restoreSeal()
        replica.isUnfilled.store(disk.exists(directory + "/" + unfilledName), ordering: .releasing)
        try replica.recover(scratch: &scratch)
        replica.resumeEncoding()
        // Of a part that has just begun: cuts the others' points out of the graphs and keeps that.
        if replica.applier.isTidying.load(ordering: .acquiring) { replica.requestCheckpoint() }
        return replica
    }

    private func recover(scratch: inout SearchScratch) throws {
        var sequence: UInt64 = 0
        let models = try storedModels()
        let merge = try storedMerge()
        if let manifest = checkpoints.manifest {
            // Points of one parent, at first; what its checkpoint may still have of the other's comes from that.
            try loadCheckpoint(manifest, models, keeping: merge?.kept ?? assignment.range)
            sequence = manifest.sequence
        }
        if let merge {
            sequence = merge.lineage.end
            begin(merge)
        }
        // Of models that the checkpoint has no codes of, or that came before the first one.
        beginCodecs(models.values.compactMap(\.last).sorted { $0.model.field < $1.model.field })
        appliedSequence.store(sequence, ordering: .releasing)
        gate.withLock { $0 = CommitGate(isAlone: assignment.isAlone, sequence: sequence) }
        if log.lastSequence < sequence {
            // Cut short by a repair: the checkpoint holds more than the log does. Otherwise the log always reaches at least that far.
            guard try resources.disk.list(directory + "/log").contains(where: { $0.hasSuffix(".damaged") }) else {
                throw NeedletailError(
                    .dataLoss,
                    "the log ends at sequence \(log.lastSequence), before the checkpoint at \(sequence): files are missing; put them back from a copy",
                    location: directory + "/log")
            }
            try log.reset(nextSequence: sequence + 1, epoch: applier.appliedEpoch)
        }
        try replay(from: sequence + 1, scratch: &scratch)
        if let failure = applier.failure { throw failure }
    }

    private func loadCheckpoint(_ manifest: Manifest, _ models: [Int: [TrainedCodec]], keeping range: HashRange) throws {
        let state = try CheckpointState(encoded: manifest.metadata)
        guard state.indexes.count == fields.count else {
            throw NeedletailError(
                .failedPrecondition, "the checkpoint has \(state.indexes.count) vector fields, the collection \(fields.count)", location: directory)
        }
        guard let stored = try payloads.store.sequence(), stored >= manifest.sequence else {
            throw NeedletailError(
                .dataLoss, "payloads.lmdb is older than the checkpoint it belongs to; \(NeedletailError.damagedReplicaAdvice)", location: directory)
        }
        applier.appliedEpoch = manifest.epoch
        let known = try state.operations(in: range, now: .now)
        operations.withLock { $0 = known }
        applier.lineage = state.lineage
        lineage.withLock { $0 = state.lineage }
        let codes = SavedCodes(manifest, state: state, fields: fields, models: models)
        try checkpoints.load(into: slabs + codes.slabs)
        let foreign: [UInt32]
        (applier.retired, foreign) = try points.restore(keeping: range)
        let leaving = SlotBits(capacity: foreign.isEmpty ? 0 : points.slotBound)
        if !foreign.isEmpty {
            for slot in foreign {
                payloads.delete(points.id(slot).orderedKey)
                leaving.set(Int(slot))
            }
            applier.noteChanges(foreign.count)
            applier.beginTidying(foreign, roundAtLeast: resources.configuration.repairPoints)
        }
        for (field, index) in zip(fields, state.indexes) {
            try field.graph.restore(
                index, slots: points.slotBound, isLeaving: { !foreign.isEmpty && leaving[$0] }, isLive: { points.state(UInt32($0)) == .current })
        }
        for (trained, slab, mark) in codes.wanted {
            guard mark.bound <= points.slotBound else {
                throw NeedletailError(.dataLoss, "the checkpoint's codec state is damaged; \(NeedletailError.damagedReplicaAdvice)", location: directory)
            }
            try fields[trained.model.field].beginCodec(trained.codec, slab: slab, mark: mark)
        }
    }

    /// Takes in the log's tail and applies in groups what of it is committed; the rest waits at the gate until the primary says how far the
    /// others are. Payload changes that the store has already are made again, to the same end.
    private func replay(from first: UInt64, scratch: inout SearchScratch) throws {
        var group: [DurableBatch] = []
        var count = 0
        func applyGroup(_ scratch: inout SearchScratch) {
            apply(group, scratch: &scratch)
            maintain(wantsCheckpoint: false, scratch: &scratch)
            (group, count) = ([], 0)
        }
        try log.replay(from: first) { sequence, epoch, payload in
            let logged = try LoggedWrite(encoded: payload)
            let batch = try PreparedBatch(encoded: logged.batch, collection: assignment.collection, layouts: layouts, range: assignment.range)
            if let operation = logged.operation { operations.withLock { $0.note(operation, batch.operations, sequence: sequence, now: .now) } }
            if let source = logged.source { lineage.withLock { $0.advance(source) } }
            let released = gate.withLock { gate in
                let durable = gate.becameDurable(
                    DurableBatch(
                        sequence: sequence, epoch: epoch, operation: logged.operation, operations: batch.operations, isMark: batch.isMark && !logged.isPart,
                        source: logged.source))
                return durable.batches + gate.commit(through: logged.committed).batches
            }
            group += released
            count += released.reduce(0) { $0 + $1.operations.count }
            if count >= resources.configuration.groupPoints { applyGroup(&scratch) }
        }
        applyGroup(&scratch)
    }
}
