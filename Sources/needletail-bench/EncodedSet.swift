import NeedletailCore
import NeedletailSyntheticSets
import NeedletailVectors

/// Rows that are scored one after another, and the scratch memory that goes with them.
///
/// Owns both blocks; a row is `scorer.strideBytes` long, 64-byte alignment for the first.
final class EncodedSet {
    let scorer: any RowScorer
    let count: Int
    let bytes: Int
    private let rows: UnsafeMutableRawPointer
    private let scratch: UnsafeMutableRawPointer
    private var distances: [Float]
    /// What a scan hands to the kernels at a time, so that the distances stay in the nearest cache.
    private static let block = 1024

    /// `write` fills the row at the pointer it gets with the vector of that number; it may use the scratch memory.
    init(_ scorer: any RowScorer, count: Int, write: (Int, UnsafeMutableRawPointer, UnsafeMutableRawPointer) throws -> Void) rethrows {
        self.scorer = scorer
        self.count = count
        bytes = count * scorer.strideBytes
        rows = .allocate(byteCount: bytes, alignment: 64)
        scratch = .allocate(byteCount: scorer.scratchBytes, alignment: 64)
        rows.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
        scratch.initializeMemory(as: UInt8.self, repeating: 0, count: scorer.scratchBytes)
        distances = [Float](repeating: 0, count: count)
        for row in 0..<count { try write(row, rows + row * scorer.strideBytes, scratch) }
    }

    deinit {
        rows.deallocate()
        scratch.deallocate()
    }

    /// The stored rows as they lie in memory.
    var memory: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: rows, count: bytes) }

    func prepare(_ query: DenseVector) throws -> PreparedQuery { try scorer.prepare(query, field: "v", scratch: scratch) }

    /// Lets a vector stand as a query in the form of the rows: only with a codec.
    func withEncoded(_ values: [Float], _ body: (PreparedQuery) -> Void) {
        guard let codec = scorer as? any RowCodec else { return }
        withUnsafeTemporaryAllocation(byteCount: codec.strideBytes, alignment: 64) { row in
            guard let row = row.baseAddress else { return }
            values.withUnsafeBufferPointer { codec.encode($0.baseAddress.unsafelyUnwrapped, at: row, scratch: scratch) }
            body(codec.asQuery(row, scratch: scratch))
        }
    }

    /// Distances from the query to every row, in order.
    func scan(_ query: PreparedQuery) -> [Float] {
        pass(query)
        return distances
    }

    /// A scan whose distances nobody looks at.
    func pass(_ query: PreparedQuery) {
        distances.withUnsafeMutableBufferPointer { out in
            guard let target = out.baseAddress else { return }
            for start in stride(from: 0, to: count, by: Self.block) {
                scorer.distances(
                    query, base: rows + start * scorer.strideBytes, rows: nil, count: min(Self.block, count - start), out: target + start)
            }
        }
    }

    /// Distances to the rows listed, `list` at a time: how a graph is walked.
    func gather(_ query: PreparedQuery, _ order: [UInt32], list: Int) {
        order.withUnsafeBufferPointer { order in
            distances.withUnsafeMutableBufferPointer { out in
                guard let rows = order.baseAddress, let target = out.baseAddress else { return }
                for start in stride(from: 0, to: order.count, by: list) {
                    scorer.distances(query, base: self.rows, rows: rows + start, count: min(list, order.count - start), out: target)
                }
            }
        }
    }

    /// Distances by all that the rows hold, when they hold more than a scan reads.
    func refine(_ query: PreparedQuery) -> [Float]? {
        guard let codec = scorer as? any RowCodec, codec.refines else { return nil }
        let all = [UInt32](0..<UInt32(count))
        return [Float](unsafeUninitializedCapacity: count) { out, initialized in
            codec.refine(query, base: rows, rows: all, count: count, scratch: scratch, out: out.baseAddress.unsafelyUnwrapped)
            initialized = count
        }
    }
}

extension EncodedSet {
    /// Vectors as they are stored, in full precision.
    convenience init(_ distance: RowDistance, vectors: VectorFile) throws {
        try self.init(distance, count: vectors.count) { row, target, _ in
            distance.store(try distance.layout.convert(vectors.vector(row), field: "v"), at: target)
        }
    }

    convenience init(_ codec: any RowCodec, vectors: VectorFile) {
        self.init(codec, count: vectors.count) { row, target, scratch in
            vectors.values.withUnsafeBufferPointer {
                codec.encode($0.baseAddress.unsafelyUnwrapped + row * vectors.dimensions, at: target, scratch: scratch)
            }
        }
    }
}
