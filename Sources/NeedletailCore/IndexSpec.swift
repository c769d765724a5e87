/// How the vectors of a field are indexed: transform → graph → codec → rescore.
///
/// The graph walks on codes of transformed vectors and the nearest of what it finds are measured again in full precision. With the
/// codec `asGiven` and no transform the graph walks on the vectors themselves.
///
/// As text the stages are separated by commas (spaces, and `->` or `→` in their place, are allowed), in this order, each optional:
///
///     prefix64                      Matryoshka: the first 64 dimensions only
///     centre                        subtract the mean (lvq, rabitq, pq and rq always do)
///     rotate | rotate(seed=7)       a random rotation (rabitq always has one)
///     pca160, leanvec160, leanvec160(queries), whiten160, fft160     fewer dimensions
///     hnsw | hnsw(m=16,ef_construction=200,seed=1)
///     none | f32 | f16 | lvq8 | lvq4 | lvq4x8 | rabitq1 | rabitq2 | rabitq4 | pq32 | pq32x4 | rq8
///     rescore50 | rescore(50,file) | rescore(file)
public struct IndexSpec: Sendable, Hashable {
    public var transform: TransformSpec
    public var graph: GraphParameters
    public var codec: CodecSpec
    public var rescore: RescoreSpec

    public init(
        transform: TransformSpec = TransformSpec(), graph: GraphParameters = GraphParameters(), codec: CodecSpec = .asGiven,
        rescore: RescoreSpec = RescoreSpec()
    ) {
        self.transform = transform
        self.graph = graph
        self.codec = codec
        self.rescore = rescore
    }

    /// The vectors that a sample must have at least for the transform and the codec to be learned.
    public var leastSample: Int { max((transform.map.outputDimensions ?? 0) + 2, codec.centroids) }

    /// Whether the graph walks on something other than the stored vectors, whose parameters are learned from a sample.
    public var needsTraining: Bool { codec != .asGiven }
}

/// What is done to a vector before it is encoded.
public struct TransformSpec: Sendable, Hashable {
    /// Keep the first so many dimensions, 1 … the field's.
    public var prefix: Int?
    /// Subtract the mean of the sample.
    public var centre: Bool
    public var map: Map

    public enum Map: Sendable, Hashable {
        case none
        /// A seeded random rotation, which spreads a vector's energy evenly over its dimensions.
        case rotation(seed: UInt64)
        /// The directions of largest variance.
        case pca(Int)
        /// LeanVec: those that lose least of the inner products, among vectors alone or between a sample of queries and them.
        case leanVec(Int, queryAware: Bool)
        /// PCA with every direction scaled to unit variance.
        case whitening(Int)
        /// The lowest frequencies, for comparison.
        case fourier(Int)

        /// Whether its directions are learned from the covariances of a sample.
        var isFitted: Bool {
            switch self {
            case .pca, .leanVec, .whitening: true
            case .none, .rotation, .fourier: false
            }
        }

        /// Dimensions that come out, when the stage names them.
        public var outputDimensions: Int? {
            switch self {
            case .none, .rotation: nil
            case .pca(let count), .leanVec(let count, _), .whitening(let count), .fourier(let count): count
            }
        }
    }

    public init(prefix: Int? = nil, centre: Bool = false, map: Map = .none) {
        self.prefix = prefix
        self.centre = centre
        self.map = map
    }

    public static let defaultSeed: UInt64 = 1
    /// Dimensions of vectors (after the prefix) that directions are fitted to at most: their covariances are kept in float64.
    public static let fittedDimensions = 4096
}

/// How the nearest by estimate are measured again.
public struct RescoreSpec: Sendable, Hashable {
    /// How many; nil lets the codec choose from the number of answers that are wanted. At least that number in any case.
    public var count: Int?
    /// Where full precision is read from.
    public var source: Source

    public enum Source: UInt8, Sendable, Hashable {
        case memory = 0
        /// A memory-mapped file: the vectors take no memory that the system cannot take back.
        case file = 1
    }

    public init(count: Int? = nil, source: Source = .memory) {
        self.count = count
        self.source = source
    }
}

extension IndexSpec {
    /// - Throws: `invalidArgument` that names the stage or the combination that is not legal and what would be.
    public func validate(field name: String, dimensions: Int, metric: Metric, element: VectorElement) throws(NeedletailError) {
        func refuse(_ text: String) -> NeedletailError { NeedletailError(.invalidArgument, "field \"\(name)\": \(text)") }
        guard (4...128).contains(graph.m) else { throw refuse("m must be 4 to 128, not \(graph.m)") }
        guard (graph.m...4096).contains(graph.efConstruction) else {
            throw refuse("ef_construction must be m (\(graph.m)) to 4096, not \(graph.efConstruction)")
        }
        if let prefix = transform.prefix, !(1...dimensions).contains(prefix) {
            throw refuse("prefix\(prefix) does not fit \(dimensions) dimensions; use 1 to \(dimensions)")
        }
        let prepared = transform.prefix ?? dimensions
        if let outputs = transform.map.outputDimensions, !(1...prepared).contains(outputs) {
            throw refuse("a transform to \(outputs) dimensions does not fit \(prepared); use 1 to \(prepared)")
        }
        guard !transform.map.isFitted || prepared <= TransformSpec.fittedDimensions else {
            throw refuse("directions are fitted to at most \(TransformSpec.fittedDimensions) dimensions, not \(prepared); put a prefix before, or rotate")
        }
        if case .whitening = transform.map, metric == .dot {
            throw refuse("whitening changes inner products into others; use pca with metric dot")
        }
        if codec == .asGiven {
            guard transform == TransformSpec() else {
                throw refuse("a transform needs a codec to write its result in: add f32, f16, lvq8 or another")
            }
            guard rescore == RescoreSpec() else {
                throw refuse("without a codec distances are exact already: leave rescore out, or add a codec")
            }
        }
        guard metric != .hamming || codec == .asGiven else {
            throw refuse("codec \(codec.name) is for float vectors; fields of bits are their own code: use none")
        }
        if let problem = codec.problem(dimensions: transform.map.outputDimensions ?? prepared) { throw refuse(problem) }
        if let count = rescore.count, !(1...Limits.ef).contains(count) {
            throw refuse("rescore takes 1 to \(Limits.ef) candidates, not \(count)")
        }
    }
}
