public import NeedletailCore

/// Makes transforms, from samples or from nothing but numbers.
///
/// Fitting is float64 with every sum in one order, so that the same sample gives the same bytes on every machine. A sample should be some
/// ten times its dimensions; beyond 20,000 vectors more change little. The sample is prepared as vectors will be (`preparation`).
/// All functions throw `invalidArgument` when dimensions or the sample do not allow what is asked.
public enum TransformFitting {
    /// Subtracts the sample's mean and nothing else.
    public static func centring(
        _ sample: VectorSample, preparation: VectorPreparation = VectorPreparation()
    ) throws(NeedletailError) -> VectorTransform {
        try VectorTransform(inputDimensions: sample.dimensions, preparation: preparation, mean: try mean(sample, preparation))
    }

    /// Keeps the first `dimensions` values, as Matryoshka embeddings are meant to be cut (Kusupati et al., "Matryoshka representation
    /// learning", 2022).
    public static func prefix(_ dimensions: Int, inputDimensions: Int, normalise: Bool = false) throws(NeedletailError) -> VectorTransform {
        try VectorTransform(inputDimensions: inputDimensions, preparation: VectorPreparation(prefix: dimensions, normalise: normalise))
    }

    /// Rotates at random; centres first if there is a sample.
    public static func rotation(
        seed: UInt64, inputDimensions: Int, sample: VectorSample? = nil, preparation: VectorPreparation = VectorPreparation()
    ) throws(NeedletailError) -> VectorTransform {
        let rotation = try SeededRotation(seed: seed, dimensions: preparation.prefix ?? inputDimensions)
        var centre: [Float]?
        if let sample { centre = try mean(sample, preparation) }
        return try VectorTransform(inputDimensions: inputDimensions, preparation: preparation, mean: centre, map: .rotation(rotation))
    }

    /// Projects centred vectors onto the `outputDimensions` directions of largest variance, largest first.
    public static func pca(
        _ sample: VectorSample, outputDimensions: Int, preparation: VectorPreparation = VectorPreparation()
    ) throws(NeedletailError) -> VectorTransform {
        let fit = try PrincipalAxes(sample, outputDimensions: outputDimensions, preparation: preparation)
        return try fit.transform(fit.rows)
    }

    /// LeanVec for queries that are distributed as the base is.
    ///
    /// LeanVec asks for the orthonormal P that minimises ‖Q Xᵀ − Q PᵀP Xᵀ‖_F. With K the second moment of both sides this is
    /// tr(R K R K), R = I − PᵀP, and equals the sum of the squares of the eigenvalues that P leaves out: least when P spans the top
    /// eigenvectors. So the in-distribution variant is the PCA of the centred data (Tepper et al., "LeanVec", 2023).
    public static func leanVec(
        _ base: VectorSample, outputDimensions: Int, preparation: VectorPreparation = VectorPreparation()
    ) throws(NeedletailError) -> VectorTransform {
        try pca(base, outputDimensions: outputDimensions, preparation: preparation)
    }

    /// PCA with each output divided by its standard deviation. An eigenvalue below `floor` times the largest counts as that much, so that
    /// noise in a flat direction is not blown up.
    public static func whitening(
        _ sample: VectorSample, outputDimensions: Int, floor: Double = 1e-6, preparation: VectorPreparation = VectorPreparation()
    ) throws(NeedletailError) -> VectorTransform {
        guard floor > 0, floor <= 1 else {
            throw NeedletailError(.invalidArgument, "the floor of whitening is a part of the largest eigenvalue: above 0, at most 1, not \(floor)")
        }
        let fit = try PrincipalAxes(sample, outputDimensions: outputDimensions, preparation: preparation)
        guard let largest = fit.eigenvalues.first, largest > 0 else {
            throw NeedletailError(.invalidArgument, "all vectors of the sample are equal, there is no variance to whiten; give a sample that varies")
        }
        var rows = fit.rows
        for output in 0..<outputDimensions {
            let scale = 1 / max(fit.eigenvalues[output], floor * largest).squareRoot()
            for input in 0..<fit.dimensions { rows[output * fit.dimensions + input] *= scale }
        }
        return try fit.transform(rows)
    }

