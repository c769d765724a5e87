public import NeedletailCore
private import Glibc

/// Transformed vectors as float32 or IEEE half: for a walk on fewer dimensions without further loss.
///
///     row = norm (float32), 12 bytes of nothing, values
///
/// Distances are norm − weight·⟨query, row⟩, as in `LVQCodec`, with what the linear map dropped counted in the norm.
public struct FloatCodec: RowCodec {
    public enum Width: Sendable, Hashable {
        case single, half
    }

    public let transform: VectorTransform
    let metric: NeedletailCore.Metric
    private let width: Width
    private let dimensions: Int
    private let kernel: RowKernel
    public let strideBytes: Int
    public let scratchBytes: Int
    private static let valuesAt = 16

    public init(metric: NeedletailCore.Metric, width: Width, transform: VectorTransform, level: KernelLevel = .best) {
        precondition(metric != .hamming, "bits are their own code")
        self.metric = metric
        self.width = width
        self.transform = transform
        dimensions = transform.outputDimensions
        strideBytes = (Self.valuesAt + dimensions * (width == .single ? 4 : 2) + 15) & ~15
        scratchBytes = ((dimensions * 4 + 63) & ~63) + transform.roomFloats * 4
        kernel = RowKernel(metric: .dot, element: width == .single ? .f32 : .f16, level: level)
    }

    public func rescoreCount(limit: Int) -> Int { transform.keepsDistances ? 2 * limit : 5 * limit }

    private func values(_ scratch: UnsafeMutableRawPointer) -> UnsafeMutablePointer<Float> { scratch.assumingMemoryBound(to: Float.self) }

    private func transformed(_ vector: UnsafePointer<Float>, _ scratch: UnsafeMutableRawPointer) -> CentredConstants {
        let room = (scratch + ((dimensions * 4 + 63) & ~63)).assumingMemoryBound(to: Float.self)
        return transform.apply(vector, room: room, to: values(scratch))
    }

    public func encode(_ vector: UnsafePointer<Float>, at row: UnsafeMutableRawPointer, scratch: UnsafeMutableRawPointer) {
        let constants = transformed(vector, scratch)
        let norm: Double
        switch metric {
        case .l2: norm = constants.squaredNorm
        case .cosine: norm = constants.squaredNorm / 2
        case .dot, .hamming: norm = -constants.meanProduct
        }
        memset(row, 0, Self.valuesAt)
        row.storeBytes(of: Float(norm), as: Float.self)
        let target = row + Self.valuesAt
        switch width {
        case .single: target.copyMemory(from: scratch, byteCount: dimensions * 4)
        case .half:
            // What is beyond a half counts as the greatest: an infinity would make the distance one, or nothing at all.
            for index in 0..<dimensions { values(scratch)[index] = min(65_504, max(-65_504, values(scratch)[index])) }
            narrowToHalf(values(scratch), count: dimensions, target: target.assumingMemoryBound(to: UInt16.self))
        }
    }

    public func prepare(
        _ vector: DenseVector, field: String, scratch: UnsafeMutableRawPointer
    ) throws(NeedletailError) -> PreparedQuery {
        let values = try VectorLayout.query(vector, dimensions: transform.inputDimensions, field: field)
        let constants = values.withUnsafeBufferPointer { transformed($0.baseAddress.unsafelyUnwrapped, scratch) }
        var query = PreparedQuery(values: UnsafeRawPointer(scratch))
        query.scale = metric == .l2 ? 2 : 1
        query.offset = metric == .l2 ? Float(constants.squaredNorm) : metric == .cosine ? Float(constants.squaredNorm / 2) : 0
        return query
    }

    public func asQuery(_ row: UnsafeRawPointer, scratch: UnsafeMutableRawPointer) -> PreparedQuery {
        var values = row + Self.valuesAt
        if kernel.widens {
            kernel.widen(row: values, dimensions: dimensions, target: self.values(scratch))
            values = UnsafeRawPointer(scratch)
        }
        var query = PreparedQuery(values: values)
        query.scale = metric == .l2 ? 2 : 1
        query.offset = metric == .dot ? 0 : row.load(as: Float.self)
        return query
    }

    public func distances(
        _ query: PreparedQuery, base: UnsafeRawPointer, rows: UnsafePointer<UInt32>?, count: Int, out: UnsafeMutablePointer<Float>
    ) {
        kernel.score(
            query: query.values, base: base + Self.valuesAt, stride: strideBytes, rows: rows, count: count, dimensions: dimensions, out: out)
        for index in 0..<count {
            let row = rows.map { Int($0[index]) } ?? index
            out[index] = query.offset + base.load(fromByteOffset: row &* strideBytes, as: Float.self) - query.scale * out[index]
        }
    }

    public func isCopy(_ left: UnsafeRawPointer, _ right: UnsafeRawPointer) -> Bool { memcmp(left, right, strideBytes) == 0 }
}
