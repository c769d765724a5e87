/// What a client can ask of the cluster: the public API in plain values. A coordinator implements it; the client library is the same
/// protocol over the network, so tools and tests do not care which one they hold.
///
/// All methods throw `NeedletailError`. Requests are validated by the implementation; field names stand for themselves ("" is the
/// only field of a collection that has one).
public protocol ClusterOperations: MoveOperations, BackupOperations, AccessOperations {
    func createCollection(_ spec: CollectionSpec, deadline: Deadline?) async throws -> CollectionInfo
    func collection(_ name: String, deadline: Deadline?) async throws -> CollectionInfo
    func collections(deadline: Deadline?) async throws -> [CollectionInfo]
    func updateCollection(_ name: String, changes: CollectionChanges, deadline: Deadline?) async throws -> CollectionInfo
    /// Returns whether there was one; throws `notFound` instead of false unless `ignoreMissing`.
    func deleteCollection(_ name: String, ignoreMissing: Bool, deadline: Deadline?) async throws -> Bool
    /// Trains the codecs that have no model, or the one of the field named anew; returns when the models are stored, while shards begin to encode.
    func train(_ request: CollectionTraining) async throws -> CollectionInfo

    func write(_ request: PointsWrite) async throws -> WriteSummary
    func get(_ request: PointsGet) async throws -> PointsAnswer
    /// One page; the streaming RPC is made of these.
    func scroll(_ request: PointsScroll) async throws -> NamedScrollPage
    func count(_ collection: String, within filter: PayloadFilter?, read: ReadOptions, deadline: Deadline?) async throws -> CountAnswer
    func search(_ request: PointsSearch) async throws -> SearchAnswer

    func clusterStatus(deadline: Deadline?) async throws -> ClusterStatus
    func nodes(deadline: Deadline?) async throws -> [NodeInfo]
    /// nil: of all collections.
    func shards(of collection: String?, deadline: Deadline?) async throws -> [ShardInfo]
}

extension ClusterOperations {
    public func count(_ collection: String, read: ReadOptions, deadline: Deadline?) async throws -> CountAnswer {
        try await count(collection, within: nil, read: read, deadline: deadline)
    }
}

/// What can be changed of a living collection; nil leaves it as it is.
public struct CollectionChanges: Sendable, Hashable {
    public var durability: Durability?
    public var replicationFactor: Int?
    public var writeConsistency: WriteConsistency?
    public var minInSync: Int?

    public init(
        durability: Durability? = nil, replicationFactor: Int? = nil, writeConsistency: WriteConsistency? = nil, minInSync: Int? = nil
    ) {
        self.durability = durability
        self.replicationFactor = replicationFactor
        self.writeConsistency = writeConsistency
        self.minInSync = minInSync
    }
}

public struct CollectionInfo: Sendable, Hashable {
    public var spec: CollectionSpec
    public var incarnation: Incarnation
    /// One a field, in their order: how far their codecs are.
    public var codecs: [CodecProgress]

    public init(spec: CollectionSpec, incarnation: Incarnation, codecs: [CodecProgress] = []) {
        self.spec = spec
        self.incarnation = incarnation
        self.codecs = codecs
    }
}

/// A vector under its field's name.
public struct NamedVector: Sendable, Equatable {
    public var field: String
    public var vector: DenseVector

    public init(field: String, vector: DenseVector) {
        self.field = field
        self.vector = vector
    }
}

/// A change to one point, with field names instead of numbers.
public enum NamedOperation: Sendable, Equatable {
    /// `payload` is `PayloadCoding.encode`d.
    case upsert(id: PointID, vectors: [NamedVector], payload: [UInt8])
    case delete(PointID)
    case setPayload(PointID, Payload)
    case overwritePayload(PointID, Payload)
    case deletePayloadKeys(PointID, [PayloadKey])

    public var id: PointID {
        switch self {
        case .upsert(let id, _, _), .delete(let id), .setPayload(let id, _), .overwritePayload(let id, _), .deletePayloadKeys(let id, _): id
        }
    }
}

public struct PointsWrite: Sendable {
    public var collection: String
    /// 1 … 10,000. Of two operations on one id the later one wins.
    public var operations: [NamedOperation]
    public var acknowledgement: ShardWrite.Acknowledgement
    /// nil: the collection's own.
    public var consistency: WriteConsistency?
    /// The same for every attempt at the same write; nil: the coordinator draws one.
    public var operation: OperationID?
    /// What a coordinator keeps the caller to: nothing outside of it is changed, and nothing is written there. Not part of the public API.
    public var filter: PayloadFilter?
    public var deadline: Deadline?

