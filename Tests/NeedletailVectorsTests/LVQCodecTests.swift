import NeedletailCore
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// Locally-adaptive codes at every level of this processor.
@Suite struct LVQCodecTests {
    static let metrics: [NeedletailCore.Metric] = [.l2, .cosine, .dot]
    static let widths: [LVQCodec.Bits] = [.four, .eight]

    /// Distances differ by a constant of the query only, so differences between rows are what is compared.
    @Test(arguments: metrics, widths)
    func differencesComeNearThoseInFullPrecision(metric: NeedletailCore.Metric, bits: LVQCodec.Bits) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in [1, 2, 15, 16, 17, 31, 32, 33, 64, 100, 127, 128, 160, 384, 1000] {
            let rows = (0..<40).map { _ in generator.gaussians(dimensions).map { $0 + 0.5 } }
            let query = generator.gaussians(dimensions)
            let codec = try codec(metric, bits, rows: rows)
            let got = try distances(codec, query: query, rows: rows)
            let exact = rows.map { BruteForce.distance(metric, query, $0) }
            // The rounding of a coordinate is uniform in a step of (max − min) / levels; that of the query a step of max / 127.
            let step = 8.0 / Double(bits == .eight ? 255 : 15) + 8.0 / 254
            let norm = metric == .cosine ? 1 : Double(dimensions).squareRoot()
            let tolerance = 4 * step * (metric == .cosine ? 1 / Double(dimensions).squareRoot() : 1) * norm * (metric == .l2 ? 2 : 1) + 1e-4
            for index in 1..<rows.count {
                let difference = Double(got[index] - got[0]) - (exact[index] - exact[0])
                try #require(abs(difference) < tolerance * 2, "\(metric) \(bits) \(dimensions)-d: off by \(difference), allowed \(tolerance * 2)")
            }
        }
    }

    @Test(arguments: metrics, widths)
    func everyLevelGivesTheSameBits(metric: NeedletailCore.Metric, bits: LVQCodec.Bits) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in Array(1...200) + [384, 768, 1001, 4099] {
            let rows = (0..<7).map { _ in generator.gaussians(dimensions) }
            let query = generator.gaussians(dimensions)
            let reference = try distances(try codec(metric, bits, rows: rows, level: .scalar), query: query, rows: rows)
            for level in KernelLevel.available {
                let got = try distances(try codec(metric, bits, rows: rows, level: level), query: query, rows: rows)
                try #require(got.map(\.bitPattern) == reference.map(\.bitPattern), "\(level) \(metric) \(bits) \(dimensions)-d")
            }
        }
    }

    @Test(arguments: metrics, widths)
    func aRowStandsAsTheQueryThatItDecodesTo(metric: NeedletailCore.Metric, bits: LVQCodec.Bits) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in [1, 3, 16, 33, 96, 128, 200] {
            let rows = (0..<12).map { _ in generator.gaussians(dimensions) }
            let codec = try codec(metric, bits, rows: rows)
            let memory = EncodedRows(codec, rows: rows)
            let fromRow = memory.distances(codec.asQuery(memory.row(0), scratch: memory.scratch))
            let fromVector = memory.distances(try codec.prepare(DenseVector(rows[0]), field: "v", scratch: memory.scratch))
            let spread = Double((fromVector.max() ?? 0) - (fromVector.min() ?? 0))
            for index in rows.indices {
                let difference = Double(fromRow[index] - fromRow[0]) - Double(fromVector[index] - fromVector[0])
                let allowed = spread * (bits == .eight ? 0.05 : 0.35) + 1e-3
                try #require(abs(difference) <= allowed, "\(metric) \(bits) \(dimensions)-d: off by \(difference) of \(spread)")
            }
            // To itself a row is as near as to anything.
            if metric != .dot { #expect(abs(Double(fromRow[0])) <= 1e-3 * max(1, spread)) }
        }
    }

    @Test func vectorsWithoutSpreadAreKept() throws {
        for vector in [[Float](repeating: 0, count: 24), [Float](repeating: -3.5, count: 24), [Float](repeating: .leastNonzeroMagnitude, count: 24)] {
            let codec = LVQCodec(metric: .l2, bits: .four, transform: try VectorTransform(inputDimensions: 24))
            let got = try distances(codec, query: [Float](repeating: 1, count: 24), rows: [vector])
            let exact = BruteForce.distance(.l2, [Float](repeating: 1, count: 24), vector)
            #expect(abs(Double(got[0]) - exact) <= exact * 0.01, "\(vector[0]): \(got[0]) for \(exact)")
        }
    }

    private func codec(
        _ metric: NeedletailCore.Metric, _ bits: LVQCodec.Bits, rows: [[Float]], level: KernelLevel = .best
    ) throws -> LVQCodec {
        let dimensions = rows[0].count
        var mean = [Float](repeating: 0, count: dimensions)
        for row in rows {
            let norm = metric == .cosine ? Float(row.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()) : 1
            for index in 0..<dimensions { mean[index] += row[index] / norm / Float(rows.count) }
        }
        let transform = try VectorTransform(
            inputDimensions: dimensions, preparation: VectorPreparation(normalise: metric == .cosine), mean: mean)
        return LVQCodec(metric: metric, bits: bits, transform: transform, level: level)
    }

    private func distances(_ codec: LVQCodec, query: [Float], rows: [[Float]]) throws -> [Float] {
        let memory = EncodedRows(codec, rows: rows)
        return memory.distances(try codec.prepare(DenseVector(query), field: "v", scratch: memory.scratch))
    }
}
