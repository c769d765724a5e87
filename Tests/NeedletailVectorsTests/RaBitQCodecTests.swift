import NeedletailCore
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// The statistics that RaBitQ promises, over random rotations and vectors.
@Suite struct RaBitQCodecTests {
    /// Estimates of one pair of vectors under many rotations: their mean is the true distance.
    @Test(arguments: [NeedletailCore.Metric.l2, .dot], [1, 2, 4]) func estimatesAreUnbiased(metric: NeedletailCore.Metric, bits: Int) throws {
        var generator = SeededGenerator.fresh()
        let row = generator.gaussians(64)
        let query = zip(row, generator.gaussians(64)).map { 0.7 * $0.0 + 0.5 * $0.1 }
        let exact = BruteForce.distance(metric, query, row)
        var errors: [Double] = []
        for seed in 0..<3_000 as Range<UInt64> {
            let memory = EncodedRows(try Self.codec(metric, bits, dimensions: 64, seed: seed), rows: [row])
            errors.append(Double(try memory.distances(query)[0]) - exact)
        }
        let mean = errors.reduce(0, +) / Double(errors.count)
        let deviation = (errors.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(errors.count)).squareRoot()
        // Five standard errors.
        #expect(abs(mean) <= 5 * deviation / Double(errors.count).squareRoot(), "mean error \(mean), deviation \(deviation), exact \(exact)")
    }

    /// The true distance lies within the bound as often as is stated: nearly as often as for a normal error.
    @Test(arguments: [NeedletailCore.Metric.l2, .cosine, .dot], [1, 2, 4])
    func trueDistancesLieWithinTheBound(metric: NeedletailCore.Metric, bits: Int) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in [32, 100, 384] {
            var inside = [0, 0, 0]
            var total = 0
            for seed in 0..<8 as Range<UInt64> {
                let centre = generator.gaussians(dimensions)
                let rows = (0..<100).map { _ in zip(centre, generator.gaussians(dimensions)).map { 0.5 * $0.0 + $0.1 } }
                let codec = try Self.codec(metric, bits, dimensions: dimensions, seed: seed, sample: rows)
                let memory = EncodedRows(codec, rows: rows)
                for _ in 0..<10 {
                    let query = zip(centre, generator.gaussians(dimensions)).map { 0.5 * $0.0 + $0.1 }
                    let prepared = try codec.prepare(DenseVector(query), field: "v", scratch: memory.scratch)
                    for (row, estimate) in memory.distances(prepared).enumerated() {
                        let error = abs(Double(estimate) - BruteForce.distance(metric, query, rows[row]))
                        for (index, epsilon) in [Float(1), 1.9, 3].enumerated() {
                            if error <= Double(codec.bound(prepared, row: memory.row(row), epsilon: epsilon)) + 1e-5 { inside[index] += 1 }
                        }
                        total += 1
                    }
                }
            }
            // Pairs of one rotation are not independent: the slack is for eight rotations, not for 8,000 pairs.
            for (count, (stated, slack)) in zip(inside, [(0.6827, 0.03), (0.9426, 0.015), (0.9973, 0.003)]) {
                let rate = Double(count) / Double(total)
                #expect(rate >= stated - slack, "\(metric) \(bits) bits \(dimensions)-d: \(rate) of \(stated)")
                // And it is no wider than it must be. Few dimensions have a lighter tail.
                if dimensions > 32, stated < 0.9 { #expect(rate <= stated + 0.06, "\(metric) \(bits) bits \(dimensions)-d: \(rate) of \(stated)") }
            }
        }
    }

    /// The error of a distance falls with every bit, about by half a bit for the first and by the whole for others.
    @Test func moreBitsErrLess() throws {
        var generator = SeededGenerator.fresh()
        let rows = (0..<200).map { _ in generator.gaussians(256) }
        let query = generator.gaussians(256)
        let errors = try [1, 2, 4].map { bits in
            let got = try EncodedRows(Self.codec(.l2, bits, dimensions: 256, seed: 3), rows: rows).distances(query)
            return zip(got, rows).reduce(0) { $0 + abs(Double($1.0) - BruteForce.distance(.l2, query, $1.1)) } / 200
        }
        #expect(errors[1] < 0.6 * errors[0] && errors[2] < 0.4 * errors[1], "\(errors)")
    }

    /// A row of 1 bit stands as a query by angles: as near to the truth as the signs of two vectors can tell.
    @Test func differingBitsTellTheAngle() throws {
        var generator = SeededGenerator.fresh()
        let dimensions = 512
        let first = generator.gaussians(dimensions)
        for share in [Float(1), 0.95, 0.8, 0.5, 0] {
            let rest = (1 - share * share).squareRoot()
            let rows = [first] + (0..<40).map { _ in zip(first, generator.gaussians(dimensions)).map { share * $0.0 + rest * $0.1 } }
            let codec = try Self.codec(.l2, 1, dimensions: dimensions, seed: 9)
            let memory = EncodedRows(codec, rows: rows)
            let got = memory.distances(codec.asQuery(memory.row(0), scratch: memory.scratch))
            #expect(abs(got[0]) <= 1e-3 * Float(dimensions))
            let error = (1...40).reduce(0) { $0 + Double(got[$1]) - BruteForce.distance(.l2, first, rows[$1]) } / 40
            // Rows differ by a deviation of about 2·d·(π/2)·√(1/4d) at most, but share a rotation, and so a part of the error.
            #expect(abs(error) <= 1.6 * Double(dimensions).squareRoot(), "at \(share): \(error)")
        }
    }

    /// A matrix is turned, so that its outputs are spread as the estimate needs; distances stay those of the projection.
    @Test func projectionsAreRotatedToo() throws {
        let set = SyntheticSets.powerLaw(count: 2_000, queries: 5, dimensions: 96, centres: 20)
        let sample = try VectorSample(set.base.values, dimensions: 96)
        func model(_ text: String) throws -> CodecModel {
            try CodecTraining.train(VectorField(name: "v", dimensions: 96, metric: .l2, index: IndexSpec(text: text)), sample: sample)
        }
        let (plain, turned) = (try model("pca32,f32"), try model("pca32,rabitq4"))
        let (before, after) = (plain.transform(set.base[0]), turned.transform(set.base[0]))
        let squares = (before.reduce(0) { $0 + $1 * $1 }, after.reduce(0) { $0 + $1 * $1 })
        #expect(before != after && abs(squares.0 - squares.1) <= 1e-4 * squares.0)
        let greatest = (before.map { abs($0) }.max() ?? 0, after.map { abs($0) }.max() ?? 0)
        #expect(greatest.1 < greatest.0)
    }

    static func codec(
        _ metric: NeedletailCore.Metric, _ bits: Int, dimensions: Int, seed: UInt64, sample: [[Float]]? = nil
    ) throws -> RaBitQCodec {
        let sample = try sample.map { try VectorSample($0.flatMap { $0 }, dimensions: dimensions) }
        let transform = try TransformFitting.rotation(
            seed: seed, inputDimensions: dimensions, sample: sample, preparation: VectorPreparation(normalise: metric == .cosine))
        return RaBitQCodec(metric: metric, bits: bits, transform: transform)
    }
}
