internal import NeedletailCore
internal import NeedletailStorage
internal import NeedletailTelemetry
internal import Synchronization

extension Replica {
    /// Slots kept free for writes that are under way when the partition fills up.
    private static let capacityMargin = 1 << 17

    /// Logs a batch, as the primary, and answers when the request says.
    func write(_ request: ShardWrite) async throws -> WriteReceipt {
        try admit(request)
        guard points.slab.slotCount < points.slab.capacity - Self.capacityMargin else {
            throw NeedletailError(
                .resourceExhausted, "shard \(assignment.shard) is full at \(points.slab.capacity) points; make the collection again with more shards")
        }
        let span = RequestScope.current?.span
        let admitted = ContinuousClock.now
        let taken = await budget.acquire(request.batch.count)
        defer { budget.release(taken) }
        let batch = try await resources.intakePool.run { [assignment, layouts] _ in
            try PreparedBatch(received: request.batch, collection: assignment.collection, layouts: layouts, range: assignment.range)
        }
        span?.record("decode", from: admitted)
        if let deadline = request.deadline, deadline.isPast {
            throw NeedletailError(.deadlineExceeded, "the deadline passed before the write was logged; nothing was written")
        }
        while true {
            do {
                return try await withCheckedThrowingContinuation { continuation in
                    do {
                        try log(request, batch, span) { continuation.resume(with: $0) }
                    } catch {
                        continuation.resume(throwing: error)
                    }
                }
            } catch is WritesAreHeld {
                try await untilReleased(request.deadline)
            }
        }
    }

    private func admit(_ request: ShardWrite) throws(NeedletailError) {
        let (epoch, isAlone) = standing.withLock { ($0.epoch, $0.isAlone) }
        guard request.epoch == epoch else {
            throw NeedletailError(
                .aborted, "shard \(assignment.shard) is at epoch \(epoch), the write is for \(request.epoch); read the cluster map again")
        }
        try checkOpen(epoch)
        if let observer = observer.withLock({ $0 }) {
            try observer.admit(request)
        } else if !isAlone {
            throw NeedletailError(.unavailable, "shard \(assignment.shard) does not know yet who its primary is; try again")
        }
    }

    /// Queues the batch for the log, or finds that it is there already.
    private func log(_ request: ShardWrite, _ batch: PreparedBatch, _ span: Span?, _ acknowledge: @escaping CommitGate.Acknowledge) throws {
        let known: WriteReceipt? = try operations.withLock { table in
            var (bytes, batch, acknowledge) = (request.batch, batch, acknowledge)
            if let operation = request.operation {
                switch table.find(operation, batch.operations, acknowledge) {
                case .nothing: break
                case .applied(let receipt): return receipt
                case .logged: return nil
                case .partly(let missing): (bytes, batch, acknowledge) = try rest(of: request, batch, missing, table, acknowledge)
                }
            }
            // Asked again under the lock: a new epoch takes it to cut the log.
            try admit(request)
            if isHeld { throw WritesAreHeld() }
            let record = LoggedWrite(committed: gate.withLock { $0.committed }, operation: request.operation, batch: bytes).encoded
            let trace = span.map { WriteTrace($0, shard: assignment.shard, hasBackups: !standing.withLock { $0.isAlone }) }
            let sequence = try withCommitter { committer in
                try committer.append(epoch: request.epoch, payload: record, traceparent: trace?.traceparent) { [self, batch] result in
                    trace?.becameDurable(committer.times)
                    logged(result, epoch: request.epoch, operation: request.operation, batch, trace)
                } queued: { [self, acknowledge] sequence in
                    gate.withLock { $0.expect(sequence, at: Self.milestone(request), acknowledge) }
                    observer.withLock { $0 }?.appended(through: sequence)
                }
            }
            if let operation = request.operation { table.note(operation, batch.operations, sequence: sequence, now: .now) }
            return nil
        }
        if let known { acknowledge(.success(known)) }
    }

