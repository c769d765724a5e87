public import NeedletailCore

/// A dense linear map: `outputDimensions` rows of `inputDimensions` float32 values.
///
/// Kept transposed, so that one input meets all outputs in a row of memory and each output is summed in one fixed order.
public struct ProjectionMatrix: Sendable, Hashable {
    public let inputDimensions: Int
    public let outputDimensions: Int
    private let columns: AlignedFloats

    /// `rows`: `outputDimensions × inputDimensions`, row-major.
    /// - Throws: `invalidArgument` for a count that does not fit, dimensions outside 1 … 16,384 or a value that is not finite.
    public init(rows: [Float], inputDimensions: Int, outputDimensions: Int) throws(NeedletailError) {
        let allowed = 1...Limits.dimensions
        guard allowed.contains(inputDimensions), allowed.contains(outputDimensions), rows.count == inputDimensions * outputDimensions else {
            throw NeedletailError(
                .invalidArgument,
                "a matrix of \(outputDimensions) × \(inputDimensions) does not go with \(rows.count) values; both sides are 1 to \(Limits.dimensions)")
        }
        guard rows.allSatisfy(\.isFinite) else {
            throw NeedletailError(.invalidArgument, "a projection matrix must be finite; fit it to a sample of finite vectors")
        }
        self.inputDimensions = inputDimensions
        self.outputDimensions = outputDimensions
        let stride = TransformKernels.padded(outputDimensions)
        columns = AlignedFloats(count: stride * inputDimensions) { target in
            for output in 0..<outputDimensions {
                for input in 0..<inputDimensions { target[input * stride + output] = rows[output * inputDimensions + input] }
            }
        }
    }

    /// `outputDimensions × inputDimensions`, row-major.
    public var rows: [Float] {
        let stride = TransformKernels.padded(outputDimensions)
        return columns.withPointer { columns in
            [Float](unsafeUninitializedCapacity: inputDimensions * outputDimensions) { target, count in
                for output in 0..<outputDimensions {
                    for input in 0..<inputDimensions { target[output * inputDimensions + input] = columns[input * stride + output] }
                }
                count = inputDimensions * outputDimensions
            }
        }
    }

    /// `input`: `inputDimensions` values; `output`: `outputDimensions`, elsewhere.
    func apply(_ input: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>, kernels: TransformKernels) {
        columns.withPointer {
            kernels.project(input, inputs: inputDimensions, columns: $0, outputs: outputDimensions, out: output)
        }
    }
}
