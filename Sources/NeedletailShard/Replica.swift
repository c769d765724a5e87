internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import NeedletailVectors
internal import Synchronization

/// One copy of a shard on this node: log, slabs, graphs and payloads, and the order in which they change.
///
/// **Writes.** A batch is checked, appended to the log, and once it is durable handed to the *applier*: one job at a time on the
/// build pool, which takes the batches that have come, in sequence order, and applies them as a group: assign slots, store vectors,
/// link them into the graphs on all build threads, publish the new slots and retire the old, acknowledge. Between two groups nothing
/// changes; checkpoints begin there, and repaired slots are released there.
///
/// **Reads** run on the search pool without locks beside all of that.
///
/// **State on disk** is a checkpoint as of some sequence number, and the log from there on.
final class Replica: @unchecked Sendable {
    // Sendable: `let`s are themselves safe; `phase` and `queue` are behind mutexes; `Applier` is touched only by the one applier job
    // (`queue.isRunning`), by `open` before the replica is shared, and by `close` after the applier has ended.
    /// As it was when the replica was opened: the shard, its range and its collection hold as long as it is open; the rest is in `standing`.
    let assignment: ReplicaAssignment
    let directory: String
    let resources: NodeResources
    let layouts: [VectorLayout]
    let fields: [FieldIndex]
    let points: PointTable
    let contents: ContentHash
    let payloads: PayloadOverlay
    let log: ReplicaLog
    let recovery: LogRecovery
    let checkpoints: CheckpointStore
    let budget: ByteBudget
    let sampler: RecallSampler
    let targets: RecallTargets
    /// Every write up to here is visible to searches.
    let appliedSequence = Atomic<UInt64>(0)
    private let committer = Mutex<GroupCommitter?>(nil)
    let queue = Mutex(ApplyQueue())
    /// Who the replica's fellows are and who leads them, as it was told last.
    let standing: Mutex<ReplicaAssignment>
    /// Between the log and the applier. Its lock is held while what it lets through is queued, so that the order stays.
    let gate: Mutex<CommitGate>
    /// Held from the look for an operation's name to its being queued for the log.
    let operations: Mutex<OperationCells>
    /// How far the log has what the shard was merged of.
    let lineage = Mutex(Lineage())
    /// It is being put together of its parents, and has not all that its sequence says.
    let isMerging = Atomic<Bool>(false)
    /// It began without the points that its shard has, and was never in sync since; gone as well when a copy takes its place.
    let isUnfilled = Atomic<Bool>(false)
    static let unfilledName = "unfilled"
    /// What `HostedReplica.storePromise` keeps.
    static let promiseName = "promise"
    /// The last sequences of checkpoints that are being copied: the log keeps what follows them.
    let copied = Mutex<[UInt64: UInt64]>([:])
    /// What threads have spent on it, in nanoseconds.
    let work = Atomic<UInt64>(0)
    /// No write, and no read that asks for the primary, is taken in an epoch before this one.
    let sealedEpoch = Atomic<UInt64>(0)
    /// Reads of earlier epochs are refused.
    let closedEpoch = Atomic<UInt64>(0)
    /// Both, as they are on the disk.
    let storedSeal = Mutex((sealed: UInt64(0), closed: UInt64(0)))
    let observer = Mutex<(any ReplicationObserver)?>(nil)
    /// While a backup is cut; changed with `operations` held.
    let hold = Mutex<WriteHold?>(nil)
    let holdChange = ChangeSignal()
    let appliedChange = ChangeSignal()
    let applier = Applier()
    let publication = Publication()
    let admitted: AdmittedSlots
    private let isClosed = Atomic<Bool>(false)
    private let lastSync = Mutex(ContinuousClock.now)

    /// Batches that are durable and not applied.
    struct ApplyQueue {
        var batches: [DurableBatch] = []
        /// Codec models that have come and that no code has been written with.
        var models: [TrainedCodec] = []
        /// Models for whose codes there was no memory, by field; tried again on the clock.
        var refused: [Int: (trained: TrainedCodec, reason: NeedletailError)] = [:]
        /// Whether an applier job is queued or running.
        var isRunning = false
        /// A checkpoint was asked for by the clock or by `close`.
        var wantsCheckpoint = false
        /// The replica is closed: the next one has its files, and nothing more is done to them.
        var isOver = false
        /// Whoever waits until nothing is queued or running.
        var idleWaiters: [CheckedContinuation<Void, Never>] = []
        var lastWrite = ContinuousClock.now
    }