    public init(
        collection: String, operations: [NamedOperation], acknowledgement: ShardWrite.Acknowledgement = .applied,
        consistency: WriteConsistency? = nil, operation: OperationID? = nil, deadline: Deadline? = nil
    ) {
        self.collection = collection
        self.operations = operations
        self.acknowledgement = acknowledgement
        self.consistency = consistency
        self.operation = operation
        self.deadline = deadline
    }
}

public struct WriteSummary: Sendable {
    public var applied: UInt64
    public var notFound: UInt64
    /// Shard number → sequence number the write got there.
    public var sequences: [UInt32: UInt64]
    /// That of the collection; 0 when nothing was written.
    public var incarnation: Incarnation

    public init(
        applied: UInt64 = 0, notFound: UInt64 = 0, sequences: [UInt32: UInt64] = [:], incarnation: Incarnation = Incarnation(0)
    ) {
        self.applied = applied
        self.notFound = notFound
        self.sequences = sequences
        self.incarnation = incarnation
    }

    /// The state after the write, for later reads.
    public var session: Session { Session(incarnation: incarnation, sequences: sequences) }
}

/// A point as it is read back, with field names.
public struct NamedPoint: Sendable, Equatable {
    public var id: PointID
    public var vectors: [NamedVector]
    /// As `PayloadCoding` encodes it.
    public var payload: [UInt8]
    public var sequence: UInt64

    public init(id: PointID, vectors: [NamedVector], payload: [UInt8], sequence: UInt64) {
        self.id = id
        self.vectors = vectors
        self.payload = payload
        self.sequence = sequence
    }
}

public struct PointsGet: Sendable {
    public var collection: String
    public var ids: [PointID]
    public var parts: PointParts
    public var read: ReadOptions
    /// What a coordinator keeps the caller to. Not part of the public API.
    public var filter: PayloadFilter?
    public var deadline: Deadline?

    public init(
        collection: String, ids: [PointID], parts: PointParts = PointParts(payload: true), read: ReadOptions = ReadOptions(),
        deadline: Deadline? = nil
    ) {
        self.collection = collection
        self.ids = ids
        self.parts = parts
        self.read = read
        self.deadline = deadline
    }
}

public struct PointsAnswer: Sendable {
    /// Those that exist, in the order of the request.
    public var points: [NamedPoint]
    public var coverage: Coverage

    public init(points: [NamedPoint], coverage: Coverage) {
        self.points = points
        self.coverage = coverage
    }
}

/// A page of a collection in id order, after `after`.
public struct PointsScroll: Sendable {
    public var collection: String
    public var after: PointID?
    /// 1 … 10,000.
    public var limit: Int
    public var parts: PointParts
    public var read: ReadOptions
    /// What a coordinator keeps the caller to. Not part of the public API.
    public var filter: PayloadFilter?
    public var deadline: Deadline?

    public init(
        collection: String, after: PointID? = nil, limit: Int = 256, parts: PointParts = PointParts(payload: true),
        read: ReadOptions = ReadOptions(), deadline: Deadline? = nil
    ) {
        self.collection = collection
        self.after = after
        self.limit = limit
        self.parts = parts
        self.read = read
        self.deadline = deadline
    }
}

public struct NamedScrollPage: Sendable {
    public var points: [NamedPoint]
    public var hasMore: Bool

    public init(points: [NamedPoint], hasMore: Bool) {
        self.points = points
        self.hasMore = hasMore
    }
}

public struct CountAnswer: Sendable {
    public var count: UInt64
    public var coverage: Coverage

    public init(count: UInt64, coverage: Coverage) {
        self.count = count
        self.coverage = coverage
    }
}

/// One query with its field's name and what its answers carry.
public struct NamedQuery: Sendable {
    public var field: String
    public var vector: DenseVector
    public var limit: Int
    public var ef: Int?
    /// Share of the true nearest to find, above 0 and below 1, instead of `ef`; see `RecallEstimate` in the answer.
    public var recallTarget: Double?
    public var exact: Bool
    public var parts: PointParts

    public init(
        field: String = "", vector: DenseVector, limit: Int = 10, ef: Int? = nil, recallTarget: Double? = nil, exact: Bool = false,
        parts: PointParts = PointParts()
    ) {
        self.field = field
        self.vector = vector
        self.limit = limit
        self.ef = ef
        self.recallTarget = recallTarget
        self.exact = exact
        self.parts = parts
    }
}

