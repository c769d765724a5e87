/// A vector in the field with this index in `CollectionSpec.fields`.
public struct FieldVector: Sendable, Equatable {
    public var field: Int
    public var vector: DenseVector

    public init(field: Int, vector: DenseVector) {
        self.field = field
        self.vector = vector
    }
}

/// A point as it is written: any field may be missing, each at most once.
public struct Point: Sendable, Equatable {
    public var id: PointID
    public var vectors: [FieldVector]
    /// As `PayloadCoding` encodes it, which the shard stores and returns without looking inside.
    public var payload: [UInt8]

    public init(id: PointID, vectors: [FieldVector], payload: [UInt8] = []) {
        self.id = id
        self.vectors = vectors
        self.payload = payload
    }
}

/// What of a point an answer carries beside its id.
public struct PointParts: Sendable, Hashable {
    public var payload: Bool
    public var vectors: Bool

    public init(payload: Bool = false, vectors: Bool = false) {
        self.payload = payload
        self.vectors = vectors
    }
}

/// A point as it is read back. `vectors` and `payload` are empty when not asked for.
public struct StoredPoint: Sendable, Equatable {
    public var id: PointID
    public var vectors: [FieldVector]
    public var payload: [UInt8]
    /// The sequence number of the write that last replaced the point's vectors.
    public var sequence: UInt64

    public init(id: PointID, vectors: [FieldVector], payload: [UInt8], sequence: UInt64) {
        self.id = id
        self.vectors = vectors
        self.payload = payload
        self.sequence = sequence
    }
}

/// A point found by a search. Better first: larger score, then smaller id.
public struct ScoredPoint: Sendable, Equatable {
    public var id: PointID
    public var score: Float
    public var vectors: [FieldVector]
    public var payload: [UInt8]
    public var sequence: UInt64

    public init(id: PointID, score: Float, vectors: [FieldVector] = [], payload: [UInt8] = [], sequence: UInt64 = 0) {
        self.id = id
        self.score = score
        self.vectors = vectors
        self.payload = payload
        self.sequence = sequence
    }

    /// The one order of answers, the same in a shard, a node and a coordinator, so that merging is exact.
    public static func isBetter(_ left: ScoredPoint, _ right: ScoredPoint) -> Bool {
        left.score != right.score ? left.score > right.score : left.id < right.id
    }
}
