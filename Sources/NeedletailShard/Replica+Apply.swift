internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import Synchronization

/// What only the applier touches.
final class Applier: @unchecked Sendable {
    // Sendable: confined to the one applier job at a time; the atomics and `problem` are read by others.
    /// Points written since the last checkpoint began.
    private let changes = Atomic<Int>(0)
    let isCheckpointing = Atomic<Bool>(false)
    /// The graphs have many points of other parts of a split shard, until a repair has cut them out.
    let isTidying = Atomic<Bool>(false)
    /// Slots of those points, in the groups in which they are cut out; the last group goes first.
    var leaving: [[UInt32]] = []
    private let shared = Mutex(Shared())
    /// Retired slots that the graph still links to.
    var retired: [UInt32] = []
    var repair: GraphRepair?
    /// Of the last record that was applied.
    var appliedEpoch: UInt64 = 0
    /// How far the parents of a merged shard are applied.
    var lineage = Lineage()
    /// Codes that graphs walked on before are let go of when readers have passed this.
    var formerCodes: NodeResources.ReaderMark?

    var isDirty: Bool { changes.load(ordering: .relaxed) > 0 }
    var changeCount: Int { changes.load(ordering: .relaxed) }
    func noteChanges(_ count: Int) { changes.wrappingAdd(count, ordering: .relaxed) }
    func takeChanges() -> Int { changes.exchange(0, ordering: .relaxed) }

    /// Half the points cut out at once leave a poorer graph than the same ones bit by bit: a list is mended from its neighbours' lists, and those should
    /// be mostly whole. 100,000 random points of 64 dimensions split in two: recall@10 from 0.779 to 0.769 with one round, to 0.818 with eight.
    private static let tidyingRounds = 8

    func beginTidying(_ slots: [UInt32], roundAtLeast least: Int) {
        isTidying.store(true, ordering: .releasing)
        let size = max(least, (slots.count + Self.tidyingRounds - 1) / Self.tidyingRounds)
        // Neighbouring slots may lie together in space: each round takes some of everywhere.
        let rounds = (slots.count + size - 1) / size
        leaving = (0..<rounds).map { first in stride(from: first, to: slots.count, by: rounds).map { slots[$0] } }
    }

    private struct Shared {
        var failure: NeedletailError?
        var checkpointProblem: (error: NeedletailError, since: ContinuousClock.Instant)?
        var checkpointWaiters: [CheckedContinuation<Void, Never>] = []
    }

    /// Why the replica can no longer apply writes; they stay in the log.
    var failure: NeedletailError? { shared.withLock { $0.failure } }
    func fail(_ error: NeedletailError) { shared.withLock { $0.failure = $0.failure ?? error } }

    /// Why the last checkpoint failed; the log keeps what it would have saved.
    var checkpointProblem: NeedletailError? { shared.withLock { $0.checkpointProblem?.error } }
    func setCheckpointProblem(_ error: NeedletailError?) { shared.withLock { $0.checkpointProblem = error.map { ($0, .now) } } }
    /// Whether the last checkpoint failed, and before then.
    func hasCheckpointFailed(before moment: ContinuousClock.Instant) -> Bool { shared.withLock { $0.checkpointProblem.map { $0.since <= moment } ?? false } }