public struct PointsSearch: Sendable {
    public var collection: String
    /// 1 … 1,000.
    public var queries: [NamedQuery]
    public var allowPartial: Bool
    public var read: ReadOptions
    /// What a coordinator keeps the caller to. Not part of the public API.
    public var filter: PayloadFilter?
    public var deadline: Deadline?

    public init(
        collection: String, queries: [NamedQuery], allowPartial: Bool = false, read: ReadOptions = ReadOptions(), deadline: Deadline? = nil
    ) {
        self.collection = collection
        self.queries = queries
        self.allowPartial = allowPartial
        self.read = read
        self.deadline = deadline
    }
}

/// A found point with field names; `distance` goes with `score` by the field's metric.
public struct NamedScoredPoint: Sendable, Equatable {
    public var id: PointID
    public var score: Float
    public var distance: Float
    public var vectors: [NamedVector]
    public var payload: [UInt8]
    public var sequence: UInt64

    public init(id: PointID, score: Float, distance: Float, vectors: [NamedVector] = [], payload: [UInt8] = [], sequence: UInt64 = 0) {
        self.id = id
        self.score = score
        self.distance = distance
        self.vectors = vectors
        self.payload = payload
        self.sequence = sequence
    }
}

public struct SearchAnswer: Sendable {
    /// One list a query, best first.
    public var results: [[NamedScoredPoint]]
    public var coverage: Coverage
    public var work: SearchWork
    /// One a query: what becomes of its recall target; nil without one.
    public var estimates: [RecallEstimate?]

    public init(results: [[NamedScoredPoint]], coverage: Coverage, work: SearchWork, estimates: [RecallEstimate?] = []) {
        self.results = results
        self.coverage = coverage
        self.work = work
        self.estimates = estimates
    }
}

/// How much of a collection an answer speaks for: one report a shard that the request concerned, by number.
public struct Coverage: Sendable {
    public var shards: [ShardReport]
    /// The state that the answer is of, for later reads; nil when no shard answered.
    public var session: Session?

    public init(shards: [ShardReport], session: Session? = nil) {
        self.shards = shards
        self.session = session
    }

    /// Of reports of one collection's shards; they are put in order.
    public static func of(_ reports: [ShardReport]) -> Coverage {
        var sequences: [UInt32: UInt64] = [:]
        for report in reports {
            if case .failed = report.outcome { continue }
            sequences[report.shard.number] = report.appliedSequence
        }
        let session = sequences.isEmpty ? nil : reports.first.map { Session(incarnation: $0.shard.incarnation, sequences: sequences) }
        return Coverage(shards: reports.sorted { $0.shard < $1.shard }, session: session)
    }

    public var answeredCount: Int { shards.count { if case .failed = $0.outcome { false } else { true } } }
}

public struct CoordinatorInfo: Sendable, Equatable {
    public var id: UInt64
    /// host:port
    public var address: String
    public var isLeader: Bool

    public init(id: UInt64, address: String, isLeader: Bool) {
        self.id = id
        self.address = address
        self.isLeader = isLeader
    }
}

public struct ClusterStatus: Sendable {
    public var clusterID: UInt64
    public var version: String
    public var nodesTotal: Int
    public var nodesAlive: Int
    public var collections: Int
    public var shardsTotal: Int
    public var shardsReady: Int
    public var points: UInt64
    /// By id.
    public var coordinators: [CoordinatorInfo]

    public init(
        clusterID: UInt64, version: String, nodesTotal: Int, nodesAlive: Int, collections: Int, shardsTotal: Int, shardsReady: Int, points: UInt64,
        coordinators: [CoordinatorInfo] = []
    ) {
        self.coordinators = coordinators
        self.clusterID = clusterID
        self.version = version
        self.nodesTotal = nodesTotal
        self.nodesAlive = nodesAlive
        self.collections = collections
        self.shardsTotal = shardsTotal
        self.shardsReady = shardsReady
        self.points = points
    }
}

public struct NodeInfo: Sendable {
    public var id: UInt64
    /// host:port
    public var address: String
    public var isAlive: Bool
    public var replicas: Int
    public var points: UInt64
    public var memoryBytes: UInt64
    public var diskBytes: UInt64
    public var heartbeatAge: Duration
    public var facts: NodeFacts
    /// Its replicas go to other nodes.
    public var isDrained: Bool
    /// Threads that its replicas keep busy.
    public var work: Double

