public import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import NeedletailVectors
internal import Synchronization

// Two neighbours are merged by making a replica of both beside them: see `Docs/decisions/0017-merges.md`.

/// What a merged replica begins with, in a file of its folder until its first checkpoint has it. A replica with this file is not whole.
struct StoredMerge {
    static let fileName = "merging"
    private static let format: UInt8 = 1

    var lineage: Lineage
    var operations: OperationCells
    /// The range of the parent whose files it begins with.
    var kept: HashRange

    init(lineage: Lineage, operations: OperationCells, kept: HashRange) {
        self.lineage = lineage
        self.operations = operations
        self.kept = kept
    }

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(Self.format)
        writer.u64(kept.first)
        writer.u64(kept.last)
        lineage.encode(to: &writer)
        operations.encode(upTo: .max, to: &writer)
        return writer.bytes
    }

    init(encoded bytes: [UInt8], location: String) throws(NeedletailError) {
        var reader = ByteReader(bytes, location: location)
        guard try reader.u8() == Self.format else {
            throw NeedletailError(.failedPrecondition, "a replica that is being merged has a format that this build does not read", location: location)
        }
        let (first, last) = (try reader.u64(), try reader.u64())
        guard first <= last else { throw NeedletailError(.dataLoss, "a hash range runs backwards", location: location) }
        kept = HashRange(first: first, last: last)
        lineage = try Lineage(from: &reader)
        operations = try OperationCells(from: &reader, now: .now)
    }
}

extension Replica {
    private var mergePath: String { directory + "/" + StoredMerge.fileName }

    func storedMerge() throws -> StoredMerge? {
        guard let bytes = try resources.disk.readChecked(mergePath) else { return nil }
        return try StoredMerge(encoded: bytes, location: mergePath)
    }

    /// Opens: the points of one parent are here, and the others come.
    func begin(_ merge: StoredMerge) {
        isMerging.store(true, ordering: .releasing)
        operations.withLock { $0 = merge.operations }
        lineage.withLock { $0 = merge.lineage }
        applier.lineage = merge.lineage
        applier.appliedEpoch = Lineage.epoch
    }

    /// Takes all points of another replica, which nobody writes to. Nobody writes to this one either, so there is no log of it: what is not finished is
    /// made anew.
    fileprivate func absorb(_ other: Replica) async throws {
        let end = ownOrderEnd
        for start in stride(from: 0, to: other.points.slotBound, by: Self.slotsAtOnce) {
            let slots = start..<min(other.points.slotBound, start + Self.slotsAtOnce)
            enqueue(try await resources.maintenancePool.run { [self] _ in try batches(of: other, slots, as: end) })
            await untilIdle()
            if let failure = applier.failure { throw failure }
            try Task.checkCancellation()
        }
        guard end > 0 else { return try await finishMerge() }
        // For the checkpoint, which is due also when the other had no points.
        applier.noteChanges(1)
        await applier.untilCheckpointEnds()
        requestCheckpoint()
        await untilIdle()
        await applier.untilCheckpointEnds()
        if let problem = applier.checkpointProblem { throw problem }
        guard checkpoints.manifest?.sequence == end, !applier.isDirty else {
            throw NeedletailError(.unavailable, "the merged replica has no checkpoint of its parents yet; it is made anew")
        }
        try await finishMerge()
    }

    private func finishMerge() async throws {
        try await resources.maintenancePool.run { [self] _ in try resources.disk.removeFile(mergePath) }
        isMerging.store(false, ordering: .releasing)
    }

    private static let slotsAtOnce = 4_096

    private func batches(of other: Replica, _ slots: Range<Int>, as sequence: UInt64) throws -> [DurableBatch] {
        try slots.map(UInt32.init).filter { other.points.state($0) == .current }.map { slot in
            let id = other.points.id(slot)
            let vectors = try fields.indices.compactMap { field in
                try other.fields[field].graph.vector(slot: slot).map { vector in
                    let bytes = try layouts[field].convert(vector, field: assignment.collection.fields[field].name)
                    return FieldVector(field: field, vector: DenseVector(element: layouts[field].element, bytes: bytes))
                }
            }
            let point = Point(id: id, vectors: vectors, payload: try other.payloads.get(id.orderedKey) ?? [])
            return DurableBatch(
                sequence: sequence, epoch: Lineage.epoch, operation: nil, operations: [.upsert(point)], isMark: false,
                origin: (other.points.sequence(slot), other.points.vectorsChecksum(slot)))
        }
    }
}

extension LocalNode {
    private static let sourceSuffix = "-source"

    /// Makes a replica of two neighbouring shards from their newest checkpoints: the larger one's files by links, with the other one's points
    /// inserted. Its log begins after. Until the cluster gives it an epoch it answers nobody.
    ///
    /// - Parameters:
    ///   - assignment: of epoch 0, with the range of both.
    ///   - parents: in the order of their ranges.
    /// - Throws: what the disk says. Then nothing is there, or it goes with the next start.
    public func makeMerged(_ assignment: ReplicaAssignment, of parents: [HostedReplica]) async throws {
        let shard = assignment.shard
        try await exclusively(shard) {
            guard replicas.withLock({ $0[shard] }) == nil else { return }
            let copies = try await copies(of: parents, for: shard)
            do {
                try await merge(copies, into: assignment)
            } catch {
                for copy in copies { copy.end() }
                let failed = replicas.withLock { $0.removeValue(forKey: shard) }
                if case .ready(let replica) = failed { await replica.close(discarding: true) }
                let (disk, target) = (resources.disk, path(shard))
                _ = try? await resources.maintenancePool.run { _ in try disk.removeDirectory(target) }
                throw error
            }
            for copy in copies { copy.end() }
        }
        _ = try replica(shard)
    }