    /// What is still to be written of a write that came in part to a shard which was merged since.
    private func rest(
        of request: ShardWrite, _ batch: PreparedBatch, _ missing: Set<Int>, _ table: OperationCells, _ acknowledge: @escaping CommitGate.Acknowledge
    ) throws -> ([UInt8], PreparedBatch, CommitGate.Acknowledge) {
        let known = request.operation.map { table.outcomes(of: $0, except: missing) } ?? []
        let bytes = WriteBatch(try WriteBatch(encoded: request.batch).operations.filter { missing.contains(table.cell(of: $0.id)) }).encoded
        let rest = PreparedBatch(operations: batch.operations.filter { missing.contains(table.cell(of: $0.id)) })
        return (bytes, rest, { result in acknowledge(result.map { WriteReceipt(sequence: $0.sequence, outcomes: known + $0.outcomes) }) })
    }

    private static func milestone(_ request: ShardWrite) -> CommitGate.Milestone? {
        switch request.consistency {
        case .primary: .durable
        case .majority: .majority
        case .allInSync: request.acknowledgement == .durable ? .committed : nil
        }
    }

    /// A record is on this disk, or was taken back. Called in sequence order.
    func logged(
        _ result: Result<UInt64, NeedletailError>, epoch: UInt64, operation: OperationID?, _ batch: PreparedBatch, _ trace: WriteTrace? = nil,
        source: Lineage.Parent? = nil
    ) {
        switch result {
        case .success(let sequence):
            let durable = DurableBatch(
                sequence: sequence, epoch: epoch, operation: operation, operations: batch.operations, isMark: batch.isMark, source: source, trace: trace)
            pass { $0.becameDurable(durable) }
            observer.withLock { $0 }?.durable(through: sequence)
        case .failure(let error):
            let kept = log.lastSequence
            takeBack(after: kept, error)
            observer.withLock { $0 }?.failed(keeping: kept)
        }
    }

    /// Forgets records that are not in the log any more, and tells who waits for one.
    func takeBack(after sequence: UInt64, _ error: NeedletailError) {
        let writers = gate.withLock { $0.cut(after: sequence) }
        let others = operations.withLock { $0.cut(after: sequence) }
        // A part that is being merged, and whose disk failed, is made anew.
        if ownOrderEnd > sequence { isMerging.store(true, ordering: .releasing) }
        for acknowledge in writers + others { acknowledge(.failure(error)) }
    }

    /// Changes the gate and queues what that lets through.
    func pass(_ change: (inout CommitGate) -> CommitGate.Release) {
        let told = gate.withLock { gate in
            let released = change(&gate)
            for batch in released.batches { batch.trace?.committed() }
            enqueue(released.batches)
            return released.told
        }
        for (sequence, acknowledge) in told { acknowledge(.success(WriteReceipt(sequence: sequence, outcomes: []))) }
    }

    /// Tells everyone who waits that what becomes of the write is not known here.
    func abandonWriters(_ error: NeedletailError) {
        for acknowledge in gate.withLock({ $0.abandon() }) + operations.withLock({ $0.takeWaiters() }) { acknowledge(.failure(error)) }
    }

    /// A batch is applied.
    func tellApplied(_ batch: DurableBatch, _ outcomes: [OperationOutcome]) {
        let receipt = WriteReceipt(sequence: batch.sequence, outcomes: outcomes)
        batch.trace?.applied()
        gate.withLock { $0.takeAcknowledgement(batch.sequence) }?(.success(receipt))
        guard let operation = batch.operation else { return }
        for waiter in operations.withLock({ $0.applied(operation, batch.operations, outcomes) }) { waiter(.success(receipt)) }
    }

    /// A batch is in the log and cannot be applied.
    func tellFailed(_ batch: DurableBatch, _ error: NeedletailError) { gate.withLock { $0.takeAcknowledgement(batch.sequence) }?(.failure(error)) }
}
