import Foundation
import NeedletailCore
import NeedletailTestSupport
@testable import NeedletailVectors
import Testing

@Suite struct TransformFittingTests {
    @Test(arguments: [1, 2, 15, 16, 17, 40, 65, 100]) func covarianceIsThatOfTheDefinition(dimensions: Int) throws {
        var generator = SeededGenerator.fresh()
        let count = Int.random(in: 1...300, using: &generator)
        // A mean a thousand deviations away must not cost the covariance its digits.
        let rows = (0..<count).map { _ in generator.gaussians(dimensions).map { 1000 + $0 } }
        let moments = try self.moments(rows.flatMap { $0 }, dimensions, cut: [count])
        let mean = (0..<dimensions).map { index in rows.reduce(0) { $0 + Double($1[index]) } / Double(count) }
        for i in 0..<dimensions {
            #expect(abs(moments.mean[i] - mean[i]) < 1e-10)
            for j in 0..<dimensions {
                let expected = rows.reduce(0) { $0 + (Double($1[i]) - mean[i]) * (Double($1[j]) - mean[j]) } / Double(count)
                try #require(abs(moments.covariance[i, j] - expected) < 1e-10, "\(count) × \(dimensions), (\(i), \(j))")
            }
        }
    }

    @Test func covarianceHasTheSameBitsForAnyCutAndLevel() throws {
        var generator = SeededGenerator.fresh()
        let values = generator.gaussians(333 * 50)
        let whole = try moments(values, 50, cut: [333])
        for cut in [[1, 332], [63, 64, 65, 141], [200, 133]] {
            #expect(try moments(values, 50, cut: cut).covariance == whole.covariance)
        }
        for level in KernelLevel.available {
            #expect(try moments(values, 50, cut: [333], level: level).covariance == whole.covariance, "\(level)")
        }
    }

    /// Nothing here goes through a C library, so any machine that does not give this number breaks the promise of equal bits.
    @Test func fitsHaveTheSameBitsOnEveryMachine() throws {
        var state: UInt64 = 99
        func sample(_ count: Int) throws -> VectorSample {
            let values = (0..<count * 24).map { index in
                Float(Int64(bitPattern: TransformReference.splitMix(&state)) >> 32) * 0x1p-31 / Float(1 + index % 24)
            }
            return try VectorSample(values, dimensions: 24)
        }
        let base = try sample(200)
        let unit = VectorPreparation(normalise: true)
        let fits = [
            try TransformFitting.pca(base, outputDimensions: 10, preparation: unit),
            try TransformFitting.whitening(base, outputDimensions: 24),
            try TransformFitting.leanVecQueryAware(base: base, queries: try sample(50), outputDimensions: 5, preparation: unit),
            try TransformFitting.fourier(inputDimensions: 24, outputDimensions: 7),
            try TransformFitting.rotation(seed: 5, inputDimensions: 24, sample: base),
        ]
        var writer = ByteWriter()
        for fit in fits {
            fit.encode(to: &writer)
            for value in fit(Array(base.values.prefix(24))) { writer.f32(value) }
        }
        let hash = writer.bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        #expect(hash == 7_276_932_333_212_159_079)
    }

    @Test func pcaFindsTheAxesOfLargestVariance() throws {
        var generator = SeededGenerator.fresh()
        let deviations: [Double] = [1, 5, 0.1, 3]
        let values = (0..<5_000).flatMap { _ in deviations.map { Float($0 * generator.gaussian() + 10) } }
        let transform = try TransformFitting.pca(VectorSample(values, dimensions: 4), outputDimensions: 2)
        let output = transform([10, 11, 10, 10])
        #expect(abs(output[0] - 1) < 0.3 && abs(output[1]) < 0.3)
        #expect(try TransformFitting.leanVec(VectorSample(values, dimensions: 4), outputDimensions: 2) == transform)
    }