    func endCheckpoint() {
        let waiters = shared.withLock { shared in
            isCheckpointing.store(false, ordering: .releasing)
            defer { shared.checkpointWaiters = [] }
            return shared.checkpointWaiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Waits until no checkpoint is being written.
    func untilCheckpointEnds() async {
        await withCheckedContinuation { continuation in
            let isOver = shared.withLock { shared in
                guard isCheckpointing.load(ordering: .acquiring) else { return true }
                shared.checkpointWaiters.append(continuation)
                return false
            }
            if isOver { continuation.resume() }
        }
    }
}

extension Replica {
    /// Puts the applier on the build pool. One group a job, so that replicas take turns.
    func startApplier() {
        do {
            try resources.buildPool.submit { [self] scratch in runApplier(&scratch) }
        } catch {
            abandonQueue(error)
        }
    }

    private func runApplier(_ scratch: inout SearchScratch) {
        let (group, models, wantsCheckpoint) = takeGroup()
        beginCodecs(models)
        working { apply(group, scratch: &scratch) }
        maintain(wantsCheckpoint: wantsCheckpoint, scratch: &scratch)
        let waiters: [CheckedContinuation<Void, Never>]? = queue.withLock { queue in
            if !queue.batches.isEmpty || !queue.models.isEmpty || queue.wantsCheckpoint || applier.repair != nil || !applier.leaving.isEmpty
                ||  isEncoding || applier.formerCodes != nil {
                return nil
            }
            queue.isRunning = false
            defer { queue.idleWaiters = [] }
            return queue.idleWaiters
        }
        guard let waiters else { return startApplier() }
        for waiter in waiters { waiter.resume() }
    }

    private func takeGroup() -> ([DurableBatch], [TrainedCodec], wantsCheckpoint: Bool) {
        queue.withLock { queue in
            var count = 0
            var points = 0
            while count < queue.batches.count, count == 0 || points + queue.batches[count].operations.count <= resources.configuration.groupPoints {
                points += queue.batches[count].operations.count
                count += 1
                // A mark ends its group: what the replica holds then is what it holds after that very write.
                if queue.batches[count - 1].isMark { break }
            }
            let group = Array(queue.batches.prefix(count))
            queue.batches.removeFirst(count)
            defer { (queue.wantsCheckpoint, queue.models) = (false, []) }
            return (group, queue.models, queue.wantsCheckpoint)
        }
    }

    private func abandonQueue(_ error: NeedletailError) {
        let (batches, waiters) = queue.withLock { queue in
            defer { (queue.batches, queue.models, queue.idleWaiters, queue.isRunning) = ([], [], [], false) }
            return (queue.batches, queue.idleWaiters)
        }
        for batch in batches { tellFailed(batch, error) }
        for waiter in waiters { waiter.resume() }
    }

    /// Applies batches in order and acknowledges each. After a failure (memory, a damaged payload store) nothing more is applied: the
    /// log has it, and a restart applies it once the cause is gone.
    func apply(_ group: [DurableBatch], scratch: inout SearchScratch) {
        guard let last = group.last else { return }
        if let failure = applier.failure {
            for batch in group { tellFailed(batch, failure) }
            return
        }
        do {
            var changes = GroupChanges()
            let outcomes = try group.map { batch in try batch.operations.map { try plan($0, of: batch, &changes) } }
            try link(&changes, scratch: &scratch)
            publish(changes)
            appliedSequence.store(last.sequence, ordering: .releasing)
            // A parent's record counts also when it has nothing: the next checkpoint has to come after it.
            applier.noteChanges(group.reduce(0) { $0 + ($1.source == nil ? $1.operations.count : max(1, $1.operations.count)) })
            applier.appliedEpoch = last.epoch
            for case let source? in group.map(\.source) { applier.lineage.advance(source) }
            if last.isMark { contents.mark(last.sequence) }
            appliedChange.signal()
            for (batch, outcome) in zip(group, outcomes) { tellApplied(batch, outcome) }
        } catch {
            let failure = error as? NeedletailError ?? NeedletailError(.internal, "a write could not be applied", cause: error)
            applier.fail(failure)
            for batch in group { tellFailed(batch, failure) }
        }
    }

    /// What a group will have done, gathered aside: readers see none of it before `publish`.
    struct GroupChanges {
        struct Change {
            let id: PointID
            /// The newest version of the point when the group upserts it; nil when it deletes it or changes its payload only.
            var point: Point?
            var isDeleted = false
            /// The payload afterwards; nil when it does not change.
            var payload: [UInt8]?
            var sequence: UInt64
            /// That of the vectors, when it is not computed anew.
            var vectors: UInt32?
            /// Where the new version will lie.
            var slot: UInt32 = 0
        }

        var changes: [Change] = []
        private var positions: [PointID: Int] = [:]

        subscript(_ id: PointID) -> Change? { positions[id].map { changes[$0] } }

        mutating func set(_ change: Change) {
            if let position = positions[change.id] {
                changes[position] = change
            } else {
                positions[change.id] = changes.count
                changes.append(change)
            }
        }
    }

    /// - Parameter filter: what guards the operation. A point that it does not admit is changed by nothing; only who wants to write one under its id
    ///   is told of it, since that cannot be answered as if there were none.
    private func plan(
        _ operation: PointOperation, of batch: DurableBatch, _ group: inout GroupChanges, guardedBy filter: PayloadFilter? = nil
    ) throws -> OperationOutcome {
        // A point keeps the sequence of its parent's write: it is the same on every node.
        let sequence = batch.origin?.sequence ?? batch.source?.sequence ?? batch.sequence
        let id = operation.id
        let earlier = group[id]
        let exists = earlier.map { !$0.isDeleted } ?? (points.slot(of: id) != nil)
        if let filter, exists, try !filter.matches(encoded: earlier?.payload ?? payloads.get(id.orderedKey) ?? []) {
            return operation.upserted == nil ? .notFound : .outside
        }
        switch operation {
        case .guarded(let filter, let inner): return try plan(inner, of: batch, &group, guardedBy: filter)
        case .upsert(let point):
            if let filter, try !filter.matches(encoded: point.payload) { return .outside }
            group.set(.init(id: id, point: point, payload: point.payload, sequence: sequence, vectors: batch.origin?.vectors))
            return .applied
        case .delete:
            guard exists else { return .notFound }
            group.set(.init(id: id, isDeleted: true, sequence: sequence))
        case .setPayload(_, let values):
            guard exists else { return .notFound }
            return try editPayload(id, earlier, sequence, filter, &group) { $0.merge(values) { $1 } }
        case .overwritePayload(_, let values):
            guard exists else { return .notFound }
            return try editPayload(id, earlier, sequence, filter, &group) { $0 = values }
        case .deletePayloadKeys(_, let keys):
            guard exists else { return .notFound }
            return try editPayload(id, earlier, sequence, filter, &group) { payload in for key in keys { payload[key] = nil } }
        }
        return .applied
    }

    private func editPayload(
        _ id: PointID, _ earlier: GroupChanges.Change?, _ sequence: UInt64, _ filter: PayloadFilter?, _ group: inout GroupChanges,
        _ edit: (inout Payload) -> Void
    ) throws -> OperationOutcome {
        var payload = try PayloadCoding.decode(try earlier?.payload ?? payloads.get(id.orderedKey) ?? [])
        edit(&payload)
        if let filter, !filter.matches(payload) { return .outside }
        let encoded = PayloadCoding.encode(payload)
        // Decided by the state alone, so a replay decides the same.
        guard encoded.count <= Limits.payloadBytes else { return .tooLarge }
        var change = earlier ?? .init(id: id, sequence: sequence)
        change.payload = encoded
        group.set(change)
        return .applied
    }

    /// Gives each new version a slot, then on all build threads stores its vectors and links them.
    private func link(_ group: inout GroupChanges, scratch: inout SearchScratch) throws {
        var added: [GroupChanges.Change] = []
        for index in group.changes.indices where group.changes[index].point != nil {
            group.changes[index].slot = try points.takeSlot()
            added.append(group.changes[index])
        }
        if added.isEmpty { return }
        for field in fields { try field.graph.ensureCapacity(slots: points.slotBound) }
        let failure = FirstError()
        resources.buildPool.parallel(added.count, scratch: &scratch) { [fields, added] index, scratch in
            for vector in added[index].point?.vectors ?? [] {
                let graph = fields[vector.field].graph
                graph.store(vector.vector.bytes, slot: added[index].slot, scratch: &scratch)
                do throws(NeedletailError) {
                    try graph.link(slot: added[index].slot, id: added[index].id, scratch: &scratch)
                } catch {
                    failure.note(error)
                }
            }
        }
        try failure.check()
    }

    /// Makes the group visible, point by point.
    private func publish(_ group: GroupChanges) {
        for change in group.changes { publication.change(to: change.point == nil ? nil : change.slot) { publish(change) } }
    }

    private func publish(_ change: GroupChanges.Change) {
        let key = change.id.orderedKey
        if change.isDeleted {
            payloads.delete(key)
            if let slot = points.remove(change.id) { retire(slot) }
            return
        }
        if let payload = change.payload { payloads.put(key, payload) }
        let payload = change.payload.map { UInt16(truncatingIfNeeded: crc32c($0)) }
        guard let point = change.point else {
            if let payload, let slot = points.slot(of: change.id) {
                points.setPayloadChecksum(payload, slot: slot)
                admitted.note(change.payload ?? [], slot: slot)
            }
            return
        }
        let vectors = change.vectors ?? point.vectors.reduce(UInt32(0)) { crc32c($1.vector.bytes, seed: $0 &+ UInt32($1.field)) }
        let old = points.assign(change.slot, id: change.id, sequence: change.sequence, vectors: vectors, payload: payload ?? 0)
        admitted.note(change.payload ?? [], slot: change.slot)
        for vector in point.vectors { fields[vector.field].graph.publish(slot: change.slot) }
        if let old { retire(old) }
    }

    private func retire(_ slot: UInt32) {
        for field in fields { field.graph.retire(slot: slot) }
        admitted.forget(slot: slot)
        points.setState(.retired, slot: slot)
        applier.retired.append(slot)
    }
}

/// The first error of several threads.
final class FirstError: Sendable {
    private let error = Mutex<NeedletailError?>(nil)
    func note(_ new: NeedletailError) { error.withLock { $0 = $0 ?? new } }
    func check() throws(NeedletailError) { if let error = error.withLock({ $0 }) { throw error } }
}
