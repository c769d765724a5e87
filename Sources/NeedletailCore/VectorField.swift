/// How nearness is measured. A *distance* is smaller when closer, a *score* larger when better; `score == -distance` but for cosine.
public enum Metric: UInt8, Sendable, CaseIterable {
    /// Squared euclidean distance; score its negative.
    case l2 = 1
    /// Distance 1 − cos, score cos. The norms are divided out when scoring; stored vectors stay as they came.
    case cosine = 2
    /// Score the inner product of the vectors as they are; distance its negative.
    case dot = 3
    /// The number of differing bits; score its negative. For `bit` elements only.
    case hamming = 4

    /// The score that goes with a distance of this metric.
    @inlinable public func score(ofDistance distance: Float) -> Float {
        self == .cosine ? 1 - distance : 0 - distance
    }

    /// The distance that goes with a score of this metric.
    @inlinable public func distance(ofScore score: Float) -> Float {
        self == .cosine ? 1 - score : 0 - score
    }
}

/// What a stored vector is made of.
public enum VectorElement: UInt8, Sendable, CaseIterable {
    case f32 = 1
    case f16 = 2
    case u8 = 3
    /// One bit a dimension, eight to a byte, low bit first.
    case bit = 4

    /// Size in bytes of a vector of `dimensions` dimensions.
    @inlinable public func sizeBytes(dimensions: Int) -> Int {
        switch self {
        case .f32: dimensions * 4
        case .f16: dimensions * 2
        case .u8: dimensions
        case .bit: (dimensions + 7) / 8
        }
    }
}

/// One dense vector: little-endian elements, `element.sizeBytes(dimensions:)` bytes.
public struct DenseVector: Sendable, Equatable {
    public var element: VectorElement
    public var bytes: [UInt8]

    public init(element: VectorElement, bytes: [UInt8]) {
        self.element = element
        self.bytes = bytes
    }

    /// A float32 vector of `values.count` dimensions.
    public init(_ values: [Float]) {
        element = .f32
        // Little-endian machines only (x86-64 and arm64): the bytes in memory are the bytes of the format.
        bytes = unsafe values.withUnsafeBytes { unsafe [UInt8]($0) }
    }
}

/// The parameters of one HNSW graph (Malkov & Yashunin, 2018).
public struct GraphParameters: Sendable, Hashable {
    /// Links a node keeps on each upper level; the base level keeps twice as many. 4 … 128.
    public var m: Int
    /// Breadth of the search for neighbours at insertion. `m` … 4096.
    public var efConstruction: Int
    /// Seeds the levels: the same seed, operations and order give the same graph when one thread builds it.
    public var seed: UInt64

    public init(m: Int = 16, efConstruction: Int = 120, seed: UInt64 = 0x6e65_6564_6c65) {
        self.m = m
        self.efConstruction = efConstruction
        self.seed = seed
    }
}

/// A named vector field of a collection.
public struct VectorField: Sendable, Hashable {
    public var name: String
    /// 1 … 16,384.
    public var dimensions: Int
    public var metric: Metric
    public var element: VectorElement
    public var index: IndexSpec
    public var graph: GraphParameters { index.graph }

    public init(
        name: String, dimensions: Int, metric: Metric, element: VectorElement = .f32, graph: GraphParameters = GraphParameters()
    ) {
        self.init(name: name, dimensions: dimensions, metric: metric, element: element, index: IndexSpec(graph: graph))
    }

    public init(name: String, dimensions: Int, metric: Metric, element: VectorElement = .f32, index: IndexSpec) {
        self.name = name
        self.dimensions = dimensions
        self.metric = metric
        self.element = element
        self.index = index
    }

    /// - Throws: `invalidArgument` naming the value that is out of range.
    public func validate() throws(NeedletailError) {
        guard !name.isEmpty, name.utf8.count <= Limits.nameBytes else {
            throw NeedletailError(.invalidArgument, "a vector field's name has 1 to \(Limits.nameBytes) bytes; got \"\(name)\"")
        }
        guard (1...Limits.dimensions).contains(dimensions) else {
            throw NeedletailError(.invalidArgument, "field \"\(name)\": dimensions must be 1 to \(Limits.dimensions), not \(dimensions)")
        }
        guard (metric == .hamming) == (element == .bit) else {
            throw NeedletailError(
                .invalidArgument,
                "field \"\(name)\": metric hamming goes with element bit and only with it; got metric \(metric), element \(element)")
        }
        try index.validate(field: name, dimensions: dimensions, metric: metric, element: element)
    }
}