    @Test func whiteningMakesTheCovarianceTheUnitMatrix() throws {
        var generator = SeededGenerator.fresh()
        let mixing = (0..<6).map { _ in generator.gaussians(6) }
        let rows = (0..<2_000).map { _ in
            let source = generator.gaussians(6)
            return mixing.map { zip($0, source).reduce(0) { $0 + $1.0 * $1.1 } } + [7]
        }
        let sample = try VectorSample(rows.flatMap { $0 }, dimensions: 7)
        let transform = try TransformFitting.whitening(sample, outputDimensions: 6)
        let covariance = try moments(rows.flatMap { transform($0) }, 6, cut: [2_000]).covariance
        for i in 0..<6 { for j in 0..<6 { #expect(abs(covariance[i, j] - (i == j ? 1 : 0)) < 1e-3) } }
        // The seventh direction does not vary: the floor keeps its scale finite.
        let flat = try TransformFitting.whitening(sample, outputDimensions: 7)
        #expect(flat(rows[0]).allSatisfy { $0.isFinite })
    }

    @Test func centringTakesTheMeanAway() throws {
        var generator = SeededGenerator.fresh()
        let rows = (0..<500).map { _ in generator.gaussians(9).map { $0 + 3 } }
        let sample = try VectorSample(rows.flatMap { $0 }, dimensions: 9)
        let preparation = VectorPreparation(prefix: 8, normalise: true)
        let transform = try TransformFitting.centring(sample, preparation: preparation)
        let mean = try moments(rows.flatMap { transform($0) }, 8, cut: [500]).mean
        #expect(mean.allSatisfy { abs($0) < 1e-7 })
        // One mean, whoever takes it.
        let pca = try TransformFitting.pca(sample, outputDimensions: 2, preparation: preparation)
        #expect(pca.mean == transform.mean)
        let prefix = try TransformFitting.prefix(3, inputDimensions: 9)
        #expect(prefix(rows[0]) == Array(rows[0].prefix(3)))
    }

    @Test(arguments: [1, 2, 3, 8, 12, 100, 129]) func fourierRowsAreTheWaves(dimensions: Int) throws {
        let rows = FourierBasis.rows(dimensions, dimensions: dimensions)
        for row in 0..<dimensions {
            let frequency = (row + 1) / 2
            let scale = ((row == 0 || 2 * frequency == dimensions ? 1 : 2) / Double(dimensions)).squareRoot()
            for index in 0..<dimensions {
                let angle = 2 * Double.pi * Double(frequency * index % dimensions) / Double(dimensions)
                let expected = scale * (row == 0 || row % 2 == 1 ? cos(angle) : sin(angle))
                try #require(abs(rows[row * dimensions + index] - expected) < 1e-15)
            }
        }
    }

    /// The loss by moments is the loss by its definition, and the search finds one that is not above PCA's.
    @Test func blendSearchMinimisesTheLossOfLeanVec() throws {
        var generator = SeededGenerator.fresh()
        let (size, outputs) = (12, 4)
        let base = (0..<80).map { _ in (0..<size).map { generator.gaussian() / Double($0 + 1) } }
        let queries = (0..<60).map { _ in (0..<size).map { generator.gaussian() / Double(size - $0) } }
        func moment(_ rows: [[Double]]) -> SymmetricMatrix {
            var sum = SymmetricMatrix(size: size)
            for row in rows { sum.addSquare(of: row) }
            return sum
        }
        let (stored, asked) = (moment(base), moment(queries))
        let search = try BlendSearch(base: stored, queries: asked, outputs: outputs)
        for beta in [0, 0.3, 1] {
            let candidate = try search.candidate(beta)
            var loss = 0.0
            for query in queries {
                for row in base {
                    var difference = 0.0
                    for index in 0..<size { difference += query[index] * row[index] }
                    for output in 0..<outputs {
                        let axis = candidate.eigen.vectors[output * size..<(output + 1) * size]
                        difference -= zip(axis, query).reduce(0) { $0 + $1.0 * $1.1 } * zip(axis, row).reduce(0) { $0 + $1.0 * $1.1 }
                    }
                    loss += difference * difference
                }
            }
            loss /= stored.trace * asked.trace
            #expect(abs(candidate.loss - loss) < 1e-12, "β \(beta)")
        }
        let best = try search.best()
        for step in 0...64 {
            let other = try search.candidate(Double(step) / 64)
            #expect(best.loss <= other.loss * 1.02, "β \(best.beta), \(other.beta)")
        }
    }

    @Test func refusesSamplesAndDimensionsThatDoNotFit() throws {
        let sample = try VectorSample([Float](repeating: 1, count: 30), dimensions: 3)
        func refused(_ make: () throws -> Void) { #expect { try make() } throws: { ($0 as? NeedletailError)?.code == .invalidArgument } }
        refused { _ = try VectorSample([], dimensions: 3) }
        refused { _ = try VectorSample([1, 2], dimensions: 3) }
        refused { _ = try VectorSample([1, .nan], dimensions: 2) }
        refused { _ = try TransformFitting.pca(sample, outputDimensions: 4) }
        refused { _ = try TransformFitting.pca(sample, outputDimensions: 0) }
        refused { _ = try TransformFitting.pca(VectorSample([1, 2, 3, 4, 5, 6], dimensions: 3), outputDimensions: 2) }
        refused { _ = try TransformFitting.pca(sample, outputDimensions: 2, preparation: VectorPreparation(prefix: 4)) }
        refused { _ = try TransformFitting.pca(VectorSample([Float](repeating: 0, count: 5_000), dimensions: 5_000), outputDimensions: 1) }
        refused { _ = try TransformFitting.whitening(sample, outputDimensions: 2) }
        refused { _ = try TransformFitting.whitening(sample, outputDimensions: 2, floor: 0) }
        refused { _ = try TransformFitting.fourier(inputDimensions: 3, outputDimensions: 4) }
        refused { _ = try TransformFitting.leanVecQueryAware(base: sample, queries: sample, outputDimensions: 2) }
        refused {
            let other = try VectorSample([1, 2], dimensions: 2)
            _ = try TransformFitting.leanVecQueryAware(base: sample, queries: other, outputDimensions: 2)
        }
        refused { _ = try TransformFitting.prefix(4, inputDimensions: 3) }
        let flat = try TransformFitting.pca(sample, outputDimensions: 2)
        #expect(flat([1, 1, 1]) == [0, 0])
        #expect { try CovarianceAccumulator(dimensions: 2).finish() } throws: { ($0 as? NeedletailError)?.code == .failedPrecondition }
    }

    private func moments(_ values: [Float], _ dimensions: Int, cut: [Int], level: KernelLevel = .best) throws -> SampleMoments {
        var accumulator = try CovarianceAccumulator(
            dimensions: dimensions, preparation: VectorPreparation(), kernels: TransformKernels(level: level))
        var start = 0
        for count in cut {
            try accumulator.add(VectorSample(Array(values[start * dimensions..<(start + count) * dimensions]), dimensions: dimensions))
            start += count
        }
        return try accumulator.finish()
    }
}
