public import NeedletailCore

/// How the vectors of one field lie in memory: one row a slot, `strideBytes` apart.
///
/// A row is the vector as it was given, in the field's element, then for cosine the float32 inverse of its norm (0 for the zero
/// vector, whose cosine with anything counts as 0). Rows of 64 bytes and more begin on cache lines.
public struct VectorLayout: Sendable, Hashable {
    public let dimensions: Int
    public let metric: Metric
    public let element: VectorElement
    /// Bytes of the vector itself.
    public let vectorBytes: Int
    /// Bytes from one row to the next.
    public let strideBytes: Int
    /// Where the inverse norm lies in a row; nil unless the metric is cosine.
    public let inverseNormOffset: Int?

    public init(field: VectorField) {
        dimensions = field.dimensions
        metric = field.metric
        element = field.element
        vectorBytes = field.element.sizeBytes(dimensions: field.dimensions)
        let constants = (vectorBytes + 3) & ~3
        inverseNormOffset = field.metric == .cosine ? constants : nil
        let used = field.metric == .cosine ? constants + 4 : constants
        let alignment = used >= 64 ? 64 : 8
        strideBytes = (used + alignment - 1) & ~(alignment - 1)
    }

    /// Checks a vector and converts it to the field's element.
    ///
    /// float32 is accepted for f16 fields (rounded to nearest) and, when its values are whole numbers 0 … 255, for u8 fields;
    /// f16 and u8 are accepted for f32 fields; anything else must match the field.
    /// - Throws: `invalidArgument` for a wrong length, NaN or infinity, or an element that does not convert.
    public func convert(_ vector: DenseVector, field: String) throws(NeedletailError) -> [UInt8] {
        guard vector.bytes.count == vector.element.sizeBytes(dimensions: dimensions) else {
            throw NeedletailError(
                .invalidArgument,
                "field \"\(field)\" has \(dimensions) dimensions: \(vector.element) vectors take "
                    + "\(vector.element.sizeBytes(dimensions: dimensions)) bytes, got \(vector.bytes.count)")
        }
        if element == .bit || vector.element == .bit {
            return try convertBits(vector, field: field)
        }
        if element == .u8, vector.element == .u8 { return vector.bytes }
        let values = try Self.finite(vector, dimensions: dimensions, field: field)
        return element == vector.element ? vector.bytes : try narrow(values, field: field)
    }

    private func convertBits(_ vector: DenseVector, field: String) throws(NeedletailError) -> [UInt8] {
        guard element == vector.element else {
            throw NeedletailError(
                .invalidArgument, "field \"\(field)\" stores \(element) vectors and cannot take \(vector.element); send \(element)")
        }
        let unused = vector.bytes.count * 8 - dimensions
        if unused > 0, let last = vector.bytes.last, last >> UInt8(8 - unused) != 0 {
            throw NeedletailError(
                .invalidArgument, "field \"\(field)\" has \(dimensions) bits: the \(unused) highest bits of the last byte must be 0")
        }
        return vector.bytes
    }

    private func narrow(_ values: [Float], field: String) throws(NeedletailError) -> [UInt8] {
        switch element {
        case .f32: return DenseVector(values).bytes
        case .f16:
            var halves = [UInt16](repeating: 0, count: values.count)
            narrowToHalf(values, count: values.count, target: &halves)
            guard halves.allSatisfy({ $0 & 0x7c00 != 0x7c00 }) else {
                throw NeedletailError(.invalidArgument, "field \"\(field)\" stores f16, whose values end at 65504; scale the vector down")
            }
            return halves.flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
        case .u8:
            guard values.allSatisfy({ $0 >= 0 && $0 <= 255 && $0 == $0.rounded() }) else {
                throw NeedletailError(
                    .invalidArgument, "field \"\(field)\" stores u8: values must be whole numbers from 0 to 255; quantise before sending")
            }
            return values.map { UInt8($0) }
        case .bit: preconditionFailure("bits are handled before")
        }
    }

    /// Squared norms beyond this could overflow a float32 distance (which is at most four of them).
    private static let largestSquaredNorm = 1e37

    /// The vector as float32, refused when a value is not finite or so large that distances would overflow.
    static func finite(_ vector: DenseVector, dimensions: Int, field: String) throws(NeedletailError) -> [Float] {
        let values = floats(vector, dimensions: dimensions)
        let squares = squaredNorm(values)
        guard squares.isFinite else {
            throw NeedletailError(.invalidArgument, "field \"\(field)\": a vector has a NaN or an infinity; vectors must be finite")
        }
        guard squares <= largestSquaredNorm else {
            throw NeedletailError(
                .invalidArgument,
                "field \"\(field)\": a vector's norm is \(squares.squareRoot()); scale it below 3e18, where float32 can still measure distances")
        }
        return values
    }

    /// A query of a float field as float32.
    static func query(_ vector: DenseVector, dimensions: Int, field: String) throws(NeedletailError) -> [Float] {
        guard vector.element != .bit, vector.bytes.count == vector.element.sizeBytes(dimensions: dimensions) else {
            throw NeedletailError(
                .invalidArgument,
                "field \"\(field)\" has \(dimensions) dimensions: a query of \(vector.bytes.count) bytes as \(vector.element) does not fit")
        }
        return try finite(vector, dimensions: dimensions, field: field)
    }

    /// Σ x², in double so that large dimensions lose nothing; in eight sums, which the processor adds up side by side.
    static func squaredNorm(_ values: [Float]) -> Double {
        var sums = SIMD8<Double>()
        var index = 0
        while index + 8 <= values.count {
            let lanes = SIMD8<Double>(
                SIMD8<Float>(
                    values[index], values[index + 1], values[index + 2], values[index + 3], values[index + 4], values[index + 5],
                    values[index + 6], values[index + 7]))
            sums += lanes * lanes
            index += 8
        }
        var sum = sums.sum()
        for value in values[index...] { sum += Double(value) * Double(value) }
        return sum
    }

    /// The values of an f32, f16 or u8 vector.
    static func floats(_ vector: DenseVector, dimensions: Int) -> [Float] {
        let kernel = RowKernel(metric: .l2, element: vector.element, level: .best)
        return [Float](unsafeUninitializedCapacity: dimensions) { target, count in
            vector.bytes.withUnsafeBytes { bytes in
                guard let source = bytes.baseAddress, let out = target.baseAddress else { return }
                if kernel.widens {
                    kernel.widen(row: source, dimensions: dimensions, target: out)
                } else {
                    UnsafeMutableRawPointer(out).copyMemory(from: source, byteCount: dimensions * 4)
                }
            }
            count = dimensions
        }
    }
}
