internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import Synchronization

extension Replica {
    /// Between two groups, when nothing changes: begins a checkpoint that is due, and carries a repair one step further.
    func maintain(wantsCheckpoint: Bool, scratch: inout SearchScratch) {
        guard applier.failure == nil else {
            applier.repair = nil
            return
        }
        let isDue = applier.changeCount >= max(resources.configuration.checkpointPoints, points.count / 32)
        if (isDue || wantsCheckpoint) && applier.isDirty && !applier.isCheckpointing.load(ordering: .acquiring) { beginCheckpoint() }
        stepRepair(scratch: &scratch)
        stepEncoding(scratch: &scratch)
        releaseFormerCodes()
    }

    /// The barrier of a checkpoint: takes about as long as marking the dirty slabs. The writing happens beside later groups, which
    /// copy a slab aside before they change it.
    private func beginCheckpoint() {
        let (sequence, began) = (appliedSequence.load(ordering: .acquiring), ContinuousClock.now)
        applier.isCheckpointing.store(true, ordering: .releasing)
        let changes = applier.takeChanges()
        for slab in slabs { slab.beginCheckpoint() }
        payloads.freeze()
        let marks = fields.map(\.codecMarks)
        var state = CheckpointState(indexes: fields.map(\.graph.state), codecs: marks)
        state.lineage = applier.lineage
        operations.withLock { cells in
            cells.join(now: .now)
            state.take(cells, upTo: sequence)
        }
        let write = checkpoints.begin(sequence: sequence, epoch: applier.appliedEpoch, metadata: state.encoded, arrays: slabs)
        do {
            try resources.checkpointPool.submit { [self] _ in
                continueCheckpoint(
                    write, sequence: sequence, changes: changes, marks: marks, began: began,
                    until: .now + resources.configuration.checkpointPatience)
            }
        } catch {
            for slab in slabs { slab.abandonCheckpoint() }
            endCheckpoint(error, changes: changes, began: began)
        }
    }

    /// Writes on until `end`; then the rest is for a thread that does not stand behind all others, since a log that grows and grows
    /// would cost more than the checkpoint disturbs.
    private func continueCheckpoint(
        _ write: CheckpointWrite, sequence: UInt64, changes: Int, marks: [[CodecMark]], began: ContinuousClock.Instant,
        until end: ContinuousClock.Instant?
    ) {
        do {
            if try !write.advance(until: end) {
                do {
                    return try resources.maintenancePool.submit { [self] _ in
                        continueCheckpoint(write, sequence: sequence, changes: changes, marks: marks, began: began, until: nil)
                    }
                } catch {
                    // The pool is closing: then it is this thread's to finish.
                    _ = try write.advance()
                }
            }
            try write.finish {
                // The log must reach at least as far as the checkpoint, also when it is synced by interval only.
                try log.sync()
                try payloads.store.commit(sequence: sequence, changes: payloads.frozenChanges())
            }
            payloads.dropFrozen()
            removeOldModels(marks)
            // Records before the checkpoint are no longer needed; failing to remove them only costs space.
            try? log.truncatePrefix(upTo: copied.withLock { $0.values.reduce(sequence, min) })
            endCheckpoint(nil, changes: changes, began: began)
        } catch {
            endCheckpoint(error, changes: changes, began: began)
        }
    }

    private func endCheckpoint(_ problem: (any Error)?, changes: Int, began: ContinuousClock.Instant) {
        resources.metrics?.checkpointed(isWritten: problem == nil, took: began.duration(to: .now))
        if let problem {
            payloads.thaw()
            applier.noteChanges(changes)
            applier.setCheckpointProblem(problem as? NeedletailError ?? NeedletailError(.internal, "a checkpoint failed", cause: problem))
        } else {
            applier.setCheckpointProblem(nil)
        }
        applier.endCheckpoint()
    }

    /// Whether there are enough retired slots to go through all links for.
    var mustRepair: Bool { applier.retired.count >= max(resources.configuration.repairPoints, points.count / 20) }

    /// The next of the other parts' points whose turn it is to be cut out.
    private func takeLeaving() -> Bool {
        guard let slots = applier.leaving.popLast() else { return false }
        for slot in slots { for field in fields { field.graph.retire(slot: slot) } }
        applier.retired += slots
        return true
    }

    private func stepRepair(scratch: inout SearchScratch) {
        if applier.repair == nil {
            let leaves = takeLeaving()
            guard mustRepair || leaves else { return }
            for field in fields { field.graph.replaceRetiredEntry() }
            applier.repair = GraphRepair(retired: applier.retired, bound: points.slotBound, capacity: points.slab.capacity)
            applier.retired = []
        }
        guard var repair = applier.repair else { return }
        defer { applier.repair = repair.isDone ? nil : repair }
        if repair.next < repair.bound {
            let begin = repair.next
            let end = min(repair.bound, begin + resources.configuration.repairStep)
            let block = 256
            resources.buildPool.parallel((end - begin + block - 1) / block, scratch: &scratch) { [fields, doomed = repair.doomed] index, scratch in
                let slots = begin + index * block..<min(end, begin + (index + 1) * block)
                for field in fields { field.graph.repair(slots: slots, doomed: doomed, scratch: &scratch) }
            }
            repair.next = end
        } else if let mark = repair.mark {
            // Searches that began before the last link was cut may stand on a retired node; they end within their deadline.
            guard resources.readersHavePassed(mark) else { return DedicatedThread.sleep(.microseconds(200)) }
            for slot in repair.retired {
                for field in fields { field.graph.release(slot: slot) }
                points.giveBack(slot)
            }
            repair.isDone = true
            if applier.leaving.isEmpty { applier.isTidying.store(false, ordering: .releasing) }
        } else {
            repair.mark = resources.markReaders()
        }
    }
}

