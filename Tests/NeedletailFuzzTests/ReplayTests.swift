import Foundation
import NeedletailFuzzReaders
import NeedletailTestSupport
import Testing

/// What `make fuzz` once found, the seeds it starts from, and a few thousand mutations of both: no reader traps or hangs.
@Suite(.serialized, .watchedForHangs) struct ReplayTests {
    private static let corpus = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent("Fuzz/Corpus")

    @Test(arguments: FuzzReader.allCases) func keptCasesAndSeeds(_ reader: FuzzReader) throws {
        let seeds = reader.seeds()
        #expect(!seeds.isEmpty)
        for seed in seeds { reader.read(seed) }
        let folder = Self.corpus.appendingPathComponent(reader.rawValue)
        let files = (try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? []
        for file in files.sorted(by: { $0.path < $1.path }) { reader.read([UInt8](try Data(contentsOf: file))) }
    }

    @Test(arguments: FuzzReader.allCases) func mutations(_ reader: FuzzReader) {
        var random = SeededGenerator.fresh()
        let seeds = reader.seeds()
        for _ in 0..<500 {
            var bytes = seeds[Int.random(in: seeds.indices, using: &random)]
            for _ in 0..<Int.random(in: 1...4, using: &random) where !bytes.isEmpty {
                let at = Int.random(in: bytes.indices, using: &random)
                switch Int.random(in: 0..<4, using: &random) {
                case 0: bytes[at] ^= 1 << UInt8.random(in: 0...7, using: &random)
                case 1: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 2: bytes.removeSubrange(at..<min(bytes.count, at + Int.random(in: 1...20, using: &random)))
                default: bytes.insert(contentsOf: (0..<Int.random(in: 1...20, using: &random)).map { _ in UInt8(at & 255) }, at: at)
                }
            }
            reader.read(bytes)
        }
    }
}
