/// What a coordinator asks of whoever holds shards: a local node, a remote one, a simulated one.
///
/// All methods throw `NeedletailError`: `notFound` when the shard is not here (the caller's map is old), `unavailable` while it
/// loads, `aborted` when the epoch is stale, `deadlineExceeded`.
public protocol ShardOperations: Sendable {
    func write(_ request: ShardWrite) async throws -> WriteReceipt
    func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse
    /// What `search` gives for each, in their order: for short searches that come close together.
    func searchEach(_ requests: [NodeSearchRequest]) async -> [Result<NodeSearchResponse, NeedletailError>]
    func get(_ request: ShardGet) async throws -> ShardPoints
    func scroll(_ request: ShardScroll) async throws -> ScrollPage
    /// - Parameter filter: only points that it admits.
    func count(_ shard: ShardID, within filter: PayloadFilter?, condition: ReadCondition, deadline: Deadline?) async throws -> ShardCount
    /// Makes the replica, or does nothing when it is there already; returns once it serves. Begins nothing after the deadline.
    func createReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws
    /// Tells a replica its collection's new definition, or who its fellows are now; returns once it serves. One that is not there is made if
    /// its primary is to fill it.
    /// - Throws: `notFound` when the replica ought to be there, with all its points, and is not.
    func updateReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws
    /// Stops serving the replica and removes its files; does nothing when it is not there. Begins nothing after the deadline.
    func dropReplica(_ shard: ShardID, deadline: Deadline?) async throws
    /// Vectors of a shard's current points, as `CodecTrainingRequest` takes them; the same ones for the same seed and state.
    func sample(_ request: ShardSample) async throws -> [UInt8]
    /// Learns a codec's parameters and gives them as the bytes of a `FieldModel`. Concerns no shard; any worker can do it.
    func train(_ request: CodecTrainingRequest) async throws -> [UInt8]
    func status() async throws -> NodeStatus
}

extension ShardOperations {
    public func searchEach(_ requests: [NodeSearchRequest]) async -> [Result<NodeSearchResponse, NeedletailError>] {
        var outcomes: [Result<NodeSearchResponse, NeedletailError>] = []
        for request in requests {
            do { outcomes.append(.success(try await search(request))) } catch {
                outcomes.append(.failure(error as? NeedletailError ?? NeedletailError(.internal, "\(error)", cause: error)))
            }
        }
        return outcomes
    }

    public func count(_ shard: ShardID, condition: ReadCondition, deadline: Deadline?) async throws -> ShardCount {
        try await count(shard, within: nil, condition: condition, deadline: deadline)
    }
}

/// A batch for one shard.
public struct ShardWrite: Sendable {
    public enum Acknowledgement: UInt8, Sendable {
        /// On disk and visible to searches.
        case applied = 0
        /// On disk; searches will see it soon.
        case durable = 1
    }

    public var shard: ShardID
    /// The primary's epoch as the caller knows it.
    public var epoch: UInt64
    /// A `WriteBatch`, encoded.
    public var batch: [UInt8]
    public var acknowledgement: Acknowledgement
    /// Of how many replicas the disks have the write when it is acknowledged. Beside `allInSync` the acknowledgement is as `durable`:
    /// searches see a write when every in-sync replica has it.
    public var consistency: WriteConsistency
    /// The same for every attempt at the same write, which is then carried out once.
    public var operation: OperationID?
    public var deadline: Deadline?

    public init(
        shard: ShardID, epoch: UInt64, batch: [UInt8], acknowledgement: Acknowledgement = .applied,
        consistency: WriteConsistency = .allInSync, operation: OperationID? = nil, deadline: Deadline? = nil
    ) {
        self.shard = shard
        self.epoch = epoch
        self.batch = batch
        self.acknowledgement = acknowledgement
        self.consistency = consistency
        self.operation = operation
        self.deadline = deadline
    }
}

public struct WriteReceipt: Sendable {
    public var sequence: UInt64
    /// One an operation, in order; empty when acknowledged before being applied.
    public var outcomes: [OperationOutcome]

    public init(sequence: UInt64, outcomes: [OperationOutcome]) {
        self.sequence = sequence
        self.outcomes = outcomes
    }
}

public struct ShardGet: Sendable {
    public var shard: ShardID
    public var ids: [PointID]
    public var parts: PointParts
    public var condition: ReadCondition
    /// Only points that it admits.
    public var filter: PayloadFilter?
    public var deadline: Deadline?

