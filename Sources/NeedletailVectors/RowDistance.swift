public import NeedletailCore
private import Glibc

/// Distances of vectors as they are stored, of one field: its layout bound to the kernels of this processor.
///
/// Distances follow `Metric`: smaller is closer. The caller owns all memory and vouches for it: every row it names must lie inside
/// the rows at `base`, and `out` must hold `count` floats. Nothing is checked inside, since this is the innermost loop of a search.
public struct RowDistance: RowScorer {
    public let layout: VectorLayout
    private let kernel: RowKernel

    public init(layout: VectorLayout, level: KernelLevel = .best) {
        self.layout = layout
        kernel = RowKernel(metric: layout.metric, element: layout.element, level: level)
    }

    public var strideBytes: Int { layout.strideBytes }
    /// The query as float32, or its bits.
    public var scratchBytes: Int { max(layout.dimensions * 4, layout.vectorBytes) }

    /// Writes a row: the converted vector and what the metric keeps beside it.
    public func store(_ vector: [UInt8], at row: UnsafeMutableRawPointer) {
        vector.withUnsafeBytes { row.copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: layout.vectorBytes) }
        if let offset = layout.inverseNormOffset {
            let values = VectorLayout.floats(DenseVector(element: layout.element, bytes: vector), dimensions: layout.dimensions)
            row.storeBytes(of: Self.inverseNorm(values), toByteOffset: offset, as: Float.self)
        }
    }

    /// The values of a vector in the field's element.
    public func floats(_ vector: [UInt8]) -> [Float] {
        VectorLayout.floats(DenseVector(element: layout.element, bytes: vector), dimensions: layout.dimensions)
    }

    /// The vector of a row as it was given.
    public func load(_ row: UnsafeRawPointer) -> DenseVector {
        DenseVector(element: layout.element, bytes: Array(UnsafeRawBufferPointer(start: row, count: layout.vectorBytes)))
    }

    /// A float query is taken as it is, not narrowed to the field's element.
    public func prepare(
        _ vector: DenseVector, field: String, scratch: UnsafeMutableRawPointer
    ) throws(NeedletailError) -> PreparedQuery {
        var query = PreparedQuery(values: UnsafeRawPointer(scratch))
        guard vector.bytes.count == vector.element.sizeBytes(dimensions: layout.dimensions), vector.element != .bit, layout.element != .bit
        else {
            let bytes = try layout.convert(vector, field: field)
            bytes.withUnsafeBytes { UnsafeMutableRawBufferPointer(start: scratch, count: bytes.count).copyMemory(from: $0) }
            return query
        }
        let values = try VectorLayout.finite(vector, dimensions: layout.dimensions, field: field)
        values.withUnsafeBytes { scratch.copyMemory(from: $0.baseAddress.unsafelyUnwrapped, byteCount: $0.count) }
        if layout.metric == .cosine { query.scale = Self.inverseNorm(values) }
        return query
    }

    /// The values stay in the row, or are widened into the scratch memory.
    @inline(__always)
    public func asQuery(_ row: UnsafeRawPointer, scratch: UnsafeMutableRawPointer) -> PreparedQuery {
        var values = row
        if kernel.widens {
            kernel.widen(row: row, dimensions: layout.dimensions, target: scratch.assumingMemoryBound(to: Float.self))
            values = UnsafeRawPointer(scratch)
        }
        var query = PreparedQuery(values: values)
        if let offset = layout.inverseNormOffset { query.scale = row.load(fromByteOffset: offset, as: Float.self) }
        return query
    }

    public func isCopy(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer) -> Bool { memcmp(left, right, layout.vectorBytes) == 0 }

    public func distances(
        _ query: PreparedQuery, base: UnsafeRawPointer, rows: UnsafePointer<UInt32>?, count: Int, out: UnsafeMutablePointer<Float>
    ) {
        kernel.score(
            query: query.values, base: base, stride: layout.strideBytes, rows: rows, count: count, dimensions: layout.dimensions, out: out)
        switch layout.metric {
        case .l2, .hamming: break
        case .dot: for index in 0..<count { out[index] = 0 - out[index] }
        case .cosine:
            let norms = base + layout.inverseNormOffset.unsafelyUnwrapped
            for index in 0..<count {
                let row = rows.map { Int($0[index]) } ?? index
                // Clamped so that rounding never makes a cosine of 1.0000001.
                let cosine = out[index] * query.scale * norms.load(fromByteOffset: row &* layout.strideBytes, as: Float.self)
                out[index] = 1 - min(1, max(-1, cosine))
            }
        }
    }

    /// 1/‖x‖, summed in double so that large dimensions lose nothing; 0 for the zero vector and for
    /// those so short that the inverse is no float32.
    private static func inverseNorm(_ values: [Float]) -> Float {
        let inverse = Float(1 / VectorLayout.squaredNorm(values).squareRoot())
        return inverse.isFinite ? inverse : 0
    }
}
