internal import Logging
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailShard
internal import NeedletailTelemetry
internal import Synchronization

/// Lets a replica take part in replication: tells its machine what happens, and does what the machine decides, one thing after the other.
///
/// Everything the machine is told, and the queueing of what it then wants done, happens under one lock; one task does it. What takes long
/// (streams, calls to the leader) it hands to tasks of its own, which tell the machine when they are done.
final class ReplicaDriver: ReplicationObserver {
    /// What is to be done: an action of the machine, with what belongs to it.
    enum Work: Sendable {
        case action(ReplicaAction)
        case append([LogRecord])
        /// Searches and writers may be told: committed, and acknowledged by most.
        case advance(committed: UInt64, majority: UInt64)
    }

    struct State {
        var machine: ReplicaMachine
        /// What was last passed on.
        var committed: UInt64 = 0
        var majority: UInt64 = 0
        /// Who waits for the answer to a fence.
        var fences: [Fence: [CheckedContinuation<FenceAnswer, any Error>]] = [:]
        var outgoing: [StreamID: PrimaryStream] = [:]
        var incoming: [StreamID: Task<Void, Never>] = [:]
        var transfer: (stream: StreamID, task: Task<Void, Never>)?
        /// Fetched and not installed: what its checkpoint is of.
        var fetched: (stream: StreamID, incoming: IncomingReplica, sequence: UInt64, epoch: UInt64)?
        var acknowledgements: [StreamID: AsyncStream<UInt64>.Continuation] = [:]
        /// When replicas were last compared, or the driver began.
        var comparedAt: Duration
        var isComparing = false
        var isStopped = false
    }

    let hosted: HostedReplica
    let world: ReplicationWorld
    let state: Mutex<State>
    private let work: AsyncStream<Work>
    let queue: AsyncStream<Work>.Continuation
    private let worker = Mutex<Task<Void, Never>?>(nil)

    var shard: ShardID { hosted.shard }
    var now: Duration { world.now }

    /// The replica must not be written to: it has fellows by its assignment, and no observer yet.
    /// - Throws: `dataLoss` when what it promised cannot be read.
    init(_ hosted: HostedReplica, world: ReplicationWorld) async throws {
        self.hosted = hosted
        self.world = world
        let log = try await hosted.settledLog()
        let history = try EpochHistory(log)
        let promise = try hosted.storedPromise().map(ReplicaPromise.init(encoded:)) ?? ReplicaPromise()
        let machine = ReplicaMachine(
            node: world.node, promise: promise, log: ReplicaLogState(history: history, committed: log.committed),
            firstStream: UInt64(world.startedAt), settings: world.settings)
        state = Mutex(State(machine: machine, committed: log.committed, comparedAt: world.now))
        (work, queue) = AsyncStream.makeStream()
    }

    func start() {
        hosted.observe(self)
        // It lives longer than the request that it may be made by, and makes tasks and streams of its own.
        RequestScope.outside { worker.withLock { $0 = Task { for await item in work { await perform(item) } } } }
        receivePlace()
    }

    /// Ends the driver: the replica is closed, or has no fellows any more.
    func stop() async {
        hosted.observe(nil)
        let (fences, outgoing, incoming, transfer, fetched) = state.withLock { state in
            state.isStopped = true
            defer { (state.fences, state.outgoing, state.incoming, state.transfer, state.fetched) = ([:], [:], [:], nil, nil) }
            return (
                state.fences.values.flatMap { $0 }, Array(state.outgoing.values), Array(state.incoming.values), state.transfer?.task, state.fetched
            )
        }
        let error = NeedletailError(.unavailable, "shard \(shard) is closing; ask again")
        for waiter in fences { waiter.resume(throwing: error) }
        for stream in outgoing { stream.close() }
        for task in incoming { task.cancel() }
        // A driver that follows copies into the same folder.
        transfer?.cancel()
        await transfer?.value
        if let fetched { await forget(fetched.incoming) }
        queue.finish()
        await worker.withLock { $0 }?.value
        // One that is alone now commits by itself.
        if !hosted.assignment.isAlone { hosted.abandonWriters(error) }
    }

    /// Tells the machine, and queues what it wants done.
    func receive(_ event: ReplicaEvent) { state.withLock { $0.receive(event, now: now, queue: queue) } }

    /// The replica's assignment is another one.
    func receivePlace() {
        guard let place = ShardPlace(hosted.assignment) else { return }
        hosted.betweenWrites { receive(.place(place)) }
    }

    /// - Throws: `aborted` when the replica knows of a later epoch; `dataLoss` when its log is broken and another member may lead instead.
    func fence(_ fence: Fence) async throws -> FenceAnswer {
        let answer = try await answer(fence)
        if let reason = hosted.brokenLog, hosted.assignment.inSync.count > 1 { throw reason }
        return answer
    }

    private func answer(_ fence: Fence) async throws -> FenceAnswer {
        try await withCheckedThrowingContinuation { continuation in
            let isStopped = hosted.betweenWrites {
                state.withLock { state in
                    if state.isStopped { return true }
                    state.fences[fence, default: []].append(continuation)
                    state.receive(.fence(fence), now: now, queue: queue)
                    return false
                }
            }
            if isStopped { continuation.resume(throwing: NeedletailError(.unavailable, "shard \(shard) is closing; ask again")) }
        }
    }