    public init(
        shard: ShardID, ids: [PointID], parts: PointParts, condition: ReadCondition = ReadCondition(), filter: PayloadFilter? = nil,
        deadline: Deadline? = nil
    ) {
        self.filter = filter
        self.shard = shard
        self.ids = ids
        self.parts = parts
        self.condition = condition
        self.deadline = deadline
    }
}

/// The points asked for that exist; every write up to `appliedSequence` was visible.
public struct ShardPoints: Sendable {
    public var points: [StoredPoint]
    public var appliedSequence: UInt64

    public init(points: [StoredPoint], appliedSequence: UInt64) {
        self.points = points
        self.appliedSequence = appliedSequence
    }
}

/// How many points a shard has; every write up to `appliedSequence` was counted.
public struct ShardCount: Sendable, Equatable {
    public var count: UInt64
    public var appliedSequence: UInt64
    /// Only what a filter admits was counted: a node of an older version would overlook the filter.
    public var isFiltered: Bool

    public init(count: UInt64, appliedSequence: UInt64, isFiltered: Bool = false) {
        self.isFiltered = isFiltered
        self.count = count
        self.appliedSequence = appliedSequence
    }
}

/// A page of a shard's points in id order, beginning after `after`.
public struct ShardScroll: Sendable {
    public var shard: ShardID
    public var after: PointID?
    public var limit: Int
    public var parts: PointParts
    public var condition: ReadCondition
    /// Only points that it admits.
    public var filter: PayloadFilter?
    public var deadline: Deadline?

    public init(
        shard: ShardID, after: PointID?, limit: Int, parts: PointParts, condition: ReadCondition = ReadCondition(), filter: PayloadFilter? = nil,
        deadline: Deadline? = nil
    ) {
        self.filter = filter
        self.shard = shard
        self.after = after
        self.limit = limit
        self.parts = parts
        self.condition = condition
        self.deadline = deadline
    }
}

public struct ScrollPage: Sendable {
    public var points: [StoredPoint]
    /// Whether points follow the last one of this page.
    public var hasMore: Bool

    public init(points: [StoredPoint], hasMore: Bool) {
        self.points = points
        self.hasMore = hasMore
    }
}

public struct ReplicaStatus: Sendable {
    public enum State: UInt8, Sendable {
        case loading = 1
        case ready = 2
        /// Reads go on; writes are refused with `reason` until it is gone.
        case readOnly = 3
        case failed = 4
    }

    public var shard: ShardID
    public var state: State
    public var reason: String
    public var epoch: UInt64
    public var appliedSequence: UInt64
    public var pointCount: UInt64
    public var memoryBytes: UInt64
    public var diskBytes: UInt64
    /// Of its points, whatever room for others, log and checkpoints are beside them; equal replicas have nearly equal ones.
    public var dataBytes: UInt64
    /// What threads have spent on its searches, reads and writes since it was opened.
    public var workNanoseconds: UInt64
    public var recall: SampledRecall
    /// Of the fields that have a codec, by their number.
    public var codecs: [Int: CodecProgress]

    public init(
        shard: ShardID, state: State, reason: String = "", epoch: UInt64 = 0, appliedSequence: UInt64 = 0, pointCount: UInt64 = 0,
        memoryBytes: UInt64 = 0, diskBytes: UInt64 = 0, dataBytes: UInt64 = 0, workNanoseconds: UInt64 = 0,
        recall: SampledRecall = SampledRecall(),
        codecs: [Int: CodecProgress] = [:]
    ) {
        self.shard = shard
        self.state = state
        self.reason = reason
        self.epoch = epoch
        self.appliedSequence = appliedSequence
        self.pointCount = pointCount
        self.memoryBytes = memoryBytes
        self.diskBytes = diskBytes
        self.dataBytes = dataBytes
        self.workNanoseconds = workNanoseconds
        self.recall = recall
        self.codecs = codecs
    }
}

/// How well the graph answers the queries it is really asked: some of them are asked again exactly.
public struct SampledRecall: Sendable, Equatable {
    /// Queries compared.
    public var samples: UInt64
    /// Share of the true nearest points found, 0 … 1.
    public var recall: Double
    /// Mean local intrinsic dimension around the queries; 0 where the metric has none.
    public var localIntrinsicDimension: Double

    public init(samples: UInt64 = 0, recall: Double = 0, localIntrinsicDimension: Double = 0) {
        self.samples = samples
        self.recall = recall
        self.localIntrinsicDimension = localIntrinsicDimension
    }
}

public struct NodeStatus: Sendable {
    public var replicas: [ReplicaStatus]
    public init(replicas: [ReplicaStatus]) { self.replicas = replicas }
}