    struct DurableBatch: Sendable {
        let sequence: UInt64
        let epoch: UInt64
        let operation: OperationID?
        let operations: [PointOperation]
        /// What the replica holds after it is remembered, to be compared.
        let isMark: Bool
        /// Of a merged shard: the record of a parent that it is.
        var source: Lineage.Parent?
        /// Of a point that is taken over from a parent: the write that made it, and the checksum of its vectors.
        var origin: (sequence: UInt64, vectors: UInt32)?
        var trace: WriteTrace?
    }

    init(
        assignment: ReplicaAssignment, directory: String, resources: NodeResources, log: ReplicaLog, recovery: LogRecovery,
        checkpoints: CheckpointStore, payloads: PayloadOverlay
    ) {
        self.assignment = assignment
        standing = Mutex(assignment)
        operations = Mutex(OperationCells(range: assignment.range))
        gate = Mutex(CommitGate(isAlone: assignment.isAlone, sequence: 0))
        self.directory = directory
        self.resources = resources
        sampler = RecallSampler(budget: resources.sampling)
        self.log = log
        self.recovery = recovery
        self.checkpoints = checkpoints
        self.payloads = payloads
        let configuration = resources.configuration
        layouts = assignment.collection.fields.map(VectorLayout.init)
        let longest = layouts.map(\.strideBytes).max() ?? 1
        let capacity = min(configuration.capacity, configuration.reservationBytes / longest)
        let folder = SlabFolder(path: directory, disk: resources.disk)
        fields = assignment.collection.fields.enumerated().map { FieldIndex(field: $1, number: $0, capacity: capacity, folder: folder) }
        targets = RecallTargets(fields: fields.count)
        contents = ContentHash(range: assignment.range)
        admitted = AdmittedSlots(capacity: capacity)
        points = PointTable(capacity: capacity, contents: contents)
        budget = ByteBudget(bytes: configuration.writeBudgetBytes)
    }

    /// Counts what a thread does for the replica.
    func working<Value>(_ body: () throws -> Value) rethrows -> Value {
        let began = ContinuousClock.now
        defer { worked(for: began.duration(to: .now)) }
        return try body()
    }

    func worked(for time: Duration) { work.wrappingAdd(UInt64(max(0, time.nanoseconds)), ordering: .relaxed) }

    /// Whether `close` was called.
    var isClosing: Bool { isClosed.load(ordering: .acquiring) }

    /// All slab arrays, as checkpoints name them.
    var slabs: [SlabArray] { [points.slab] + fields.flatMap(\.slabs) }

    /// Appends through a committer that is made with the first write: an idle replica has no thread.
    func withCommitter<Value>(_ body: (GroupCommitter) throws -> Value) throws -> Value {
        let committer = try committer.withLock { committer in
            if isClosing { throw closing }
            if let existing = committer { return existing }
            let made = GroupCommitter(log: log, recentLimitBytes: recentLogBytes) { [metrics = resources.metrics] in
                metrics?.logged(records: $0, bytes: $1, took: $2)
            }
            committer = made
            return made
        }
        return try body(committer)
    }

    /// nil while nothing has been written since the replica was opened.
    var existingCommitter: GroupCommitter? { committer.withLock { $0 } }

    private var recentLogBytes: Int { standing.withLock { $0.isAlone } ? 0 : resources.configuration.recentLogBytes }

    /// Called when the replica gets fellows, or loses the last.
    func adjustRecentLog() { committer.withLock { $0 }?.setRecentLimit(bytes: recentLogBytes) }

    /// Hands batches to the applier, in sequence order.
    func enqueue(_ batches: [DurableBatch]) {
        if batches.isEmpty { return }
        // Of a closed replica the log has them, and nobody waits for them any more.
        begin { queue in
            queue.batches += batches
            queue.lastWrite = .now
        }
    }

    /// Changes what the applier has to do, and starts it if it rests. Nothing when the replica is closed: whoever still knows it, as its driver does
    /// for a moment, may come late.
    func begin(_ change: (inout ApplyQueue) -> Void) {
        let mustStart = queue.withLock { queue in
            if queue.isOver { return false }
            change(&queue)
            defer { queue.isRunning = true }
            return !queue.isRunning
        }
        if mustStart { startApplier() }
    }

