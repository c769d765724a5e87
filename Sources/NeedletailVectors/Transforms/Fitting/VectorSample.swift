public import NeedletailCore

/// Vectors that a transform is fitted to: `count × dimensions` finite float32 values, row-major.
public struct VectorSample: Sendable {
    public let values: [Float]
    public let dimensions: Int

    /// - Throws: `invalidArgument` for no vectors, a count that is no whole number of vectors, dimensions outside 1 … 16,384 or a value
    ///   that is not finite.
    public init(_ values: [Float], dimensions: Int) throws(NeedletailError) {
        guard (1...Limits.dimensions).contains(dimensions), !values.isEmpty, values.count.isMultiple(of: dimensions) else {
            throw NeedletailError(
                .invalidArgument,
                "a sample of \(values.count) values is no whole number of vectors of \(dimensions) dimensions (1 to \(Limits.dimensions))")
        }
        guard values.allSatisfy(\.isFinite) else {
            throw NeedletailError(.invalidArgument, "a sample has a NaN or an infinity; leave that vector out")
        }
        self.values = values
        self.dimensions = dimensions
    }

    public var count: Int { values.count / dimensions }
}
