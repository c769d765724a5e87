import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct CodecSpecTests {
    /// Checkpoints hold these bytes.
    @Test(arguments: [
        (CodecSpec.asGiven, [0]), (.f32, [1]), (.f16, [2]), (.lvq8, [3]), (.lvq4, [4]), (.lvq4x8, [5]), (.rabitq(bits: 2), [6, 2]),
        (.pq(subspaces: 200, bits: 4), [7, 0xc8, 1, 4]), (.rq(levels: 8), [8, 8]),
    ] as [(CodecSpec, [UInt8])]) func bytesNeverChange(codec: CodecSpec, bytes: [UInt8]) throws {
        var writer = ByteWriter()
        codec.encode(to: &writer)
        #expect(writer.bytes == bytes)
        var reader = ByteReader(bytes)
        #expect(try CodecSpec(from: &reader) == codec)
        try reader.expectEnd()
    }

    @Test func damagedBytesAreRefused() {
        for bytes: [UInt8] in [[], [9], [6], [6, 3], [7, 0, 8], [7, 32, 5], [7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 8], [8, 0], [8, 17]] {
            #expect(performing: {
                var reader = ByteReader(bytes)
                _ = try CodecSpec(from: &reader)
            }, throws: { ($0 as? NeedletailError)?.code == .dataLoss })
        }
    }

    @Test(arguments: [
        (CodecSpec.rabitq(bits: 3), "1, 2 or 4"), (.pq(subspaces: 0, bits: 8), "1 to 64"), (.pq(subspaces: 65, bits: 8), "1 to 64"),
        (.pq(subspaces: 8, bits: 5), "4 (pq8x4)"), (.rq(levels: 0), "1 to 16"), (.rq(levels: 17), "1 to 16"),
    ]) func numbersThatThereAreNotAreNamed(codec: CodecSpec, word: String) {
        #expect(codec.problem(dimensions: 64)?.contains(word) == true)
    }

    @Test func everyExampleIsAllRight() {
        for codec in CodecSpec.examples {
            #expect(CodecSpec(name: codec.name) == codec)
            #expect(codec.problem(dimensions: 768) == nil)
        }
    }
}
