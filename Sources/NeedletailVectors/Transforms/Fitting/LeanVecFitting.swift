public import NeedletailCore

extension TransformFitting {
    /// LeanVec for queries that are distributed otherwise than the base: one orthonormal projection for both sides.
    ///
    /// The eigenvector search of Tepper et al., "LeanVec", 2023: among the top eigenvectors of
    /// (1 − β)·Kx/tr Kx + β·Kq/tr Kq, the β in 0 … 1 with the least loss ‖Q Xᵀ − Q PᵀP Xᵀ‖_F. Both moments are about the base's mean,
    /// since that is what the transform subtracts from queries too. β = 0 is PCA, so the loss is never above PCA's. Takes one
    /// eigendecomposition for each β tried: 13.
    public static func leanVecQueryAware(
        base: VectorSample, queries: VectorSample, outputDimensions: Int, preparation: VectorPreparation = VectorPreparation()
    ) throws(NeedletailError) -> VectorTransform {
        guard base.dimensions == queries.dimensions else {
            throw NeedletailError(
                .invalidArgument, "base vectors have \(base.dimensions) dimensions and queries \(queries.dimensions); both go through one transform")
        }
        var (stored, asked) = (
            try CovarianceAccumulator(dimensions: base.dimensions, preparation: preparation),
            try CovarianceAccumulator(dimensions: base.dimensions, preparation: preparation)
        )
        try checkOutputs(outputDimensions, of: stored.dimensions)
        try checkSize(base, outputs: outputDimensions)
        try stored.add(base)
        try asked.add(queries)
        let moments = try stored.finish()
        let search = try BlendSearch(
            base: moments.covariance, queries: try asked.finish().secondMoment(about: moments.mean), outputs: outputDimensions)
        let axes = PrincipalAxes(
            mean: moments.mean, eigen: try search.best().eigen, sampleDimensions: base.dimensions, outputDimensions: outputDimensions,
            preparation: preparation)
        return try axes.transform(axes.rows)
    }
}

/// The search for β.
struct BlendSearch {
    struct Candidate {
        let beta: Double
        let eigen: SymmetricEigen
        let loss: Double
    }

    private let base: SymmetricMatrix
    private let queries: SymmetricMatrix
    private let outputs: Int
    private let product: Double

    /// - Throws: `invalidArgument` when one side does not vary at all.
    init(base: SymmetricMatrix, queries: SymmetricMatrix, outputs: Int) throws(NeedletailError) {
        guard base.trace > 0, queries.trace > 0 else {
            throw NeedletailError(.invalidArgument, "all base vectors are equal, or all queries equal their mean; give samples that vary")
        }
        let none = SymmetricMatrix(size: base.size)
        self.base = base.blended(1 / base.trace, with: none, 0)
        self.queries = queries.blended(1 / queries.trace, with: none, 0)
        self.outputs = outputs
        var sum = 0.0
        for index in self.base.values.indices { sum += self.base.values[index] * self.queries.values[index] }
        product = sum
    }

    /// Quarters first, then four times halfway towards either neighbour of the best. The loss is smooth in β and has one valley in
    /// practice; the step that is left, 1/64, moves it by less than the sample does.
    func best() throws(NeedletailError) -> Candidate {
        var best = try candidate(0)
        for beta in [0.25, 0.5, 0.75, 1] { best = Self.better(best, try candidate(beta)) }
        for step in [0.125, 0.0625, 0.03125, 0.015625] {
            let middle = best.beta
            for beta in [middle - step, middle + step] where beta >= 0 && beta <= 1 { best = Self.better(best, try candidate(beta)) }
        }
        return best
    }

    private static func better(_ left: Candidate, _ right: Candidate) -> Candidate { right.loss < left.loss ? right : left }

    func candidate(_ beta: Double) throws(NeedletailError) -> Candidate {
        let eigen = try SymmetricEigen(base.blended(1 - beta, with: queries, beta))
        return Candidate(beta: beta, eigen: eigen, loss: loss(eigen.vectors))
    }

    /// tr(R Kq R Kx) with R = I − PᵀP, which is tr(Kq Kx) − 2·tr(P Kq Kx Pᵀ) + tr(P Kq Pᵀ · P Kx Pᵀ); `vectors` begins with P's rows.
    private func loss(_ vectors: [Double]) -> Double {
        let size = base.size
        let (left, right) = (Self.multiply(vectors, rows: outputs, queries.values, size), Self.multiply(vectors, rows: outputs, base.values, size))
        var crossed = 0.0
        for index in 0..<outputs * size { crossed += left[index] * right[index] }
        var columns = [Double](repeating: 0, count: size * outputs)
        for row in 0..<outputs { for column in 0..<size { columns[column * outputs + row] = vectors[row * size + column] } }
        let (small, other) = (Self.multiply(left, rows: outputs, columns, outputs), Self.multiply(right, rows: outputs, columns, outputs))
        var inner = 0.0
        for index in small.indices { inner += small[index] * other[index] }
        return product - 2 * crossed + inner
    }

    /// The first `rows` rows of `a` times `b`, whose rows have `columns` values.
    private static func multiply(_ a: [Double], rows: Int, _ b: [Double], _ columns: Int) -> [Double] {
        let length = b.count / columns
        let kernels = TransformKernels.best
        return [Double](unsafeUninitializedCapacity: rows * columns) { out, count in
            a.withUnsafeBufferPointer { a in
                b.withUnsafeBufferPointer { b in
                    guard let a = a.baseAddress, let b = b.baseAddress, let out = out.baseAddress else { return }
                    for row in 0..<rows {
                        kernels.combine(a + row * length, rows: length, matrix: b, stride: columns, columns: columns, out: out + row * columns)
                    }
                }
            }
            count = rows * columns
        }
    }
}
