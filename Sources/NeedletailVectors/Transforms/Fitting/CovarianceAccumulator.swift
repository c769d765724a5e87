public import NeedletailCore

/// Mean and covariance of vectors that arrive a few at a time; the same bits however they are cut into samples and on every machine.
///
/// Sums are float64 over vectors less the first one, so that a mean far from zero costs no digits. Products are summed by panels of 64
/// vectors in the kernel. Memory is 8 · dimensions² bytes; 20,000 × 768 takes well under a second.
public struct CovarianceAccumulator: Sendable {
    /// Dimensions after the preparation.
    public let dimensions: Int
    /// Vectors added.
    public private(set) var count = 0
    private let inputDimensions: Int
    private let preparation: VectorPreparation
    private let stride: Int
    private let kernels: TransformKernels
    private var origin: [Double] = []
    /// Σ (x − origin), `dimensions` values.
    private var sums: [Double]
    /// Σ (x − origin)(x − origin)ᵀ over full panels: `stride × stride`, right of the diagonal's block.
    private var products: [Double]
    /// Vectors less the origin that wait for their panel to fill, `stride` values each, zeros behind `dimensions`.
    private var panel: [Double]
    private var waiting = 0

    /// Beyond this the matrix takes more than 128 MiB and its eigenvectors minutes.
    public static let largestDimensions = TransformSpec.fittedDimensions

    /// - Throws: `invalidArgument` for dimensions beyond `largestDimensions` or a prefix that does not fit.
    public init(dimensions: Int, preparation: VectorPreparation = VectorPreparation()) throws(NeedletailError) {
        try self.init(dimensions: dimensions, preparation: preparation, kernels: .best)
    }

    init(dimensions: Int, preparation: VectorPreparation, kernels: TransformKernels) throws(NeedletailError) {
        let prepared = preparation.prefix ?? dimensions
        guard dimensions > 0, (1...dimensions).contains(prepared) else {
            throw NeedletailError(.invalidArgument, "a prefix of \(prepared) dimensions does not fit vectors of \(dimensions)")
        }
        guard prepared <= Self.largestDimensions else {
            throw NeedletailError(
                .invalidArgument,
                "covariances are kept for at most \(Self.largestDimensions) dimensions, not \(prepared); take a prefix or a seeded rotation")
        }
        self.dimensions = prepared
        self.preparation = preparation
        self.kernels = kernels
        inputDimensions = dimensions
        stride = TransformKernels.padded(prepared)
        sums = [Double](repeating: 0, count: prepared)
        products = [Double](repeating: 0, count: stride * stride)
        panel = [Double](repeating: 0, count: TransformKernels.panelRows * stride)
    }

    /// - Throws: `invalidArgument` when the sample has other dimensions.
    public mutating func add(_ sample: VectorSample) throws(NeedletailError) {
        guard sample.dimensions == inputDimensions else {
            throw NeedletailError(.invalidArgument, "a sample of \(sample.dimensions) dimensions among vectors of \(inputDimensions)")
        }
        var prepared = [Float](repeating: 0, count: dimensions)
        for row in 0..<sample.count {
            sample.values.withUnsafeBufferPointer { values in
                prepared.withUnsafeMutableBufferPointer { prepared in
                    guard let source = values.baseAddress, let target = prepared.baseAddress else { return }
                    _ = preparation.apply(source + row * inputDimensions, count: dimensions, mean: nil, to: target, kernels: kernels)
                }
            }
            add(prepared)
        }
    }

    private mutating func add(_ vector: [Float]) {
        if count == 0 { origin = vector.map(Double.init) }
        let start = waiting * stride
        for index in 0..<dimensions {
            let value = Double(vector[index]) - origin[index]
            sums[index] += value
            panel[start + index] = value
        }
        count += 1
        waiting += 1
        if waiting == TransformKernels.panelRows {
            Self.flush(panel, rows: waiting, stride: stride, into: &products, kernels: kernels)
            waiting = 0
        }
    }

    private static func flush(_ panel: [Double], rows: Int, stride: Int, into products: inout [Double], kernels: TransformKernels) {
        panel.withUnsafeBufferPointer { panel in
            products.withUnsafeMutableBufferPointer { products in
                guard let source = panel.baseAddress, let target = products.baseAddress else { return }
                kernels.moments(source, count: rows, stride: stride, sum: target)
            }
        }
    }

    /// The mean and covariance of what was added.
    /// - Throws: `failedPrecondition` when nothing was.
    public func finish() throws(NeedletailError) -> SampleMoments {
        guard count > 0 else { throw NeedletailError(.failedPrecondition, "no vectors were added; give at least one") }
        var total = products
        Self.flush(panel, rows: waiting, stride: stride, into: &total, kernels: kernels)
        let divisor = Double(count)
        var covariance = SymmetricMatrix(size: dimensions)
        for row in 0..<dimensions {
            for column in row..<dimensions {
                let value = (total[row * stride + column] - sums[row] * sums[column] / divisor) / divisor
                covariance.values[row * dimensions + column] = value
                covariance.values[column * dimensions + row] = value
            }
        }
        return SampleMoments(count: count, mean: (0..<dimensions).map { origin[$0] + sums[$0] / divisor }, covariance: covariance)
    }
}

/// What a sample amounts to.
public struct SampleMoments: Sendable {
    public let count: Int
    public let mean: [Double]
    /// Divided by `count`.
    public let covariance: SymmetricMatrix

    /// The mean of (x − point)(x − point)ᵀ.
    func secondMoment(about point: [Double]) -> SymmetricMatrix {
        var moment = covariance
        moment.addSquare(of: mean.indices.map { mean[$0] - point[$0] })
        return moment
    }
}
