public import NeedletailCore
private import CNeedletailKernels
private import Glibc

/// Locally-adaptive vector quantisation (Aguerrebere et al., "Similarity search in the blink of an eye with compressed indices", 2023):
/// of each centred vector the range between its least and its greatest coordinate is divided evenly into 256 or 16 steps.
///
///     row = norm, scale, bias, sum (4 × float32)   codes (8 bits: one byte a coordinate; 4 bits: ⌈d/32⌉·16 bytes)
///           with refinement: residuals (one byte a coordinate)   the same constants of the refined vector
///
/// With refinement (LVQ4x8) what 4 bits left is rounded to 8 more, which a second look at the nearest reads.
///
/// The query is rounded to signed bytes, so that a distance is an integer inner product and four multiplications: the same bits on
/// every machine. Cosine distances are half the squared euclidean distance of the normalised vectors.
public struct LVQCodec: RowCodec {
    public enum Bits: Int, Sendable, Hashable {
        case four = 4
        case eight = 8
    }

    public let bits: Bits
    public let refines: Bool
    public let transform: VectorTransform
    let metric: NeedletailCore.Metric
    private let dimensions: Int
    private let codeBytes: Int
    /// Where the constants of the refined vector lie in a row.
    private let refinedAt: Int
    private let kernels: LVQKernels
    private let meanSquaredNorm: Double
    public let strideBytes: Int
    public let walkedBytes: Int
    public let scratchBytes: Int
    /// Rounded up to cache lines, so that what follows in the scratch memory is aligned.
    private let floatBytes: Int

    public init(metric: NeedletailCore.Metric, bits: Bits, refinement: Bool = false, transform: VectorTransform, level: KernelLevel = .best) {
        precondition(metric != .hamming, "bits are their own code")
        precondition(!refinement || bits == .four, "8 bits have nothing to refine")
        refines = refinement
        self.metric = metric
        self.bits = bits
        self.transform = transform
        dimensions = transform.outputDimensions
        codeBytes = bits == .eight ? dimensions : (dimensions + 31) / 32 * 16
        let constants = MemoryLayout<nt_lvq_constants>.size
        walkedBytes = constants + codeBytes
        refinedAt = constants + ((codeBytes + dimensions + 15) & ~15)
        strideBytes = refinement ? refinedAt + constants : (walkedBytes + 15) & ~15
        floatBytes = (dimensions * 4 + 63) & ~63
        // The transformed vector, its codes one a byte, and the codes in the order of the kernels.
        scratchBytes =
            floatBytes + 2 * ((dimensions + 63) & ~63) + 2 * ((codeBytes + 63) & ~63) + transform.roomFloats * 4
            + (refinement ? Self.refinedQueryBytes(dimensions, codeBytes) : 0)
        meanSquaredNorm = VectorLayout.squaredNorm(transform.mean ?? [])
        kernels = LVQKernels(bits: bits, level: level)
    }

    /// Where the parts of the scratch memory begin.
    private struct Scratch {
        let values: UnsafeMutablePointer<Float>
        let codes: UnsafeMutablePointer<UInt8>
        let arranged: UnsafeMutablePointer<Int8>
        let room: UnsafeMutablePointer<Float>
        let refined: UnsafeMutablePointer<Int8>
    }

    private func parts(_ scratch: UnsafeMutableRawPointer) -> Scratch {
        let codes = scratch + floatBytes
        let arranged = codes + ((dimensions + 63) & ~63)
        let room = (arranged + 2 * ((codeBytes + 63) & ~63)).assumingMemoryBound(to: Float.self)
        return Scratch(
            values: scratch.assumingMemoryBound(to: Float.self), codes: codes.assumingMemoryBound(to: UInt8.self),
            arranged: arranged.assumingMemoryBound(to: Int8.self), room: room,
            refined: UnsafeMutableRawPointer(room + transform.roomFloats).assumingMemoryBound(to: Int8.self))
    }

