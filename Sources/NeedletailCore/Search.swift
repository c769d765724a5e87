/// One nearest-neighbour query on one field.
public struct SearchQuery: Sendable, Equatable {
    /// Index in `CollectionSpec.fields`.
    public var field: Int
    public var vector: DenseVector
    /// How many points are wanted, 1 … 10,000.
    public var limit: Int
    /// Breadth of the walk; nil lets the shard choose. Raised to `limit` when smaller.
    public var ef: Int?
    /// Share of the true nearest to find, above 0 and below 1: the shard chooses the breadth that does. Instead of `ef`.
    public var recallTarget: Double?
    /// Compare with every point instead of walking the graph.
    public var exact: Bool
    /// What the found points carry.
    public var parts: PointParts

    public init(
        field: Int, vector: DenseVector, limit: Int, ef: Int? = nil, recallTarget: Double? = nil, exact: Bool = false,
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

    /// The breadth used when the request names none: twice the limit and at least 128, which reached recall@10 0.97 on the
    /// catalogue's hardest set (F2).
    public static func defaultEf(limit: Int) -> Int { min(max(128, 2 * limit), Limits.ef) }
}

/// Queries for some shards of one node, answered as if the shards were one.
public struct NodeSearchRequest: Sendable {
    public var shards: [ShardID]
    public var queries: [SearchQuery]
    /// One a shard; empty: none has any.
    public var conditions: [ReadCondition]
    /// Only points that it admits.
    public var filter: PayloadFilter?
    public var deadline: Deadline?
    /// Of the span that it is a part of, where it is traced and travels with others: values of W3C Trace Context's headers.
    public var trace: (parent: String, state: String)?

    public init(
        shards: [ShardID], queries: [SearchQuery], conditions: [ReadCondition] = [], filter: PayloadFilter? = nil, deadline: Deadline? = nil
    ) {
        self.filter = filter
        self.shards = shards
        self.queries = queries
        self.conditions = conditions
        self.deadline = deadline
    }
}

/// How one shard's part of an answer came about.
public struct ShardReport: Sendable {
    public enum Outcome: Sendable {
        case complete
        /// The deadline came near: the best points found until then.
        case truncated
        /// No answer from this shard; its points are missing.
        case failed(NeedletailError)
    }

    public var shard: ShardID
    public var outcome: Outcome
    /// Every write up to this sequence number was visible to the search.
    public var appliedSequence: UInt64
    /// How long the request waited for a thread of the shard's node.
    public var waited = Duration.zero
    /// How long that thread worked on it.
    public var searched = Duration.zero
    public var work = SearchWork()
    /// Who was asked, as far as the coordinator knows.
    public var node: NodeID?

    public init(shard: ShardID, outcome: Outcome, appliedSequence: UInt64) {
        self.shard = shard
        self.outcome = outcome
        self.appliedSequence = appliedSequence
    }
}

/// What answering cost, summed over shards and queries.
public struct SearchWork: Sendable, Equatable {
    public var distances: UInt64
    public var hops: UInt64

    public init(distances: UInt64 = 0, hops: UInt64 = 0) {
        self.distances = distances
        self.hops = hops
    }

    public static func += (left: inout SearchWork, right: SearchWork) {
        left.distances += right.distances
        left.hops += right.hops
    }
}

/// What becomes of a query's recall target, by the calibrations of the shards that answered.
public struct RecallEstimate: Sendable, Equatable {
    /// Share of the true nearest that is expected to be in the answer: the mean of the shards that are calibrated.
    public var recall: Double
    /// False when a shard has no effort that reaches the target: it spent the greatest it tries.
    public var isReachable: Bool
    /// False when a shard has not been calibrated for such queries yet: it searched as without a target.
    public var isCalibrated: Bool
    /// Real queries that a shard's calibration rests on, of the shard with fewest; 0 when points stood in for them.
    public var sampleQueries: Int
    /// How many calibrated shards `recall` is the mean of.
    public var shards: Int

    public init(recall: Double, isReachable: Bool = true, isCalibrated: Bool = true, sampleQueries: Int = 0, shards: Int? = nil) {
        self.recall = recall
        self.isReachable = isReachable
        self.isCalibrated = isCalibrated
        self.sampleQueries = sampleQueries
        self.shards = shards ?? (isCalibrated ? 1 : 0)
    }

    /// Of several shards, or groups of them, taken together; nil of none.
    public static func merge(_ estimates: [RecallEstimate]) -> RecallEstimate? {
        guard var merged = estimates.first else { return nil }
        for estimate in estimates.dropFirst() {
            let shards = merged.shards + estimate.shards
            let sum = merged.recall * Double(merged.shards) + estimate.recall * Double(estimate.shards)
            merged = RecallEstimate(
                recall: shards > 0 ? sum / Double(shards) : 0, isReachable: merged.isReachable && estimate.isReachable,
                isCalibrated: merged.isCalibrated && estimate.isCalibrated,
                sampleQueries: min(merged.sampleQueries, estimate.sampleQueries), shards: shards)
        }
        return merged
    }
}

/// The merged answer of a node's shards: for each query at most `limit` points, best first.
public struct NodeSearchResponse: Sendable {
    public var results: [[ScoredPoint]]
    public var reports: [ShardReport]
    public var work: SearchWork
    /// One a query: what becomes of its recall target; nil without one. Empty when nothing was found out.
    public var estimates: [RecallEstimate?]

    public init(results: [[ScoredPoint]], reports: [ShardReport], work: SearchWork = SearchWork(), estimates: [RecallEstimate?] = []) {
        self.results = results
        self.reports = reports
        self.work = work
        self.estimates = estimates
    }
}
