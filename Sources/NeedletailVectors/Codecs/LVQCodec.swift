public import NeedletailCore
private import CNeedletailKernels
private import Glibc

/// Locally-adaptive vector quantisation (Aguerrebere et al., "Similarity search in the blink of an eye with compressed indices", 2023):
/// of each centred vector the range between its least and its greatest coordinate is divided evenly into 256 or 16 steps.
///
///     row = norm, scale, bias, sum (4 × float32)   codes (8 bits: one byte a coordinate; 4 bits: ⌈d/32⌉·16 bytes)
///
/// The query is rounded to signed bytes, so that a distance is an integer inner product and four multiplications: the same bits on
/// every machine. Cosine distances are half the squared euclidean distance of the normalised vectors.
public struct LVQCodec: RowCodec {
    public enum Bits: Int, Sendable, Hashable {
        case four = 4
        case eight = 8
    }

    public let bits: Bits
    public let transform: VectorTransform
    let metric: NeedletailCore.Metric
    private let dimensions: Int
    private let codeBytes: Int
    private let kernels: LVQKernels
    private let meanSquaredNorm: Double
    public let strideBytes: Int
    public let scratchBytes: Int
    /// Rounded up to cache lines, so that what follows in the scratch memory is aligned.
    private let floatBytes: Int

    public init(metric: NeedletailCore.Metric, bits: Bits, transform: VectorTransform, level: KernelLevel = .best) {
        precondition(metric != .hamming, "bits are their own code")
        self.metric = metric
        self.bits = bits
        self.transform = transform
        dimensions = transform.outputDimensions
        codeBytes = bits == .eight ? dimensions : (dimensions + 31) / 32 * 16
        strideBytes = (MemoryLayout<nt_lvq_constants>.size + codeBytes + 15) & ~15
        floatBytes = (dimensions * 4 + 63) & ~63
        // The transformed vector, its codes one a byte, and the codes in the order of the kernels.
        scratchBytes = floatBytes + 2 * ((dimensions + 63) & ~63) + 2 * ((codeBytes + 63) & ~63) + transform.roomFloats * 4
        meanSquaredNorm = VectorLayout.squaredNorm(transform.mean ?? [])
        kernels = LVQKernels(bits: bits, level: level)
    }

    /// Where the parts of the scratch memory begin.
    private struct Scratch {
        let values: UnsafeMutablePointer<Float>
        let codes: UnsafeMutablePointer<UInt8>
        let arranged: UnsafeMutablePointer<Int8>
        let room: UnsafeMutablePointer<Float>
    }

    private func parts(_ scratch: UnsafeMutableRawPointer) -> Scratch {
        let codes = scratch + floatBytes
        let arranged = codes + ((dimensions + 63) & ~63)
        return Scratch(
            values: scratch.assumingMemoryBound(to: Float.self), codes: codes.assumingMemoryBound(to: UInt8.self),
            arranged: arranged.assumingMemoryBound(to: Int8.self), room: (arranged + 2 * ((codeBytes + 63) & ~63)).assumingMemoryBound(to: Float.self))
    }

    public func rescoreCount(limit: Int) -> Int { bits == .eight ? limit + limit / 2 : 3 * limit }

    public func encode(_ vector: UnsafePointer<Float>, at row: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer) {
        let parts = parts(scratch)
        let constants = transform.apply(vector, room: parts.room, to: parts.values)
        var scale: Float = 0
        var bias: Float = 0
        let target = (row + MemoryLayout<nt_lvq_constants>.size).assumingMemoryBound(to: UInt8.self)
        switch bits {
        case .eight: nt_lvq_quantise(parts.values, dimensions, 256, target, &scale, &bias)
        case .four:
            nt_lvq_quantise(parts.values, dimensions, 16, parts.codes, &scale, &bias)
            nt_lvq4_pack(parts.codes, dimensions, target)
        }
        let codes = bits == .eight ? UnsafePointer(target) : UnsafePointer(parts.codes)
        let decoded = Self.moments(codes, dimensions, scale: Double(scale), bias: Double(bias))
        var kept = 0.0
        for index in 0..<dimensions { kept += Double(parts.values[index]) * Double(parts.values[index]) }
        let norm: Double
        switch metric {
        // What the linear map dropped of the vector is known exactly; what rounding changed is better left changed, since the error of
        // the distance is then in proportion to the distance.
        case .l2: norm = decoded.squares + max(0, constants.squaredNorm - kept)
        case .cosine: norm = (decoded.squares + max(0, constants.squaredNorm - kept)) / 2
        case .dot, .hamming: norm = -constants.meanProduct
        }
        row.storeBytes(
            of: nt_lvq_constants(norm: Float(norm), scale: scale, bias: bias, sum: Float(decoded.sum)), as: nt_lvq_constants.self)
    }

