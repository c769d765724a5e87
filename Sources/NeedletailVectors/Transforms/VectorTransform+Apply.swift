extension VectorTransform {
    /// Maps `input` (`inputDimensions` finite values) to `output` (`outputDimensions` values; the two must not overlap).
    ///
    /// Allocates nothing once `scratch` has met a transform of this size. O(inputs × outputs) for a matrix, else O(d log d).
    /// - Returns: What codecs keep of the centred vector before the linear map.
    @discardableResult
    public func apply(
        _ input: UnsafePointer<Float>, scratch: inout TransformScratch, to output: UnsafeMutablePointer<Float>
    ) -> CentredConstants {
        apply(input, scratch: &scratch, to: output, kernels: .best)
    }

    func apply(
        _ input: UnsafePointer<Float>, scratch: inout TransformScratch, to output: UnsafeMutablePointer<Float>, kernels: TransformKernels
    ) -> CentredConstants {
        apply(input, room: scratch.room(roomFloats), to: output, kernels: kernels)
    }

    /// Floats that `apply(_:room:to:)` needs to work in.
    var roomFloats: Int { if case .matrix = map { preparedDimensions } else { 0 } }

    /// As above, in the caller's memory: `room` has `roomFloats` floats.
    func apply(
        _ input: UnsafePointer<Float>, room: UnsafeMutablePointer<Float>, to output: UnsafeMutablePointer<Float>,
        kernels: TransformKernels = .best
    ) -> CentredConstants {
        switch map {
        case .identity:
            return prepare(input, to: output, kernels: kernels)
        case .rotation(let rotation):
            let constants = prepare(input, to: output, kernels: kernels)
            rotation.apply(output, kernels: kernels)
            return constants
        case .matrix(let matrix):
            let constants = prepare(input, to: room, kernels: kernels)
            matrix.apply(room, to: output, kernels: kernels)
            return constants
        }
    }

    /// The output of one vector, for callers that are not in a hurry.
    public func callAsFunction(_ input: [Float]) -> [Float] {
        precondition(input.count == inputDimensions, "a vector of \(input.count) dimensions for a transform of \(inputDimensions)")
        var scratch = TransformScratch()
        return [Float](unsafeUninitializedCapacity: outputDimensions) { output, count in
            apply(input, scratch: &scratch, to: output.baseAddress.unsafelyUnwrapped)
            count = outputDimensions
        }
    }

    /// Prefix, norm and mean.
    private func prepare(
        _ input: UnsafePointer<Float>, to output: UnsafeMutablePointer<Float>, kernels: TransformKernels
    ) -> CentredConstants {
        preparation.apply(input, count: preparedDimensions, mean: mean, to: output, kernels: kernels)
    }
}

extension VectorPreparation {
    /// Writes the first `count` values of `input`, divided by their norm if asked, less `mean` (`count` values).
    func apply(
        _ input: UnsafePointer<Float>, count: Int, mean: [Float]?, to output: UnsafeMutablePointer<Float>, kernels: TransformKernels
    ) -> CentredConstants {
        var factor = 1.0
        if normalise {
            // In float64 no finite float32 vector's norm overflows or vanishes, so only the zero vector has norm 0.
            let squares = kernels.squares(input, count: count)
            factor = squares > 0 ? 1 / squares.squareRoot() : 0
        }
        guard let mean else { return kernels.centre(input, count: count, factor: factor, mean: nil, out: output) }
        return mean.withUnsafeBufferPointer {
            kernels.centre(input, count: count, factor: factor, mean: $0.baseAddress, out: output)
        }
    }
}

/// Memory between the stages of a transform: made once a thread and lent to every `apply` on it. Grows to the largest met.
///
/// `@unchecked Sendable`: the memory has this one owner, which cannot be copied, only moved.
public struct TransformScratch: ~Copyable, @unchecked Sendable {
    /// `capacity` floats, owned; their content means nothing between calls.
    private var memory: UnsafeMutablePointer<Float>
    private var capacity: Int

    public init(dimensions: Int = 64) {
        capacity = max(1, dimensions)
        memory = .allocate(capacity: capacity)
    }

    deinit { memory.deallocate() }

    /// At least `count` uninitialised floats, valid until the next call.
    mutating func room(_ count: Int) -> UnsafeMutablePointer<Float> {
        if count > capacity {
            memory.deallocate()
            capacity = count
            memory = .allocate(capacity: count)
        }
        return memory
    }
}