    /// Exact ones: the payloads are those of the checkpoint, and not of a later one.
    private func copies(of parents: [HostedReplica], for shard: ShardID) async throws -> [ReplicaCopy] {
        var copies: [ReplicaCopy] = []
        do {
            for parent in parents {
                // Not while the parent is being removed: the copy begins in its folder.
                let copy = try await exclusively(parent.shard) {
                    guard try hosted(parent.shard).isSame(as: parent), parent.isTidy else {
                        throw NeedletailError(.unavailable, "shard \(parent.shard) was opened anew, or split a moment ago; try again")
                    }
                    return try await parent.copy(mayBeEmpty: true)
                }
                copies.append(copy)
                let payloads = copy.payloadStore()
                defer { payloads.close() }
                guard try payloads.sequence() ?? 0 == copy.sequence || parent.isUnchanged(since: copy) else {
                    // Its payloads are those of a checkpoint that came to no end, or has just come.
                    parent.replica.requestCheckpoint()
                    throw NeedletailError(.unavailable, "shard \(parent.shard) wrote a checkpoint while it was copied; try again")
                }
                parent.keepLog(after: copy.sequence, for: shard)
            }
        } catch {
            for copy in copies { copy.end() }
            throw error
        }
        return copies
    }

    private func merge(_ copies: [ReplicaCopy], into assignment: ReplicaAssignment) async throws {
        let (shard, disk, target) = (assignment.shard, resources.disk, path(assignment.shard))
        let points = copies.map { $0.hosted.replica.points.count }
        let base = points.indices.max { points[$0] < points[$1] } ?? 0
        let stored = StoredMerge(
            lineage: Lineage(copies.map { Lineage.Parent(number: $0.hosted.shard.number, sequence: $0.sequence) }),
            operations: OperationCells(try await operations(of: copies)), kept: copies[base].hosted.assignment.range)
        try await resources.maintenancePool.run { _ in
            let incoming = target + Self.incomingSuffix
            try disk.removeTree(incoming)
            try copies[base].move(to: incoming)
            if stored.lineage.end > 0 {
                try ReplicaLog.begin(directory: incoming + "/log", after: stored.lineage.end, epoch: Lineage.epoch, disk: disk)
            }
            try disk.replaceChecked(incoming + "/" + StoredMerge.fileName, with: stored.encoded)
            try disk.replaceChecked(incoming + "/assignment", with: assignment.encoded)
            try disk.syncTree(incoming)
            try disk.renameDirectory(incoming, to: target)
        }
        replicas.withLock { $0[shard] = .loading(assignment) }
        load(assignment)
        try await waitUntilSettled(shard)
        let merged = try replica(shard)
        for (number, copy) in copies.enumerated() where number != base { try await withSource(copy, target) { try await merged.absorb($0) } }
    }

    private func operations(of copies: [ReplicaCopy]) async throws -> [OperationCells.Cell] {
        var cells: [OperationCells.Cell] = []
        for copy in copies {
            let range = copy.hosted.assignment.range
            if let checkpoint = try await copy.checkpoint() {
                cells += try CheckpointState(encoded: checkpoint.description.metadata).operations(in: range, now: .now).cells
            } else {
                cells.append(OperationCells.Cell(range: range))
            }
        }
        return cells
    }

    /// Opens a copy as a replica for as long as `body` reads from it.
    private func withSource(_ copy: ReplicaCopy, _ target: String, _ body: (Replica) async throws -> Void) async throws {
        let (disk, folder, resources) = (resources.disk, target + Self.sourceSuffix + Self.incomingSuffix, resources)
        var assignment = copy.hosted.assignment
        (assignment.epoch, assignment.version) = (0, 0)
        let source = try await resources.maintenancePool.run { [assignment] scratch in
            try disk.removeTree(folder)
            try copy.move(to: folder)
            if copy.sequence > 0 { try ReplicaLog.begin(directory: folder + "/log", after: copy.sequence, epoch: copy.epoch, disk: disk) }
            return try Replica.open(assignment, directory: folder, resources: resources, scratch: &scratch)
        }
        let outcome: Result<Void, any Error>
        do {
            try await body(source)
            outcome = .success(())
        } catch {
            outcome = .failure(error)
        }
        await source.close(discarding: true)
        _ = try? await resources.maintenancePool.run { _ in try disk.removeTree(folder) }
        try outcome.get()
    }
}

extension HostedReplica {
    /// Whether nothing was written since a copy's checkpoint but marks.
    fileprivate func isUnchanged(since copy: ReplicaCopy) -> Bool {
        !replica.applier.isCheckpointing.load(ordering: .acquiring) && !replica.applier.isDirty
            && replica.checkpoints.manifest?.sequence ?? 0 == copy.sequence
    }

    /// Whether it has all that its parents' sequences in `lineage` say.
    public var isMerged: Bool { !replica.isMerging.load(ordering: .acquiring) }

    /// How far its log has its parents.
    public var lineage: Lineage { replica.lineage.withLock { $0 } }

    /// Takes over a parent's records, all of them committed. One task at a time.
    public func follow(_ records: [LogRecord], of parent: UInt32) async throws {
        let (replica, last) = (replica, logEnd.last)
        let own = try await replica.resources.intakePool.run { _ in
            try records.enumerated().map { offset, record in
                let (logged, sequence) = (try LoggedWrite(encoded: record.payload), last + 1 + UInt64(offset))
                let merged = LoggedWrite(
                    committed: sequence, operation: logged.operation, batch: logged.batch,
                    source: Lineage.Parent(number: parent, sequence: record.sequence))
                return LogRecord(sequence: sequence, epoch: Lineage.epoch, payload: merged.encoded)
            }
        }
        try await accept(own)
        if let last = own.last { commit(through: last.sequence) }
    }
}