    /// Called about ten times a second.
    func tick() {
        let first = hosted.logEnd.first
        if first > 1 { receive(.trimmed(through: first - 1)) }
        receive(.checkpointed(through: hosted.checkpointedSequence))
        if hosted.brokenLog != nil { receive(.logBroken) }
        receive(.tick)
        compareIfDue()
    }

    // MARK: ReplicationObserver

    func admit(_ write: ShardWrite) throws(NeedletailError) {
        // A replica whose fellows have left needs nobody's consent; its driver ends in a moment.
        if hosted.assignment.isAlone { return }
        try primary().admit(
            epoch: write.epoch, minInSync: hosted.assignment.collection.minInSync, leaseHeld: world.lease.isHeld(shard, epoch: write.epoch))
    }

    func admitMark(epoch: UInt64) throws(NeedletailError) {
        try primary().admit(epoch: epoch, minInSync: 1, leaseHeld: world.lease.isHeld(shard, epoch: epoch))
    }

    func admitPrimaryRead() throws(NeedletailError) -> UInt64 {
        if hosted.assignment.isAlone { return hosted.logEnd.committed }
        let primary = try primary()
        try primary.admitRead(epoch: primary.epoch, leaseHeld: world.lease.isHeld(shard, epoch: primary.epoch))
        return primary.committed
    }

    func leads(_ epoch: UInt64) -> Bool { state.withLock { $0.machine.primary?.epoch } == epoch }

    private func primary() throws(NeedletailError) -> PrimaryMachine {
        guard let primary = state.withLock({ $0.machine.primary }) else {
            throw NeedletailError(.aborted, "the replica of shard \(shard) on this node is not the primary; read the cluster map again")
        }
        return primary
    }

    func appended(through sequence: UInt64) { receive(.appended(through: sequence)) }
    func durable(through sequence: UInt64) { receive(.durable(through: sequence)) }
    func failed(keeping lastKept: UInt64) { receive(.commitFailed(lastKept: lastKept)) }
}

extension ReplicaDriver.State {
    /// - Parameter records: the payloads of `ReplicaEvent.received`.
    mutating func receive(
        _ event: ReplicaEvent, now: Duration, records: [LogRecord] = [], queue: AsyncStream<ReplicaDriver.Work>.Continuation
    ) {
        if isStopped { return }
        for action in machine.receive(event, now: now) {
            if case .append = action { queue.yield(.append(records)) } else { queue.yield(.action(action)) }
        }
        // The machine orders `apply` when committed grows; the majority it only knows.
        let majority = machine.primary?.acknowledgedMajority ?? 0
        if majority > self.majority {
            self.majority = majority
            queue.yield(.advance(committed: machine.log.committed, majority: majority))
        }
    }
}

/// What the drivers of a node share.
struct ReplicationWorld: Sendable {
    let node: NodeID
    let settings: ReplicationSettings
    /// When the process began, in microseconds of a clock that goes on between processes: numbers of streams begin there.
    let startedAt: Int64
    let began: ContinuousClock.Instant
    let lease: HeldLease
    /// Reaches the shard worker at an address.
    let peer: @Sendable (_ address: String) throws -> any ReplicationPeer
    let leader: any LeaderOperations
    /// The leader has changed something: ask it at once how things are.
    let nudge: @Sendable () -> Void
    let local: LocalNode
    /// A replica was opened anew: it wants another driver.
    let reopened: @Sendable (ShardID) -> Void
    let logger: Logger
    let copyRate: CopyRate

    var now: Duration { began.duration(to: .now) }
}

/// Another shard worker, as a backup sees the primary's.
protocol ReplicationPeer: Sendable {
    var operations: any ReplicationOperations { get }
    func follow() async throws -> any FollowStream
}

/// A backup's side of a stream to a primary.
protocol FollowStream: Sendable {
    func start(_ shard: ShardID, _ follow: Follow) async throws
    func acknowledge(durable: UInt64) async throws
    /// Reads until the stream ends.
    func read(answer: (FollowAnswer) async throws -> Void, records: (StreamedRecords, [LogRecord]) async throws -> Void) async throws
    func cancel()
}

extension EpochHistory {
    /// Of a log as it is when nothing is under way.
    init(_ log: HostedReplica.LogEnd) throws(NeedletailError) {
        var runs = log.epochs.map { Run(epoch: $0.epoch, first: $0.firstSequence) }
        // The epoch of the record before the first one need not be known; then the first one counts as gone as well.
        var base = log.first - 1
        if base > 0, let first = runs.first?.first, first > base { base = first }
        base = min(base, log.last)
        while runs.count > 1, runs[1].first <= base { runs.removeFirst() }
        try self.init(base: base, runs: runs, end: log.last)
    }
}

extension ReplicaPromise {
    private static let format: UInt8 = 1

    var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(Self.format)
        writer.u64(epoch)
        writer.u64(led)
        return writer.bytes
    }

    init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes, location: "promise")
        let format = try reader.u8()
        guard format == Self.format else {
            throw NeedletailError(.failedPrecondition, "a replica's promise has format \(format), this build reads \(Self.format); upgrade this node")
        }
        self.init(epoch: try reader.u64(), led: try reader.u64())
        try reader.expectEnd()
    }
}

extension ShardPlace {
    /// nil for an assignment of a version that knew no replicas.
    init?(_ assignment: ReplicaAssignment) {
        guard !assignment.members.isEmpty else { return nil }
        self.init(
            number: assignment.shard.number, range: assignment.range, primary: assignment.primary, epoch: assignment.epoch,
            replicas: assignment.members.map(\.node), inSync: assignment.inSync, version: assignment.version)
    }
}
