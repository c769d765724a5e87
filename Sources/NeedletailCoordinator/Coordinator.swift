public import NeedletailBackup
public import NeedletailCluster
public import NeedletailCore
public import NeedletailMetadata
public import NeedletailTelemetry
internal import Synchronization

/// The door for clients and the control plane of a cluster.
///
/// It answers from a copy of the metadata in memory, which follows the metadata store. Any number of coordinators share a store, and all
/// answer; one of them leads, and changes the cluster. What is decided is decided in NeedletailCluster, and done here.
public final class Coordinator: ClusterOperations, MembershipOperations {
    /// A way to a shard worker.
    public struct WorkerLink: Sendable {
        public var operations: any ShardOperations
        public var replication: any ReplicationOperations
        /// nil: takes no part in backups.
        public var backups: (any BackupWorker)?
        /// The worker was heard of after it had not answered.
        public var retryNow: @Sendable () -> Void
        public var close: @Sendable () async -> Void

        public init(
            operations: any ShardOperations, replication: any ReplicationOperations, backups: (any BackupWorker)? = nil,
            retryNow: @escaping @Sendable () -> Void, close: @escaping @Sendable () async -> Void
        ) {
            self.operations = operations
            self.replication = replication
            self.backups = backups
            self.retryNow = retryNow
            self.close = close
        }
    }

    /// Reaches the shard worker at an address.
    public typealias Connect = @Sendable (_ address: String) throws -> WorkerLink

    /// A way to another coordinator.
    public struct CoordinatorLink: Sendable {
        public var operations: any ClusterOperations
        public var close: @Sendable () async -> Void

        public init(operations: any ClusterOperations, close: @escaping @Sendable () async -> Void) {
            self.operations = operations
            self.close = close
        }
    }

    /// Reaches the coordinator at an address. A way that is not closed closes itself some time after it was let go.
    public typealias ConnectCoordinator = @Sendable (_ address: String) throws -> CoordinatorLink

    struct State {
        var copy: MetadataCopy
        var collections: [String: CollectionEntry] { copy.collections.values }
        /// Where the others reach this coordinator.
        var address = ""
        var lease: OwnLease?
        /// Why the metadata store did not answer when it was asked last.
        var metadataProblem: String?
        /// Callers are asked for keys here.
        var asksForKeys = false
        /// Takes no more requests: the process ends.
        var isDraining = false
        var leaderLink: (leader: CoordinatorEntry, link: CoordinatorLink)?
        var membership: Membership
        var workers: [NodeID: WorkerLink] = [:]
        var loads: [NodeID: NodeLoad] = [:]
        /// Of searches, by collection.
        var hedging: [Incarnation: Hedging] = [:]
        /// Names on which a creation or removal is at work, so that the clean-up does not run beside it.
        var busy: Set<String> = []
        /// Fields whose codec is being trained.
        var training: Set<TrainedField> = []
        /// How many points a collection was last seen to have, and since when.
        var growth: [Incarnation: (points: UInt64, since: ContinuousClock.Instant)] = [:]
        /// Fields that could not be trained unasked.
        var failedTrainings: [TrainedField: FailedTraining] = [:]
        /// How the backups that are gone on with are, on the leader.
        var backupRuns: [UInt64: BackupRun] = [:]
        /// Moves that are being gone on with, and when their shard's primary was last asked to hand over.
        var advancing: Set<UInt64> = []
        var handOvers: [UInt64: ContinuousClock.Instant] = [:]
        /// Nodes that have removed what a step of a split or a merge wants removed.
        var reshardingDrops: [UInt64: (step: ReshardingStep, nodes: Set<NodeID>)] = [:]
        var lastEvent: UInt64 = 0
        /// Since when every shard is as it should be; nil while one is not.
        var healthySince: ContinuousClock.Instant?
    }

    public let clusterID: UInt64
    /// Another one at every start.
    let id = UInt64.random(in: 1...UInt64.max)
    let metadata: any MetadataStore
    let connect: Connect
    let connectCoordinator: ConnectCoordinator
    /// Of this coordinator's lease in the metadata store.
    let leaseLength: Duration
    /// Opens places for backups.
    let places: BackupPlaces
    let live: LiveSettings
    var policy: MovePolicy { live.current.moves }
    let metrics: CoordinatorMetrics?
    let tracer: Tracer?
    let slowQueries: SlowQueryLog?
    let state: Mutex<State>
    let failover: Failover
    let started = ContinuousClock.now

    /// What nodes and shards work is averaged over the time for which the cluster has to be quiet before anything moves for balance, but no less.
    private static let leastWorkWindow = Duration.seconds(5)

    /// How long a worker counts as alive after its last heartbeat, and its primaries may act; then others take over.
    public static let lease = Duration.seconds(2)