    /// Projects onto the waves of lowest frequency, orthonormal: FFT truncation, which fits nothing. For comparison.
    public static func fourier(
        inputDimensions: Int, outputDimensions: Int, preparation: VectorPreparation = VectorPreparation()
    ) throws(NeedletailError) -> VectorTransform {
        let prepared = preparation.prefix ?? inputDimensions
        try checkOutputs(outputDimensions, of: prepared)
        let rows = FourierBasis.rows(outputDimensions, dimensions: prepared).map { Float($0) }
        return try VectorTransform(
            inputDimensions: inputDimensions, preparation: preparation,
            map: .matrix(ProjectionMatrix(rows: rows, inputDimensions: prepared, outputDimensions: outputDimensions)))
    }

    static func checkOutputs(_ outputs: Int, of inputs: Int) throws(NeedletailError) {
        guard outputs >= 1, outputs <= inputs else {
            throw NeedletailError(.invalidArgument, "\(outputs) output dimensions from \(inputs); ask for 1 to \(inputs)")
        }
    }

    /// The directions of a sample of n vectors are fixed in at most n − 1 dimensions once the mean is taken off.
    static func checkSize(_ sample: VectorSample, outputs: Int) throws(NeedletailError) {
        guard sample.count > outputs else {
            throw NeedletailError(
                .invalidArgument,
                "\(sample.count) vectors do not fix \(outputs) directions; give at least \(outputs + 1), better \(10 * sample.dimensions)")
        }
    }

    /// The same bits as the mean of a `CovarianceAccumulator`, without its matrix.
    private static func mean(_ sample: VectorSample, _ preparation: VectorPreparation) throws(NeedletailError) -> [Float] {
        let whole = try VectorTransform(inputDimensions: sample.dimensions, preparation: preparation)
        var sums = [Double](repeating: 0, count: whole.outputDimensions)
        var origin: [Float] = []
        for row in 0..<sample.count {
            let vector = whole(Array(sample.values[row * sample.dimensions..<(row + 1) * sample.dimensions]))
            if row == 0 { origin = vector }
            for index in sums.indices { sums[index] += Double(vector[index]) - Double(origin[index]) }
        }
        return sums.indices.map { Float(Double(origin[$0]) + sums[$0] / Double(sample.count)) }
    }
}

/// The mean and the leading eigenvectors of a sample.
struct PrincipalAxes {
    let dimensions: Int
    let eigenvalues: [Double]
    /// `outputDimensions × dimensions`, by falling eigenvalue.
    let rows: [Double]
    private let mean: [Double]
    private let sampleDimensions: Int
    private let outputDimensions: Int
    private let preparation: VectorPreparation

    init(_ sample: VectorSample, outputDimensions: Int, preparation: VectorPreparation) throws(NeedletailError) {
        var accumulator = try CovarianceAccumulator(dimensions: sample.dimensions, preparation: preparation)
        try TransformFitting.checkOutputs(outputDimensions, of: accumulator.dimensions)
        try TransformFitting.checkSize(sample, outputs: outputDimensions)
        try accumulator.add(sample)
        let moments = try accumulator.finish()
        let eigen = try SymmetricEigen(moments.covariance)
        self.init(
            mean: moments.mean, eigen: eigen, sampleDimensions: sample.dimensions, outputDimensions: outputDimensions, preparation: preparation)
    }

    init(mean: [Double], eigen: SymmetricEigen, sampleDimensions: Int, outputDimensions: Int, preparation: VectorPreparation) {
        dimensions = mean.count
        eigenvalues = eigen.values
        rows = Array(eigen.vectors.prefix(outputDimensions * mean.count))
        self.mean = mean
        self.sampleDimensions = sampleDimensions
        self.outputDimensions = outputDimensions
        self.preparation = preparation
    }

    /// The transform that subtracts the mean and applies `rows`, rounded to float32.
    func transform(_ rows: [Double]) throws(NeedletailError) -> VectorTransform {
        let matrix = try ProjectionMatrix(rows: rows.map { Float($0) }, inputDimensions: dimensions, outputDimensions: outputDimensions)
        return try VectorTransform(
            inputDimensions: sampleDimensions, preparation: preparation, mean: mean.map { Float($0) }, map: .matrix(matrix))
    }
}