    public func rescoreCount(limit: Int) -> Int {
        if !transform.keepsDistances { return 5 * limit }
        return bits == .eight ? limit + max(2, limit / 4) : 3 * limit
    }

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
        if refines { refineRow(row, parts, codes, scale: scale, bias: bias, dropped: max(0, constants.squaredNorm - kept), plainNorm: norm) }
    }

    /// Adds the second level to a row.
    private func refineRow(
        _ row: UnsafeMutableRawPointer, _ parts: Scratch, _ codes: UnsafePointer<UInt8>, scale: Float, bias: Float, dropped: Double,
        plainNorm: Double
    ) {
        let residuals = (row + walkedBytes).assumingMemoryBound(to: UInt8.self)
        nt_lvq_quantise_residual(parts.values, dimensions, codes, scale, bias, residuals)
        let (step, start) = (Double(scale) / 255, Double(bias) - Double(scale) / 2)
        var (sum, squares) = (0.0, 0.0)
        for index in 0..<dimensions {
            let value = step * Double(255 * Int(codes[index]) + Int(residuals[index])) + start
            sum += value
            squares += value * value
        }
        let norm = metric == .l2 ? squares + dropped : metric == .cosine ? (squares + dropped) / 2 : plainNorm
        row.storeBytes(
            of: nt_lvq_constants(norm: Float(norm), scale: Float(step), bias: Float(start), sum: Float(sum)), toByteOffset: refinedAt,
            as: nt_lvq_constants.self)
    }

    /// High and low bytes of 16-bit codes, in the orders of 4-bit and of 8-bit rows.
    private static func refinedQueryBytes(_ dimensions: Int, _ codeBytes: Int) -> Int { 4 * codeBytes + 2 * dimensions }

    public func refine(
        _ query: PreparedQuery, base: UnsafeRawPointer, rows: UnsafePointer<UInt32>, count: Int, scratch: UnsafeMutableRawPointer,
        out: UnsafeMutablePointer<Float>
    ) {
        let parts = parts(scratch)
        let plain = parts.refined + 4 * codeBytes
        var codeSum: Int32 = 0
        let step = nt_lvq_quantise_query16(parts.values, dimensions, plain, plain + dimensions, &codeSum)
        nt_lvq4_arrange(plain, dimensions, parts.refined)
        nt_lvq4_arrange(plain + dimensions, dimensions, parts.refined + 2 * codeBytes)
        var second = query
        second.values = UnsafeRawPointer(parts.refined)
        second.scale = weight * step
        second.sum = weight * step * Float(codeSum)
        kernels.refine(
            second, base: base, stride: strideBytes, rows: rows, count: count, codeBytes: codeBytes, dimensions: dimensions, out: out)
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
        prepare(try VectorLayout.query(vector, dimensions: transform.inputDimensions, field: field), scratch: scratch)
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
        switch bits {
        case .eight: nt_lvq8_as_query(codes, dimensions, parts.arranged)
        case .four: nt_lvq4_as_query(codes, codeBytes, dimensions, parts.arranged)
        }
        // A code less its middle, times the scale, is the coordinate less this shift; so is the sum of all.
        let shift = constants.bias + constants.scale * (bits == .eight ? 128 : 8)
        var query = PreparedQuery(values: UnsafeRawPointer(parts.arranged))
        query.offset = metric == .dot ? 0 : constants.norm
        query.scale = weight * constants.scale
        query.sum = weight * (constants.sum - Float(dimensions) * shift)
        query.bias = weight * shift
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
    private let refineFunction: nt_lvq_refine_fn

    init(bits: LVQCodec.Bits, level: KernelLevel) {
        guard let table = nt_kernels_at(nt_level(level.number))?.pointee else {
            preconditionFailure("this processor has no kernels of level \(level)")
        }
        function = bits == .eight ? table.lvq8 : table.lvq4
        refineFunction = table.lvq4x8
    }

    func refine(
        _ query: PreparedQuery, base: UnsafeRawPointer, stride: Int, rows: UnsafePointer<UInt32>, count: Int, codeBytes: Int,
        dimensions: Int, out: UnsafeMutablePointer<Float>
    ) {
        var form = nt_lvq_query(
            offset: query.offset, scale: query.scale, sum: query.sum, bias: query.bias,
            codes: query.values.assumingMemoryBound(to: Int8.self))
        refineFunction(&form, base, stride, rows, count, codeBytes, dimensions, out)
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
