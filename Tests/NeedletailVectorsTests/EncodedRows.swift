import NeedletailCore
import NeedletailTestSupport
import NeedletailVectors

/// Rows that a codec wrote one after another, in memory that was poisoned before, and the scratch memory that goes with them.
final class EncodedRows {
    let codec: any RowCodec
    let count: Int
    let rows: UnsafeMutableRawPointer
    let scratch: UnsafeMutableRawPointer

    convenience init(_ codec: any RowCodec, rows vectors: [[Float]]) {
        var values = VectorRows(dimensions: vectors[0].count, capacity: vectors.count)
        for vector in vectors { values.append(vector) }
        self.init(codec, rows: values)
    }

    /// With `spare` bytes behind the rows.
    init(_ codec: any RowCodec, rows vectors: VectorRows, spare: Int = 0) {
        self.codec = codec
        count = vectors.count
        rows = .allocate(byteCount: count * codec.strideBytes + spare, alignment: 64)
        rows.initializeMemory(as: UInt8.self, repeating: 0x7f, count: count * codec.strideBytes + spare)
        scratch = .allocate(byteCount: codec.scratchBytes, alignment: 64)
        scratch.initializeMemory(as: UInt8.self, repeating: 0x7f, count: codec.scratchBytes)
        vectors.values.withUnsafeBufferPointer { values in
            for row in 0..<count {
                codec.encode(values.baseAddress! + row * vectors.dimensions, at: rows + row * codec.strideBytes, scratch: scratch)
            }
        }
    }

    deinit {
        rows.deallocate()
        scratch.deallocate()
    }

    func row(_ index: Int) -> UnsafeRawPointer { UnsafeRawPointer(rows + index * codec.strideBytes) }

    func distances(_ query: PreparedQuery) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { out, initialized in
            codec.distances(query, base: rows, rows: nil, count: count, out: out.baseAddress!)
            initialized = count
        }
    }

    func distances(_ query: [Float]) throws -> [Float] {
        distances(try codec.prepare(DenseVector(query), field: "v", scratch: scratch))
    }

    /// Distances by all that the rows hold.
    func refined(_ query: [Float]) throws -> [Float] {
        let prepared = try codec.prepare(DenseVector(query), field: "v", scratch: scratch)
        let all = [UInt32](0..<UInt32(count))
        return [Float](unsafeUninitializedCapacity: count) { out, initialized in
            codec.refine(prepared, base: rows, rows: all, count: count, scratch: scratch, out: out.baseAddress!)
            initialized = count
        }
    }
}

/// Which rows are nearest, by a full scan.
enum Scan {
    /// The `limit` rows of smallest distance, ties by row.
    static func nearest(_ distances: [Float], limit: Int) -> [Int] {
        let cut = distances.sorted()[min(limit, distances.count) - 1]
        let near = distances.indices.filter { distances[$0] <= cut }
        return Array(near.sorted { (distances[$0], $0) < (distances[$1], $1) }.prefix(limit))
    }

    /// The `limit` nearest rows of each query in full precision.
    static func truth(_ metric: NeedletailCore.Metric, _ base: VectorRows, _ queries: VectorRows, limit: Int) throws -> [Set<Int>] {
        let distance = RowDistance(layout: VectorLayout(field: VectorField(name: "v", dimensions: base.dimensions, metric: metric)))
        let rows = UnsafeMutableRawPointer.allocate(byteCount: base.count * distance.strideBytes, alignment: 64)
        let scratch = UnsafeMutableRawPointer.allocate(byteCount: distance.scratchBytes, alignment: 64)
        defer {
            rows.deallocate()
            scratch.deallocate()
        }
        for row in 0..<base.count { distance.store(DenseVector(base[row]).bytes, at: rows + row * distance.strideBytes) }
        var out = [Float](repeating: 0, count: base.count)
        return try (0..<queries.count).map { query in
            let prepared = try distance.prepare(DenseVector(queries[query]), field: "v", scratch: scratch)
            distance.distances(prepared, base: rows, rows: nil, count: base.count, out: &out)
            return Set(nearest(out, limit: limit))
        }
    }
}
