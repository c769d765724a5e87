import NeedletailCore
import NeedletailTestSupport
import NeedletailVectors
import Testing

@Suite struct TransformCodingTests {
    static func samples() throws -> [VectorTransform] {
        var generator = SeededGenerator(seed: 11)
        let matrix = try ProjectionMatrix(rows: generator.gaussians(15), inputDimensions: 5, outputDimensions: 3)
        return [
            try VectorTransform(inputDimensions: 7),
            try VectorTransform(
                inputDimensions: 9, preparation: VectorPreparation(prefix: 5, normalise: true), mean: generator.gaussians(5), map: .matrix(matrix)),
            try VectorTransform(inputDimensions: 300, map: .rotation(SeededRotation(seed: .max, dimensions: 300))),
            try VectorTransform(
                inputDimensions: 300, preparation: VectorPreparation(prefix: 6), map: .rotation(SeededRotation(seed: 3, dimensions: 6))),
        ]
    }

    @Test func readsWhatItWrote() throws {
        for transform in try Self.samples() {
            let read = try decode(encode(transform))
            #expect(read == transform)
            #expect(read.hashValue == transform.hashValue)
            let input = (0..<transform.inputDimensions).map { Float($0) * 0.37 - 1 }
            #expect(read(input) == transform(input))
        }
    }

    /// A stored transform outlives the build that wrote it: these bytes must be read for as long as version 1 is.
    @Test func readsTheBytesOfVersionOne() throws {
        let bytes: [UInt8] = [
            1, 3, 7, 2, 0, 0, 0, 0x3f, 0, 0, 0x80, 0xbf, 2, 1, 0, 0, 0x80, 0x3f, 0, 0, 0, 0x40,
        ]
        let expected = try VectorTransform(
            inputDimensions: 3, preparation: VectorPreparation(prefix: 2, normalise: true), mean: [0.5, -1],
            map: .matrix(ProjectionMatrix(rows: [1, 2], inputDimensions: 2, outputDimensions: 1)))
        #expect(try decode(bytes) == expected)
        #expect(encode(expected) == bytes)
    }

    @Test func everyCutIsRefused() throws {
        for bytes in try Self.samples().map(encode) {
            for length in 0..<bytes.count {
                #expect(throws: NeedletailError.self) { try decode(Array(bytes.prefix(length))) }
            }
        }
    }

    /// A flipped byte is refused with a typed error or gives a transform that still works; it never traps.
    @Test func flippedBytesNeverTrap() throws {
        var generator = SeededGenerator.fresh()
        for bytes in try Self.samples().map(encode) {
            for _ in 0..<2_000 {
                var damaged = bytes
                damaged[Int.random(in: bytes.indices, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
                do {
                    let transform = try decode(damaged)
                    _ = transform([Float](repeating: 1, count: transform.inputDimensions))
                } catch let error as NeedletailError {
                    #expect([.dataLoss, .unimplemented].contains(error.code), "\(error)")
                }
            }
        }
    }

    @Test func laterVersionsAndValuesThatAreNotFiniteAreRefused() throws {
        #expect { try decode([2, 7, 0, 0]) } throws: { ($0 as? NeedletailError)?.code == .unimplemented }
        #expect { try decode([1, 1, 2, 0, 0, 0xc0, 0x7f, 0]) } throws: { ($0 as? NeedletailError)?.code == .dataLoss }
        #expect { try decode([1, 7, 8, 0]) } throws: { ($0 as? NeedletailError)?.code == .dataLoss }
        #expect { try decode([1, 7, 0, 9]) } throws: { ($0 as? NeedletailError)?.code == .dataLoss }
        // 16,384 × 16,384 values in a few bytes: refused before room is made for them.
        #expect { try decode([1, 0x80, 0x80, 1, 0, 2, 0x80, 0x80, 1, 0]) } throws: { ($0 as? NeedletailError)?.code == .dataLoss }
    }

    private func encode(_ transform: VectorTransform) -> [UInt8] {
        var writer = ByteWriter()
        transform.encode(to: &writer)
        return writer.bytes
    }

    private func decode(_ bytes: [UInt8]) throws -> VectorTransform {
        var reader = ByteReader(bytes)
        let transform = try VectorTransform(from: &reader)
        try reader.expectEnd()
        return transform
    }
}