/// A repair under way: cut links step by step, wait for searches, release the slots.
struct GraphRepair {
    let retired: [UInt32]
    /// The same as a set.
    let doomed: SlotBits
    /// Slots made later can hold no link to the retired ones.
    let bound: Int
    var next = 0
    var mark: NodeResources.ReaderMark?
    var isDone = false

    init(retired: [UInt32], bound: Int, capacity: Int) {
        self.retired = retired
        doomed = SlotBits(capacity: capacity)
        for slot in retired { doomed.set(Int(slot)) }
        self.bound = bound
    }
}

/// The part of a checkpoint that is not in slabs: format version, then the state of each field's index.
struct CheckpointState {
    /// 1: without codecs; 2: with codes of one model a field, and without the growth of distances; 3: without the table of operations.
    /// Beyond 4, for shards only that were merged: with cells of the table, and what the shard was merged of.
    private static let version: UInt8 = 4
    private static let mergedVersion: UInt8 = 5
    var indexes: [IndexState]
    /// By field, as `FieldIndex.codecMarks`.
    var codecs: [[CodecMark]]
    /// An `OperationTable`, encoded; empty in older checkpoints.
    private var operations: [UInt8] = []
    /// `OperationCells`, encoded; empty when there is one cell.
    private var cells: [UInt8] = []
    var lineage = Lineage()

    init(indexes: [IndexState], codecs: [[CodecMark]]) {
        self.indexes = indexes
        self.codecs = codecs
    }

    mutating func take(_ operations: OperationCells, upTo sequence: UInt64) {
        var writer = ByteWriter()
        if operations.cells.count > 1 {
            operations.encode(upTo: sequence, to: &writer)
            cells = writer.bytes
        } else {
            operations.cells[0].table.encode(upTo: sequence, to: &writer)
            self.operations = writer.bytes
        }
    }

    /// Of a replica of this range.
    /// - Throws: `dataLoss` when the bytes are damaged.
    func operations(in range: HashRange, now: ContinuousClock.Instant) throws(NeedletailError) -> OperationCells {
        if !cells.isEmpty {
            var reader = ByteReader(cells)
            return try OperationCells(from: &reader, now: now).clipped(to: range)
        }
        if operations.isEmpty { return OperationCells(range: range) }
        var reader = ByteReader(operations)
        return OperationCells([OperationCells.Cell(range: range, table: try OperationTable(from: &reader, now: now))])
    }

    private var isMerged: Bool { !cells.isEmpty || !lineage.parents.isEmpty }

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(isMerged ? Self.mergedVersion : Self.version)
        writer.varint(UInt64(indexes.count))
        for index in indexes {
            writer.u64(index.entry)
            writer.u64(UInt64(index.upperCount))
            writer.u64(index.distanceGrowth.bitPattern)
        }
        for marks in codecs {
            writer.varint(UInt64(marks.count))
            for mark in marks {
                writer.u64(mark.version)
                writer.u64(UInt64(mark.next))
                writer.u64(UInt64(mark.bound))
            }
        }
        writer.bytes(operations)
        if isMerged {
            writer.bytes(cells)
            lineage.encode(to: &writer)
        }
        return writer.bytes
    }

    init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        let version = try reader.u8()
        guard (1...Self.mergedVersion).contains(version) else {
            throw NeedletailError(.unimplemented, "the checkpoint has format \(version), this build reads 1 to \(Self.mergedVersion); upgrade this node")
        }
        indexes = []
        for _ in 0..<(try reader.count(minimumItemBytes: 16)) {
            let entry = try reader.u64()
            guard let upperCount = Int(exactly: try reader.u64()), upperCount < 1 << 40 else {
                throw NeedletailError(.dataLoss, "the checkpoint's index state is damaged; \(NeedletailError.damagedReplicaAdvice)")
            }
            let growth = version >= 3 ? Double(bitPattern: try reader.u64()) : 0
            guard growth >= 0, growth.isFinite else {
                throw NeedletailError(.dataLoss, "the checkpoint's index state is damaged; \(NeedletailError.damagedReplicaAdvice)")
            }
            indexes.append(IndexState(entry: entry, upperCount: upperCount, distanceGrowth: growth))
        }
        codecs = Array(repeating: [], count: indexes.count)
        for field in indexes.indices where version >= 2 {
            let count = version == 2 ? 1 : try reader.count(minimumItemBytes: 24)
            for _ in 0..<count { if let mark = try Self.codec(&reader) { codecs[field].append(mark) } }
        }
        operations = version >= 4 ? try reader.bytes() : []
        if version >= 5 {
            cells = try reader.bytes()
            lineage = try Lineage(from: &reader)
        }
        try reader.expectEnd()
    }

    private static func codec(_ reader: inout ByteReader) throws(NeedletailError) -> CodecMark? {
        let (version, next, bound) = (try reader.u64(), try reader.u64(), try reader.u64())
        guard next <= bound, bound < 1 << 40 else {
            throw NeedletailError(.dataLoss, "the checkpoint's codec state is damaged; \(NeedletailError.damagedReplicaAdvice)")
        }
        return version == 0 ? nil : CodecMark(version: version, next: Int(next), bound: Int(bound))
    }
}
