public import NeedletailCluster
public import NeedletailCore
public import NeedletailMetadata
internal import Synchronization

/// The door for clients and the control plane of a cluster.
///
/// It answers from a copy of the cluster map in memory, which is changed only after the metadata store was; what it decides is decided
/// in NeedletailCluster, and done here.
public final class Coordinator: ClusterOperations, MembershipOperations {
    /// A way to a shard worker.
    public struct WorkerLink: Sendable {
        public var operations: any ShardOperations
        public var replication: any ReplicationOperations
        /// The worker was heard of after it had not answered.
        public var retryNow: @Sendable () -> Void
        public var close: @Sendable () async -> Void

        public init(
            operations: any ShardOperations, replication: any ReplicationOperations, retryNow: @escaping @Sendable () -> Void,
            close: @escaping @Sendable () async -> Void
        ) {
            self.operations = operations
            self.replication = replication
            self.retryNow = retryNow
            self.close = close
        }
    }

    /// Reaches the shard worker at an address.
    public typealias Connect = @Sendable (_ address: String) throws -> WorkerLink

    struct State {
        /// Every entry of the metadata store, those being made or removed included.
        var collections: [String: CollectionEntry] = [:]
        var membership: Membership
        var workers: [NodeID: WorkerLink] = [:]
        var loads: [NodeID: NodeLoad] = [:]
        /// Names on which a creation or removal is at work, so that the clean-up does not run beside it.
        var busy: Set<String> = []
        /// Fields whose codec is being trained.
        var training: Set<TrainedField> = []
        /// Fields that could not be trained unasked.
        var failedTrainings: [TrainedField: FailedTraining] = [:]
    }

    public let clusterID: UInt64
    let metadata: any MetadataStore
    let connect: Connect
    let state: Mutex<State>
    let failover: Failover

    /// How long a worker counts as alive after its last heartbeat, and its primaries may act; then others take over.
    public static let lease = Duration.seconds(2)

    /// Reads the cluster's metadata, or makes a new cluster when there are none.
    /// - Throws: `dataLoss` when they are damaged, `unimplemented` when a newer version wrote them.
    public static func open(metadata: any MetadataStore, connect: @escaping Connect) async throws -> Coordinator {
        let cluster = try await identity(metadata)
        var collections: [String: CollectionEntry] = [:]
        for entry in try await metadata.entries(prefix: Self.collectionsPrefix).entries {
            let collection = try CollectionEntry(encoded: entry.value)
            collections[collection.spec.name] = collection
        }
        return Coordinator(cluster: cluster, collections: collections, metadata: metadata, connect: connect)
    }

    private init(cluster: UInt64, collections: [String: CollectionEntry], metadata: any MetadataStore, connect: @escaping Connect) {
        clusterID = cluster
        self.metadata = metadata
        self.connect = connect
        state = Mutex(State(collections: collections, membership: Membership(lease: Self.lease)))
        failover = Failover(lease: Self.lease)
        failover.receive(.elected(term: 1))
        for entry in collections.values { tellFailover(entry) }
        failover.receive(.loaded(term: 1))
    }

    static let collectionsPrefix = "collections/"

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
            if failure.code == .unavailable {
                state.withLock { $0.membership.unanswered(shards, by: node) }
                // Raised on this side of the connection: whose address it names is known only here.
                if failure.location != nil { failure.message = "shard worker \(node): \(failure.message)" }
            }
            throw failure
        }
    }

    /// Closes the ways to all workers.
    public func close() async {
        let links = state.withLock { state in
            defer { state.workers = [:] }
            return Array(state.workers.values)
        }
        for link in links { await link.close() }
    }

    static func wrap(_ error: any Error) -> NeedletailError {
        if let error = error as? NeedletailError { return error }
        return error is CancellationError
            ? NeedletailError(.cancelled, "the request was cancelled") : NeedletailError(.internal, "an unexpected error", cause: error)
    }
}
