import NeedletailCore

extension CodecSpec {
    /// Books, centroids of each and how they are put together; nil for a codec without codebooks.
    var codebooks: (kind: Codebooks.Kind, books: Int, centroids: Int)? {
        switch self {
        case .pq(let subspaces, _): (.product, subspaces, centroids)
        case .rq(let levels): (.residual, levels, centroids)
        case .asGiven, .f32, .f16, .lvq8, .lvq4, .lvq4x8, .rabitq: nil
        }
    }
}

extension Codebooks {
    /// Rows a centroid beyond which books change little, and rounds of k-means once all centroids are there. Books of residuals are of all
    /// dimensions, so a round takes as long as one for all subspaces together; on T3 twice of both gain two points of recall.
    private static func effort(_ kind: Kind) -> (rowsPerCentroid: Int, rounds: Int) { kind == .product ? (64, 16) : (32, 4) }
    private static let seed: UInt64 = 0x6e65_6564_6c65

    /// Learns the books of a codec from a sample: the same ones on every machine.
    /// - Throws: `invalidArgument` for a codec without books or a sample of fewer vectors than a book has centroids.
    static func train(_ codec: CodecSpec, transform: VectorTransform, sample: VectorSample) throws(NeedletailError) -> Codebooks {
        guard let (kind, books, centroids) = codec.codebooks else {
            throw NeedletailError(.invalidArgument, "codec \(codec.name) has no codebooks to learn")
        }
        let effort = effort(kind)
        guard sample.count >= centroids else {
            throw NeedletailError(
                .invalidArgument,
                "\(codec.name) learns books of \(centroids) centroids: \(sample.count) vectors are too few; "
                    + "give at least \(centroids), better \(effort.rowsPerCentroid * centroids)")
        }
        let dimensions = transform.outputDimensions
        var vectors = transformed(sample, transform, atMost: effort.rowsPerCentroid * centroids)
        var generator = SplitMix64(seed: seed)
        var rows: [Float] = []
        for book in 0..<books {
            switch kind {
            case .product:
                let range = subspace(book, of: books, dimensions: dimensions)
                rows += try fit(columns(range, of: vectors, dimensions: dimensions), range.count, centroids, effort.rounds, &generator).means
            case .residual:
                let (means, codes) = try fit(vectors, dimensions, centroids, effort.rounds, &generator)
                rows += means
                subtract(means, codes, from: &vectors, dimensions: dimensions)
            }
        }
        return try Codebooks(kind: kind, books: books, centroids: centroids, dimensions: dimensions, rows: rows)
    }

    /// `limit` rows at most, evenly drawn, as they will be encoded.
    private static func transformed(_ sample: VectorSample, _ transform: VectorTransform, atMost limit: Int) -> [Float] {
        let count = min(sample.count, limit)
        let dimensions = transform.outputDimensions
        var scratch = TransformScratch()
        return [Float](unsafeUninitializedCapacity: count * dimensions) { target, initialized in
            sample.values.withUnsafeBufferPointer { values in
                for index in 0..<count {
                    let row = index * sample.count / count
                    transform.apply(
                        values.baseAddress.unsafelyUnwrapped + row * sample.dimensions, scratch: &scratch,
                        to: target.baseAddress.unsafelyUnwrapped + index * dimensions)
                }
            }
            initialized = count * dimensions
        }
    }

    private static func columns(_ range: Range<Int>, of vectors: [Float], dimensions: Int) -> [Float] {
        var part: [Float] = []
        part.reserveCapacity(vectors.count / dimensions * range.count)
        for start in stride(from: 0, to: vectors.count, by: dimensions) {
            part += vectors[start + range.lowerBound..<start + range.upperBound]
        }
        return part
    }

    private static func fit(
        _ rows: [Float], _ dimensions: Int, _ centroids: Int, _ rounds: Int, _ generator: inout SplitMix64
    ) throws(NeedletailError) -> (means: [Float], codes: [Int]) {
        // A copy of its own, which stays where it is while the means move.
        let memory = AlignedFloats(count: rows.count) { target in
            rows.withUnsafeBufferPointer { target.update(from: $0.baseAddress.unsafelyUnwrapped, count: rows.count) }
        }
        return try memory.withPointer { pointer throws(NeedletailError) in
            var means = KMeans(rows: pointer, count: rows.count / dimensions, dimensions: dimensions, centroids: centroids)
            let fitted = try means.fit(rounds: rounds, generator: &generator)
            return (fitted, means.codes)
        }
    }

    private static func subtract(_ means: [Float], _ codes: [Int], from vectors: inout [Float], dimensions: Int) {
        vectors.withUnsafeMutableBufferPointer { vectors in
            means.withUnsafeBufferPointer { means in
                for (row, code) in codes.enumerated() {
                    for index in 0..<dimensions { vectors[row * dimensions + index] -= means[code * dimensions + index] }
                }
            }
        }
    }
}

/// The bytes of codebooks: the centroids as they are. How many there are follows from the codec and the transform before them.
extension Codebooks {
    func encode(to writer: inout ByteWriter) {
        for value in rows { writer.f32(value) }
    }

    /// - Throws: `dataLoss` when the bytes are damaged.
    init(from reader: inout ByteReader, codec: CodecSpec, dimensions: Int) throws(NeedletailError) {
        guard let (kind, books, centroids) = codec.codebooks, codec.problem(dimensions: dimensions) == nil else {
            throw NeedletailError(.dataLoss, "a codec's parameters are damaged: \(codec.name) does not fit \(dimensions) dimensions")
        }
        let count = codec.centroidValues(dimensions: dimensions)
        guard count <= reader.remaining / 4 else {
            throw NeedletailError(.dataLoss, "a codec's parameters are damaged: \(count) values are wanted and \(reader.remaining) bytes are left")
        }
        var rows: [Float] = []
        rows.reserveCapacity(count)
        for _ in 0..<count { rows.append(try reader.f32()) }
        guard rows.allSatisfy({ $0.isFinite }) else { throw NeedletailError(.dataLoss, "a codec's parameters are damaged: a centroid is not finite") }
        try self.init(kind: kind, books: books, centroids: centroids, dimensions: dimensions, rows: rows)
    }
}
