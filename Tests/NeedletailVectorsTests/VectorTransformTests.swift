import NeedletailCore
import NeedletailTestSupport
@testable import NeedletailVectors
import Testing

@Suite struct VectorTransformTests {
    static let inputs = Array(1...20) + [31, 32, 33, 63, 64, 65, 100, 128, 384, 768, 1000]
    static let outputs = Array(1...18) + [31, 47, 48, 49, 64, 80, 81, 96, 112, 128, 160, 176, 192, 193, 208, 209, 384]

    @Test(arguments: KernelLevel.available) func everyLevelGivesTheBitsOfTheReference(level: KernelLevel) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in Self.inputs {
            for outputs in Self.outputs where dimensions < 100 || outputs > 100 {
                let rows = generator.gaussians(outputs * dimensions)
                let mean = Bool.random(using: &generator) ? generator.gaussians(dimensions) : nil
                let normalise = Bool.random(using: &generator)
                let transform = try VectorTransform(
                    inputDimensions: dimensions, preparation: VectorPreparation(normalise: normalise), mean: mean,
                    map: .matrix(ProjectionMatrix(rows: rows, inputDimensions: dimensions, outputDimensions: outputs)))
                let input = generator.gaussians(dimensions)
                let prepared = TransformReference.prepare(input, normalise: normalise, mean: mean)
                let (output, constants) = run(transform, input, level)
                try #require(bits(output) == bits(TransformReference.project(prepared.centred, rows: rows)), "\(level) \(dimensions)→\(outputs)")
                try #require(constants == CentredConstants(squaredNorm: prepared.squaredNorm, meanProduct: prepared.meanProduct))
            }
        }
    }

    @Test(arguments: KernelLevel.available) func everyLevelRotatesAsTheReference(level: KernelLevel) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in Array(1...70) + [100, 127, 128, 129, 384, 768, 1000, 16_383, 16_384] {
            let seed = generator.next()
            let transform = try VectorTransform(
                inputDimensions: dimensions, map: .rotation(SeededRotation(seed: seed, dimensions: dimensions)))
            let input = generator.gaussians(dimensions)
            let (output, _) = run(transform, input, level)
            try #require(bits(output) == bits(TransformReference.rotate(input, seed: seed)), "\(level) \(dimensions)")
        }
    }

    @Test(arguments: [1, 2, 3, 100, 128, 384, 768, 1000, 16_384]) func rotationsKeepNormsAndInnerProducts(dimensions: Int) throws {
        var generator = SeededGenerator.fresh()
        for _ in 0..<20 {
            let rotation = try SeededRotation(seed: generator.next(), dimensions: dimensions)
            let transform = try VectorTransform(inputDimensions: dimensions, map: .rotation(rotation))
            let (x, y) = (generator.gaussians(dimensions), generator.gaussians(dimensions))
            let (turnedX, turnedY) = (transform(x), transform(y))
            let norms = (dot(x, x) * dot(y, y)).squareRoot()
            #expect(abs(dot(turnedX, turnedX) / dot(x, x) - 1) < 1e-5)
            #expect(abs(dot(turnedX, turnedY) - dot(x, y)) < 1e-5 * norms)
        }
    }

    /// What a rotation is for: a vector on one axis, or on the half that a block does not touch, ends up on all of them.
    @Test(arguments: [128, 384, 768, 1000, 1023]) func rotationsSpreadASingleAxis(dimensions: Int) throws {
        let transform = try VectorTransform(
            inputDimensions: dimensions, map: .rotation(SeededRotation(seed: 7, dimensions: dimensions)))
        for axis in stride(from: 0, to: dimensions, by: 37) {
            var input = [Float](repeating: 0, count: dimensions)
            input[axis] = 1
            let largest = transform(input).map(abs).max() ?? 1
            #expect(largest < 5.5 / Float(dimensions).squareRoot(), "axis \(axis): \(largest)")
        }
    }

    @Test func seedsGiveOtherRotations() throws {
        var generator = SeededGenerator.fresh()
        let input = generator.gaussians(200)
        let outputs = try (0..<4).map { seed in
            try VectorTransform(inputDimensions: 200, map: .rotation(SeededRotation(seed: UInt64(seed), dimensions: 200)))(input)
        }
        #expect(Set(outputs.map(bits)).count == 4)
    }

    @Test func stagesFollowOneAnother() throws {
        let transform = try VectorTransform(
            inputDimensions: 4, preparation: VectorPreparation(prefix: 2, normalise: true), mean: [0.5, 0],
            map: .matrix(ProjectionMatrix(rows: [1, 0, 0, 2, 1, 1], inputDimensions: 2, outputDimensions: 3)))
        #expect(transform.outputDimensions == 3)
        let (output, constants) = run(transform, [3, 4, 100, 100], .best)
        #expect(zip(output, [0.1, 1.6, 0.9] as [Float]).allSatisfy { abs($0 - $1) < 1e-6 })
        #expect(abs(constants.squaredNorm - 0.65) < 1e-6 && abs(constants.meanProduct - 0.05) < 1e-6)
        #expect(transform([0, 0, 5, 5]) == [-0.5, 0, -0.5])
    }

    @Test func normsOfAnyFloatAreFinite() throws {
        let transform = try VectorTransform(inputDimensions: 3, preparation: VectorPreparation(normalise: true))
        #expect(transform([0, 0, 0]) == [0, 0, 0])
        #expect(transform([0, .leastNonzeroMagnitude, 0]) == [0, 1, 0])
        #expect(transform([0, 0, -.greatestFiniteMagnitude]) == [0, 0, -1])
    }

    @Test func refusesWhatDoesNotFit() throws {
        let matrix = try ProjectionMatrix(rows: [1, 2], inputDimensions: 2, outputDimensions: 1)
        func refused(_ make: () throws -> Void) { #expect { try make() } throws: { ($0 as? NeedletailError)?.code == .invalidArgument } }
        refused { _ = try VectorTransform(inputDimensions: 0) }
        refused { _ = try VectorTransform(inputDimensions: 16_385) }
        refused { _ = try VectorTransform(inputDimensions: 3, preparation: VectorPreparation(prefix: 4)) }
        refused { _ = try VectorTransform(inputDimensions: 3, preparation: VectorPreparation(prefix: 0)) }
        refused { _ = try VectorTransform(inputDimensions: 3, map: .matrix(matrix)) }
        refused { _ = try VectorTransform(inputDimensions: 3, map: .rotation(SeededRotation(seed: 1, dimensions: 2))) }
        refused { _ = try VectorTransform(inputDimensions: 2, mean: [1]) }
        refused { _ = try VectorTransform(inputDimensions: 2, mean: [1, .nan]) }
        refused { _ = try ProjectionMatrix(rows: [1, .infinity], inputDimensions: 2, outputDimensions: 1) }
        refused { _ = try ProjectionMatrix(rows: [1, 2, 3], inputDimensions: 2, outputDimensions: 1) }
        refused { _ = try SeededRotation(seed: 1, dimensions: 0) }
    }

    private func run(_ transform: VectorTransform, _ input: [Float], _ level: KernelLevel) -> ([Float], CentredConstants) {
        var scratch = TransformScratch()
        var constants = CentredConstants(squaredNorm: .nan, meanProduct: .nan)
        // One value beyond the output stands guard.
        var output = [Float](repeating: 12_345, count: transform.outputDimensions + 1)
        output.withUnsafeMutableBufferPointer { target in
            constants = transform.apply(input, scratch: &scratch, to: target.baseAddress!, kernels: TransformKernels(level: level))
        }
        #expect(output.removeLast() == 12_345)
        return (output, constants)
    }

    private func bits(_ values: [Float]) -> [UInt32] { values.map(\.bitPattern) }

    private func dot(_ left: [Float], _ right: [Float]) -> Double { zip(left, right).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
}