    /// - Throws: `unavailable` once it is closed: its files are the next one's.
    func checkFilesAreOurs() throws(NeedletailError) {
        if queue.withLock({ $0.isOver }) { throw closing }
    }

    private var closing: NeedletailError { NeedletailError(.unavailable, "shard \(assignment.shard) is closing; ask again") }

    /// Called on the clock: checkpoints what has been idle, and tries again what has failed.
    func tick(now: ContinuousClock.Instant) {
        let configuration = resources.configuration
        offerRefusedModels()
        if applier.hasCheckpointFailed(before: now - configuration.checkpointRetry) { requestCheckpoint() }
        let mustStart = queue.withLock { queue in
            guard !queue.isRunning, !queue.isOver, applier.isDirty, queue.lastWrite.duration(to: now) >= configuration.checkpointIdle else { return false }
            queue.wantsCheckpoint = true
            queue.isRunning = true
            return true
        }
        if mustStart { startApplier() }
    }

    /// Syncs the log if its durability is by interval and the interval is over.
    func syncIfDue(now: ContinuousClock.Instant) {
        guard case .interval(let milliseconds) = assignment.collection.durability else { return }
        let isDue = lastSync.withLock { last in
            guard last.duration(to: now) >= .milliseconds(milliseconds) else { return false }
            last = now
            return true
        }
        // A failed sync makes the log read-only and says so in the replica's status.
        if isDue, log.durableSequence < log.lastSequence { try? log.sync() }
    }

    /// Ends writing, applies what is durable, checkpoints, and closes the files.
    ///
    /// - Parameter discarding: the replica is being dropped: no checkpoint is worth writing.
    func close(discarding: Bool) async {
        guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
        let committer = committer.withLock { committer in
            defer { committer = nil }
            return committer
        }
        // Joins a thread, for as long as one commit takes.
        committer?.close()
        abandonWriters(NeedletailError(.unavailable, "shard \(assignment.shard) is closing; send the write again"))
        await untilIdle()
        await applier.untilCheckpointEnds()
        if !discarding, applier.isDirty, applier.failure == nil {
            requestCheckpoint()
            await untilIdle()
            await applier.untilCheckpointEnds()
        }
        while !endIfIdle() {
            await untilIdle()
            await applier.untilCheckpointEnds()
        }
        payloads.store.close()
    }

    /// Checkpoints begin in the applier only, so where that rests and none is being written none comes any more.
    private func endIfIdle() -> Bool {
        queue.withLock { queue in
            queue.isOver = !queue.isRunning && !applier.isCheckpointing.load(ordering: .acquiring)
            return queue.isOver
        }
    }

    func requestCheckpoint() { begin { $0.wantsCheckpoint = true } }

    func untilIdle() async {
        await withCheckedContinuation { continuation in
            let isIdle = queue.withLock { queue in
                if queue.isRunning { queue.idleWaiters.append(continuation) }
                return !queue.isRunning
            }
            if isIdle { continuation.resume() }
        }
    }

    func status() -> ReplicaStatus {
        let failure = applier.failure ?? log.readOnlyReason ?? applier.checkpointProblem
        func bytes(_ slabs: [SlabArray]) -> Int { slabs.reduce(0) { $0 + $1.slotCount * $1.strideBytes } }
        let memory = bytes(slabs.filter { $0.folder == nil }) + points.mapBytes + payloads.sizeBytes
        let disk = bytes(slabs.filter { $0.folder != nil }) + log.sizeBytes + ((try? checkpoints.sizeBytes()) ?? 0) + ((try? payloads.store.sizeBytes()) ?? 0)
        // Slots without a point are used again: not counted, they are no reason to move or to split.
        let (count, slots) = (points.count, points.slab.slotCount)
        let data = (slots == 0 ? 0 : Int(Double(bytes(slabs)) * Double(count) / Double(slots))) + ((try? payloads.store.dataBytes()) ?? 0)
        return ReplicaStatus(
            shard: assignment.shard, state: failure == nil ? .ready : .readOnly, reason: failure?.message ?? "", epoch: standing.withLock { $0.epoch },
            appliedSequence: appliedSequence.load(ordering: .acquiring), pointCount: UInt64(points.count), memoryBytes: UInt64(memory),
            diskBytes: UInt64(disk), dataBytes: UInt64(data), workNanoseconds: work.load(ordering: .relaxed), recall: sampler.sampled,
            codecs: codecProgress())
    }
}
