import NeedletailCore
import NeedletailTestSupport
import Testing

/// Specs that nobody would write: each is refused in words or read as something that can be written again.
@Suite struct IndexSpecFuzzTests {
    private static let seeds = [
        "prefix64,centre,rotate(seed=7),hnsw(m=16,ef_construction=200,seed=1),lvq4x8,rescore(50,file)", "pca160,hnsw32,lvq8,rescore50",
        "leanvec160(queries) -> hnsw -> lvq4 -> rescore(file)", "whiten160→f16", "fft12,f32", "none", "",
    ] + CodecSpec.examples.map(\.name)
    private static let words =
        CodecSpec.examples.map(\.name) + [
            "prefix", "centre", "center", "rotate", "pca", "leanvec", "whiten", "fft", "hnsw", "rescore", "seed=", "m=", "ef_construction=", "queries", "file",
            "memory",
            "(", ")", ",", "->", "→", "-", ">", " ", "=", "0", "1", "16", "255", "18446744073709551616", "-1", "+1", "x", "é", "٣", "\u{0}", "\u{301}",
            "lvq", "pq", "rq", "rabitq", "x4", "x8", "９",
        ]

    @Test func mutatedSpecsNeverCrash() throws {
        var generator = SeededGenerator.fresh()
        var accepted = 0
        for round in 0..<60_000 {
            let text = round % 2 == 0 ? Self.mutated(&generator) : Self.random(&generator)
            accepted += try Self.check(text) ? 1 : 0
        }
        // Otherwise nothing but the refusals was tested.
        #expect(accepted > 1_000)
    }

    /// Whether the text was accepted.
    private static func check(_ text: String) throws -> Bool {
        let spec: IndexSpec
        do {
            spec = try IndexSpec(text: text)
        } catch {
            IndexSpecTextTests.expectRefusal(error, of: text)
            return false
        }
        try #require(try IndexSpec(text: spec.description) == spec, "\(text) was read as \(spec)")
        for metric in [NeedletailCore.Metric.l2, .cosine, .dot] {
            do {
                try spec.validate(field: "v", dimensions: 768, metric: metric, element: .f32)
            } catch {
                IndexSpecTextTests.expectRefusal(error, of: text)
            }
        }
        return true
    }

    private static func random(_ generator: inout SeededGenerator) -> String {
        (0..<Int.random(in: 0..<8, using: &generator)).map { _ in words.randomElement(using: &generator) ?? "" }.joined()
    }

    /// A good spec with up to three characters or words removed, doubled, replaced or put in.
    private static func mutated(_ generator: inout SeededGenerator) -> String {
        var characters = Array(seeds.randomElement(using: &generator) ?? "")
        for _ in 0..<Int.random(in: 0...3, using: &generator) {
            let at = Int.random(in: 0...characters.count, using: &generator)
            let word = Array(words.randomElement(using: &generator) ?? "")
            switch Int.random(in: 0..<4, using: &generator) {
            case 0 where at < characters.count: characters.remove(at: at)
            case 1 where at < characters.count: characters.insert(characters[at], at: at)
            case 2 where at < characters.count: characters.replaceSubrange(at...at, with: word)
            default: characters.insert(contentsOf: word, at: at)
            }
        }
        return String(characters)
    }
}
