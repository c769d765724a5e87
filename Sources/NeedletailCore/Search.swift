/// One nearest-neighbour query on one field.
public struct SearchQuery: Sendable, Equatable {
    /// Index in `CollectionSpec.fields`.
    public var field: Int
    public var vector: DenseVector
    /// How many points are wanted, 1 … 10,000.
    public var limit: Int
    /// Breadth of the walk; nil lets the shard choose. Raised to `limit` when smaller.
    public var ef: Int?
    /// Compare with every point instead of walking the graph.
    public var exact: Bool
    /// What the found points carry.
    public var parts: PointParts

    public init(field: Int, vector: DenseVector, limit: Int, ef: Int? = nil, exact: Bool = false, parts: PointParts = PointParts()) {
        self.field = field
        self.vector = vector
        self.limit = limit
        self.ef = ef
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
    public var deadline: Deadline?

    public init(shards: [ShardID], queries: [SearchQuery], deadline: Deadline? = nil) {
        self.shards = shards
        self.queries = queries
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

/// The merged answer of a node's shards: for each query at most `limit` points, best first.
public struct NodeSearchResponse: Sendable {
    public var results: [[ScoredPoint]]
    public var reports: [ShardReport]
    public var work: SearchWork

    public init(results: [[ScoredPoint]], reports: [ShardReport], work: SearchWork = SearchWork()) {
        self.results = results
        self.reports = reports
        self.work = work
    }
}
