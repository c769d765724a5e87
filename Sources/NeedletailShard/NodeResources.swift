public import NeedletailCore
public import NeedletailStorage
public import NeedletailTelemetry

/// The threads and limits that all replicas of a node share.
public final class NodeResources: Sendable {
    /// Searches and reads.
    public let searchPool: WorkerPool
    /// Applying writes: linking into graphs, repairing them.
    public let buildPool: WorkerPool
    /// Decoding and checking batches, so that neither an event loop nor a search waits for it.
    let intakePool: WorkerPool
    /// Writing checkpoints, where nobody else wants the processor.
    let checkpointPool: WorkerPool
    /// Learning codecs, which may take minutes: nothing else waits behind it.
    let trainingPool: WorkerPool
    /// Putting codec models on disk. Heartbeats wait for it, so it does nothing else.
    let modelPool: WorkerPool
    /// Loading and dropping, and checkpoints that take too long where they began: one replica at a time.
    let maintenancePool: WorkerPool
    /// Reading and writing the files of replicas that are copied.
    let copyPool: WorkerPool
    /// Asking sampled queries again exactly, and calibrating recall targets.
    let samplingPool: WorkerPool
    /// Syncing logs that are synced by interval.
    let syncPool: WorkerPool
    /// Of asking sampled queries again.
    let sampling = SamplingBudget()
    public let configuration: ReplicaConfiguration
    let disk: Disk
    let metrics: ShardMetrics?
    /// Of writes that come from other replicas; requests bring their own.
    let tracer: Tracer?

    /// - Parameter searchQueue: searches and reads that may wait for a thread.
    public init(
        searchThreads: Int, buildThreads: Int, searchQueue: Int = 4096, configuration: ReplicaConfiguration = ReplicaConfiguration(),
        disk: Disk = .real, metrics: ShardMetrics? = nil, tracer: Tracer? = nil
    ) {
        searchPool = WorkerPool(threads: searchThreads, queueLimit: searchQueue)
        buildPool = WorkerPool(threads: buildThreads, queueLimit: 1 << 20, precedence: .niceness(5))
        intakePool = WorkerPool(threads: 1, queueLimit: 1 << 16)
        checkpointPool = WorkerPool(threads: 1, queueLimit: 1 << 20, precedence: .idle)
        maintenancePool = WorkerPool(threads: 1, queueLimit: 1 << 20, precedence: .niceness(10))
        trainingPool = WorkerPool(threads: 1, precedence: .niceness(10))
        modelPool = WorkerPool(threads: 1)
        copyPool = WorkerPool(threads: 2, precedence: .niceness(10))
        samplingPool = WorkerPool(threads: 1, precedence: .niceness(10))
        syncPool = WorkerPool(threads: 1)
        self.configuration = configuration
        self.disk = disk
        self.metrics = metrics
        self.tracer = tracer
    }

    /// A moment in the life of the pools whose jobs read slots without a lock.
    struct ReaderMark {
        let search: UInt64
        let sampling: UInt64
    }

    func markReaders() -> ReaderMark { ReaderMark(search: searchPool.readers.mark(), sampling: samplingPool.readers.mark()) }

    /// Whether every reading job that began before the mark has ended.
    func readersHavePassed(_ mark: ReaderMark) -> Bool {
        searchPool.readers.havePassed(mark.search) && samplingPool.readers.havePassed(mark.sampling)
    }

    /// Ends all threads; the replicas that used them must be closed before.
    public func close() {
        let working = [intakePool, buildPool, checkpointPool, maintenancePool, trainingPool, modelPool, copyPool, syncPool]
        for pool in working + [samplingPool, searchPool] { pool.close() }
    }
}

/// How replicas keep their data.
public struct ReplicaConfiguration: Sendable {
    /// Whether some of the real queries are asked again exactly.
    public var samplesRecall = true
    /// Slots a partition can have; addresses for them are reserved (not memory) when its first point comes.
    public var capacity = 1 << 24
    /// Addresses reserved for one array at most; bounds `capacity` for very long vectors.
    public var reservationBytes = 32 << 30
    /// A checkpoint begins after so many points were written since the last one, or a thirty-second of the partition if that is more:
    /// what a restart must link again is then a matter of a second.
    public var checkpointPoints = 8_192
    /// A replica that was not written for this long is checkpointed even if less has changed.
    public var checkpointIdle = Duration.seconds(2)
    /// One that failed is tried again after this long, also where writes go on and on.
    public var checkpointRetry = Duration.seconds(5)
    /// How long a checkpoint may stand behind all other work; then it takes its share.
    public var checkpointPatience = Duration.seconds(10)
    /// Retired slots that start a repair, or a twentieth of the partition if that is more.
    public var repairPoints = 1_024
    /// Slots a repair looks at in one step, so that writes wait for milliseconds only.
    public var repairStep = 8_192
    /// Points applied between two acknowledgements at most.
    public var groupPoints = 2_048
    /// Bytes of writes under way in one replica before writers wait.
    public var writeBudgetBytes = 64 << 20
    /// Bytes of the newest log records kept in memory for the replica's fellows, if it has any.
    public var recentLogBytes = 16 << 20
    /// Asked before memory for so many bytes of codes is taken; throws `resourceExhausted` when it may not be. Tests refuse.
    public var admitCodes: @Sendable (_ sizeBytes: Int) throws(NeedletailError) -> Void = { _ in }
    public var log = LogConfiguration()

    public init() {}
}