    /// Σ x and Σ x² of the decoded vector.
    private static func moments(_ codes: UnsafePointer<UInt8>, _ count: Int, scale: Double, bias: Double) -> (sum: Double, squares: Double) {
        var (sum, squares) = (0, 0)
        for index in 0..<count {
            let code = Int(codes[index])
            sum &+= code
            squares &+= code &* code
        }
        return (
            scale * Double(sum) + bias * Double(count),
            scale * scale * Double(squares) + 2 * scale * bias * Double(sum) + bias * bias * Double(count)
        )
    }

    /// What an inner product counts in a distance.
    private var weight: Float { metric == .l2 ? 2 : 1 }

    public func prepare(
        _ vector: DenseVector, field: String, scratch: UnsafeMutableRawPointer
    ) throws(NeedletailError) -> PreparedQuery {
        guard vector.element != .bit, vector.bytes.count == vector.element.sizeBytes(dimensions: transform.inputDimensions) else {
            throw NeedletailError(
                .invalidArgument, "field \"\(field)\" has \(transform.inputDimensions) dimensions: a \(vector.element) query of "
                    + "\(vector.bytes.count) bytes does not fit; send \(transform.inputDimensions) values")
        }
        return prepare(try VectorLayout.finite(vector, dimensions: transform.inputDimensions, field: field), scratch: scratch)
    }

    private func prepare(_ vector: [Float], scratch: UnsafeMutableRawPointer) -> PreparedQuery {
        let parts = parts(scratch)
        let constants = vector.withUnsafeBufferPointer {
            transform.apply($0.baseAddress.unsafelyUnwrapped, room: parts.room, to: parts.values)
        }
        var codeSum: Int32 = 0
        let codes = UnsafeMutableRawPointer(parts.codes).assumingMemoryBound(to: Int8.self)
        let step = nt_lvq_quantise_query(parts.values, dimensions, codes, &codeSum)
        if bits == .four { nt_lvq4_arrange(codes, dimensions, parts.arranged) }
        var query = PreparedQuery(values: UnsafeRawPointer(bits == .eight ? codes : parts.arranged))
        query.scale = weight * step
        query.sum = weight * step * Float(codeSum)
        switch metric {
        case .l2: query.offset = Float(constants.squaredNorm)
        case .cosine: query.offset = Float(constants.squaredNorm / 2)
        case .dot, .hamming: query.offset = -Float(constants.meanProduct + meanSquaredNorm)
        }
        return query
    }

    public func asQuery(_ row: UnsafeRawPointer, scratch: UnsafeMutableRawPointer) -> PreparedQuery {
        let parts = parts(scratch)
        let constants = row.load(as: nt_lvq_constants.self)
        let codes = (row + MemoryLayout<nt_lvq_constants>.size).assumingMemoryBound(to: UInt8.self)
        let codeSum =
            bits == .eight
            ? nt_lvq8_as_query(codes, dimensions, parts.arranged) : nt_lvq4_as_query(codes, codeBytes, dimensions, parts.arranged)
        var query = PreparedQuery(values: UnsafeRawPointer(parts.arranged))
        query.offset = metric == .dot ? 0 : constants.norm
        query.scale = weight * constants.scale
        query.sum = weight * constants.scale * Float(codeSum)
        query.bias = weight * (constants.bias + constants.scale * (bits == .eight ? 128 : 8))
        return query
    }

    public func distances(
        _ query: PreparedQuery, base: UnsafeRawPointer, rows: UnsafePointer<UInt32>?, count: Int, out: UnsafeMutablePointer<Float>
    ) {
        kernels.score(query, base: base, stride: strideBytes, rows: rows, count: count, codeBytes: codeBytes, out: out)
    }

    public func isCopy(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer) -> Bool { memcmp(left, right, strideBytes) == 0 }
}

/// The C function of one code width at one level.
private struct LVQKernels: Sendable {
    private let function: nt_lvq_rows_fn

    init(bits: LVQCodec.Bits, level: KernelLevel) {
        guard let table = nt_kernels_at(nt_level(level.number))?.pointee else {
            preconditionFailure("this processor has no kernels of level \(level)")
        }
        function = bits == .eight ? table.lvq8 : table.lvq4
    }

    func score(
        _ query: PreparedQuery, base: UnsafeRawPointer, stride: Int, rows: UnsafePointer<UInt32>?, count: Int, codeBytes: Int,
        out: UnsafeMutablePointer<Float>
    ) {
        var form = nt_lvq_query(
            offset: query.offset, scale: query.scale, sum: query.sum, bias: query.bias,
            codes: query.values.assumingMemoryBound(to: Int8.self))
        function(&form, base, stride, rows, count, codeBytes, out)
    }
}
