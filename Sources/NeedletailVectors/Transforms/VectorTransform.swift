public import NeedletailCore

/// What maps a raw vector to the one that a codec encodes: prefix, then norm, then mean, then a linear map; each may be absent.
///
///     y = map · (prefix(x) / ‖prefix(x)‖ − mean)
///
/// It belongs to a collection, is trained once (`TransformFitting`) and kept as bytes. The same input gives the same bits on every
/// machine, so that replicas agree and a moved shard is not encoded again: nothing in it depends on the level of the kernels.
public struct VectorTransform: Sendable, Hashable {
    public let inputDimensions: Int
    public let preparation: VectorPreparation
    /// Subtracted after the preparation: `preparedDimensions` values, or nil for none.
    public let mean: [Float]?
    public let map: LinearMap

    /// - Throws: `invalidArgument` when dimensions are out of 1 … 16,384 or do not fit one another, or when a value is not finite.
    public init(
        inputDimensions: Int, preparation: VectorPreparation = VectorPreparation(), mean: [Float]? = nil, map: LinearMap = .identity
    ) throws(NeedletailError) {
        guard (1...Limits.dimensions).contains(inputDimensions) else {
            throw NeedletailError(.invalidArgument, "a transform takes 1 to \(Limits.dimensions) dimensions, not \(inputDimensions)")
        }
        let prepared = preparation.prefix ?? inputDimensions
        guard (1...inputDimensions).contains(prepared) else {
            throw NeedletailError(
                .invalidArgument, "a prefix of \(prepared) dimensions does not fit vectors of \(inputDimensions); use 1 to \(inputDimensions)")
        }
        if let mean {
            guard mean.count == prepared, mean.allSatisfy(\.isFinite) else {
                throw NeedletailError(.invalidArgument, "the mean must be \(prepared) finite values, one a dimension; it has \(mean.count)")
            }
        }
        guard map.inputDimensions.map({ $0 == prepared }) ?? true else {
            throw NeedletailError(
                .invalidArgument,
                "the linear map takes \(map.inputDimensions ?? 0) dimensions but gets \(prepared); fit it for this prefix")
        }
        self.inputDimensions = inputDimensions
        self.preparation = preparation
        self.mean = mean
        self.map = map
    }

    /// The dimensions between the prefix and the map.
    public var preparedDimensions: Int { preparation.prefix ?? inputDimensions }

    public var outputDimensions: Int { map.outputDimensions ?? preparedDimensions }

    /// Whether distances between prepared vectors are those between outputs, but for rounding.
    public var keepsDistances: Bool {
        if case .matrix = map { false } else { true }
    }
}

extension VectorTransform {
    /// The same with a random rotation at its end. A rotation is kept as it is; a matrix is multiplied by the rotation, so that applying
    /// it costs nothing more.
    func rotated(seed: UInt64) throws(NeedletailError) -> VectorTransform {
        let turned: LinearMap
        switch map {
        case .rotation: return self
        case .identity: turned = .rotation(try SeededRotation(seed: seed, dimensions: preparedDimensions))
        case .matrix(let matrix): turned = .matrix(try matrix.followed(by: SeededRotation(seed: seed, dimensions: matrix.outputDimensions)))
        }
        return try VectorTransform(inputDimensions: inputDimensions, preparation: preparation, mean: mean, map: turned)
    }
}

extension ProjectionMatrix {
    /// The matrix that does what this one and then the rotation does.
    fileprivate func followed(by rotation: SeededRotation) throws(NeedletailError) -> ProjectionMatrix {
        var turned = rows
        var column = [Float](repeating: 0, count: outputDimensions)
        for input in 0..<inputDimensions {
            for output in 0..<outputDimensions { column[output] = turned[output * inputDimensions + input] }
            column.withUnsafeMutableBufferPointer { rotation.apply($0.baseAddress.unsafelyUnwrapped, kernels: .best) }
            for output in 0..<outputDimensions { turned[output * inputDimensions + input] = column[output] }
        }
        return try ProjectionMatrix(rows: turned, inputDimensions: inputDimensions, outputDimensions: outputDimensions)
    }
}

/// What happens to a vector before it is centred and mapped; a sample is prepared the same way when a transform is fitted to it.
public struct VectorPreparation: Sendable, Hashable {
    /// Keep the first so many dimensions only (Matryoshka embeddings); nil keeps all.
    public var prefix: Int?
    /// Divide by the euclidean norm, after the prefix; the zero vector stays zero. For the cosine metric.
    public var normalise: Bool

    public init(prefix: Int? = nil, normalise: Bool = false) {
        self.prefix = prefix
        self.normalise = normalise
    }
}

/// The linear end of a transform.
public enum LinearMap: Sendable, Hashable {
    case identity
    case rotation(SeededRotation)
    case matrix(ProjectionMatrix)

    /// nil when any will do.
    public var inputDimensions: Int? {
        switch self {
        case .identity: nil
        case .rotation(let rotation): rotation.dimensions
        case .matrix(let matrix): matrix.inputDimensions
        }
    }

    /// nil when there are as many as inputs.
    public var outputDimensions: Int? {
        if case .matrix(let matrix) = self { matrix.outputDimensions } else { nil }
    }
}

/// What a codec keeps beside a vector: of c, the prepared and centred vector before the linear map.
public struct CentredConstants: Sendable, Hashable {
    /// ‖c‖², summed in float64.
    public var squaredNorm: Double
    /// ⟨c, mean⟩, summed in float64; 0 without a mean.
    public var meanProduct: Double

    public init(squaredNorm: Double, meanProduct: Double) {
        self.squaredNorm = squaredNorm
        self.meanProduct = meanProduct
    }
}