    /// Reads the cluster's metadata, or makes a new cluster when there are none. Where several coordinators share the store, `follow` and
    /// `lead` are to be run.
    ///
    /// - Parameters:
    ///   - leaseLength: after so long without a sign of life from this coordinator another one may lead.
    ///   - connectCoordinator: for requests that another coordinator is to be asked; not used with a store of one coordinator.
    /// - Throws: `dataLoss` when they are damaged, `unimplemented` when a newer version wrote them.
    public static func open(
        metadata: any MetadataStore, leaseLength: Duration = .seconds(2), live: LiveSettings = LiveSettings(), backups: BackupPlaces = BackupPlaces(),
        metrics: CoordinatorMetrics? = nil, tracer: Tracer? = nil, slowQueries: SlowQueryLog? = nil, connectCoordinator: ConnectCoordinator? = nil,
        connect: @escaping Connect
    ) async throws -> Coordinator {
        let cluster = try await identity(metadata)
        let copy = try MetadataCopy(try await metadata.entries(prefix: ""))
        let coordinator = Coordinator(
            cluster, metadata, leaseLength, live, backups, copy, metrics, tracer, slowQueries, connect, connectCoordinator ?? { _ in throw notLeading })
        if metadata.isExclusive { try await coordinator.leadAlone() }
        return coordinator
    }

    private init(
        _ cluster: UInt64, _ metadata: any MetadataStore, _ leaseLength: Duration, _ live: LiveSettings, _ places: BackupPlaces, _ copy: MetadataCopy,
        _ metrics: CoordinatorMetrics?, _ tracer: Tracer?, _ slowQueries: SlowQueryLog?, _ connect: @escaping Connect,
        _ connectCoordinator: @escaping ConnectCoordinator
    ) {
        clusterID = cluster
        self.metadata = metadata
        self.leaseLength = leaseLength
        self.places = places
        self.live = live
        self.metrics = metrics
        self.tracer = tracer
        self.slowQueries = slowQueries
        self.connect = connect
        self.connectCoordinator = connectCoordinator
        state = Mutex(State(copy: copy, membership: Membership(lease: Self.lease, workWindow: max(live.current.moves.stableFor, Self.leastWorkWindow))))
        failover = Failover(lease: Self.lease)
    }

    /// host:port at which workers and other coordinators reach this one. Known once it listens, and set before `lead` is run.
    public var address: String {
        get { state.withLock { $0.address } }
        set { state.withLock { $0.address = newValue } }
    }

    private static func identity(_ metadata: any MetadataStore) async throws -> UInt64 {
        let key = "cluster"
        while true {
            if let entry = try await metadata.get(key) {
                var reader = ByteReader(entry.value)
                return try reader.u64()
            }
            var writer = ByteWriter()
            writer.u64(UInt64.random(in: 1...UInt64.max))
            // Another coordinator may be first; then its identity is read.
            _ = try await metadata.replace(key, expected: nil, with: writer.bytes)
        }
    }

    /// The living collection of this name.
    /// - Throws: `notFound`.
    func entry(_ name: String) throws(NeedletailError) -> CollectionEntry {
        guard let entry = state.withLock({ $0.collections[name] }), entry.state == .active else {
            throw NeedletailError(.notFound, "there is no collection \"\(name)\"; `needletail collection list` shows those there are")
        }
        return entry
    }

    /// The worker that hosts a node's replicas.
    /// - Throws: `unavailable` when it has not been heard of lately.
    func worker(_ node: NodeID) throws(NeedletailError) -> any ShardOperations {
        let (worker, isAlive) = state.withLock { ($0.workers[node], $0.membership.isAlive(node, now: .now)) }
        guard let worker, isAlive else {
            throw NeedletailError(.unavailable, "shard worker \(node) is not answering; see `needletail status`, and try again when it is back")
        }
        return worker.operations
    }

    /// Asks a node something about shards. Readiness follows what requests meet, without waiting for the next heartbeat: shards that
    /// do not answer count as not serving from now on.
    /// - Throws: `NeedletailError` only.
    func ask<Value>(
        _ node: NodeID, about shards: [ShardID], _ body: (any ShardOperations) async throws -> Value
    ) async throws(NeedletailError) -> Value {
        let worker = try worker(node)
        do { return try await body(worker) } catch {
            var failure = Self.wrap(error)
            // A replica that has moved, or is not there yet: nothing was done, and the map will say where it is.
            if failure.code == .notFound { failure.code = .aborted }
            if failure.code == .unavailable {
                state.withLock { $0.membership.unanswered(shards, by: node) }
                // Raised on this side of the connection: whose address it names is known only here.
                if failure.location != nil { failure.message = "shard worker \(node): \(failure.message)" }
            }
            throw failure
        }
    }

    /// Stops leading and closes the ways to all workers. The metadata store stays open.
    public func close() async {
        await resign()
        let (links, leader) = state.withLock { state in
            defer { (state.workers, state.leaderLink) = ([:], nil) }
            return (Array(state.workers.values), state.leaderLink)
        }
        for link in links { await link.close() }
        await leader?.link.close()
    }

    static func wrap(_ error: any Error) -> NeedletailError {
        if let error = error as? NeedletailError { return error }
        return error is CancellationError
            ? NeedletailError(.cancelled, "the request was cancelled") : NeedletailError(.internal, "an unexpected error", cause: error)
    }
}