    public init(
        id: UInt64, address: String, isAlive: Bool, replicas: Int, points: UInt64, memoryBytes: UInt64, diskBytes: UInt64, heartbeatAge: Duration,
        facts: NodeFacts = NodeFacts(), isDrained: Bool = false, work: Double = 0
    ) {
        self.work = work
        self.id = id
        self.address = address
        self.isAlive = isAlive
        self.replicas = replicas
        self.points = points
        self.memoryBytes = memoryBytes
        self.diskBytes = diskBytes
        self.heartbeatAge = heartbeatAge
        self.facts = facts
        self.isDrained = isDrained
    }
}

public struct ShardInfo: Sendable {
    public struct Replica: Sendable {
        public var node: UInt64
        public var isPrimary: Bool
        public var isInSync: Bool
        /// nil when the node has not said or is not alive.
        public var status: ReplicaStatus?

        public init(node: UInt64, isPrimary: Bool, isInSync: Bool, status: ReplicaStatus?) {
            self.node = node
            self.isPrimary = isPrimary
            self.isInSync = isInSync
            self.status = status
        }
    }

    public var collection: String
    public var number: UInt32
    public var range: HashRange
    public var epoch: UInt64
    public var replicas: [Replica]
    /// Threads that all of them keep busy together.
    public var work: Double

    public init(collection: String, number: UInt32, range: HashRange, epoch: UInt64, replicas: [Replica], work: Double = 0) {
        self.work = work
        self.collection = collection
        self.number = number
        self.range = range
        self.epoch = epoch
        self.replicas = replicas
    }
}

/// A request that one coordinator passes on to another, which it takes for the leader.
public enum Forwarding {
    /// Whether the request at hand was passed on already: then whoever does not lead refuses it, instead of passing it round.
    @TaskLocal public static var isForwarded = false
    /// What the caller of the request at hand proved itself with; goes along when the request is passed on, and is never logged.
    @TaskLocal public static var authorization: String?
}

/// What workers say to coordinators.
public protocol MembershipOperations: Sendable {
    /// - Throws: `failedPrecondition` when the worker belongs to another cluster and never will be taken; anything else may pass.
    func heartbeat(_ heartbeat: Heartbeat) async throws -> HeartbeatAnswer
}

public struct Heartbeat: Sendable {
    public var node: UInt64
    /// host:port at which coordinators reach the worker.
    public var address: String
    /// 0: the worker has not joined a cluster.
    public var cluster: UInt64
    public var status: NodeStatus
    public var isDraining: Bool
    public var facts: NodeFacts

    public init(node: UInt64, address: String, cluster: UInt64, status: NodeStatus, isDraining: Bool, facts: NodeFacts = NodeFacts()) {
        self.node = node
        self.address = address
        self.cluster = cluster
        self.status = status
        self.isDraining = isDraining
        self.facts = facts
    }
}

public struct HeartbeatAnswer: Sendable {
    /// What the coordinator that leads says besides.
    public struct Leadership: Sendable, Equatable {
        /// Of two leaders the one with the greater term is the present one.
        public var term: UInt64
        /// For so long, less a margin, from the moment it sent the heartbeat may the worker act as the primary of `epochs`.
        public var lease: Duration
        /// The present epochs of the shards that the worker is the primary of.
        public var epochs: [ShardID: UInt64]

        public init(term: UInt64, lease: Duration, epochs: [ShardID: UInt64] = [:]) {
            self.term = term
            self.lease = lease
            self.epochs = epochs
        }
    }

    public var cluster: UInt64
    /// nil from a coordinator that does not lead: then nothing is said of assignments and models.
    public var leadership: Leadership?
    /// host:port of every coordinator there is; empty when there are no others.
    public var coordinators: [String]
    /// Everything the worker ought to host.
    public var assignments: [ReplicaAssignment]
    /// Those that replicas ought to have and, by the heartbeat, have not.
    public var models: [CollectionModel]
    /// Replicas that have left their shard for good: their files may go.
    public var dropped: [ShardID]
    /// Replicas that belong to no collection yet, and stay: of parts of shards that are being split.
    public var kept: [ShardID]

    public init(
        cluster: UInt64, leadership: Leadership?, coordinators: [String] = [], assignments: [ReplicaAssignment] = [], models: [CollectionModel] = [],
        dropped: [ShardID] = [], kept: [ShardID] = []
    ) {
        self.cluster = cluster
        self.leadership = leadership
        self.coordinators = coordinators
        self.assignments = assignments
        self.models = models
        self.dropped = dropped
        self.kept = kept
    }
}
