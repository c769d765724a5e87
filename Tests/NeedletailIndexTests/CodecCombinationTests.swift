import NeedletailCore
import NeedletailIndex
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// Every transform with every codec, metric and way to rescore: what validates is built and answers.
@Suite struct CodecCombinationTests {
    static let codecs = ["none", "f32", "f16", "lvq8", "lvq4", "lvq4x8", "rabitq1", "rabitq2", "rabitq4", "pq6", "pq5x4", "rq2"]
    private static let transforms = [
        "", "centre,", "rotate,", "rotate(seed=9),", "prefix16,", "pca14,", "prefix20,pca12,", "centre,leanvec14,", "leanvec14(queries),", "whiten14,",
        "fft16,", "prefix20,centre,fft16,",
    ]
    private static let rescores = ["", ",rescore60", ",rescore(file)", ",rescore(60,file)"]
    private static let dimensions = 24

    /// Vectors whose later dimensions carry less, off the origin, so that every transform keeps most of them.
    private static func vectors(_ count: Int, _ generator: inout SeededGenerator) -> [[Float]] {
        (0..<count).map { _ in generator.gaussians(dimensions).enumerated().map { 0.3 + $1 / Float(1 + $0) } }
    }

    @Test(arguments: codecs) func whatValidatesBuildsAndAnswers(codec: String) throws {
        var generator = SeededGenerator.fresh()
        let base = Self.vectors(260, &generator)
        let queries = Self.vectors(8, &generator)
        var built = 0
        for transform in Self.transforms {
            for metric in [NeedletailCore.Metric.l2, .cosine, .dot] {
                for rescore in Self.rescores {
                    let field = VectorField(
                        name: "v", dimensions: Self.dimensions, metric: metric, index: try IndexSpec(text: transform + codec + rescore))
                    do throws(NeedletailError) { try field.validate() } catch {
                        #expect(error.code == .invalidArgument && error.message.contains("\"v\""))
                        continue
                    }
                    try Self.check(field, base, queries)
                    built += 1
                }
            }
        }
        print("\(codec): \(built) combinations")
        // Whitening is not for inner products; without a codec there is nothing to transform or to measure again.
        #expect(built == (codec == "none" ? 3 : (Self.transforms.count * 3 - 1) * Self.rescores.count))
    }

    private static func check(_ field: VectorField, _ base: [[Float]], _ queries: [[Float]]) throws {
        let training = field.index.needsTraining ? base : nil
        let index = try TestIndex(field: field, vectors: base, training: training, queries: queries)
        var (hits, reached) = (0, 0)
        for query in queries {
            let truth = BruteForce.nearest(field.metric, to: query, in: base, limit: 10).map { UInt32($0) }
            let distances = Dictionary(uniqueKeysWithValues: try index.exact(query, limit: base.count).map { ($0.slot, $0.distance) })
            let found = try index.search(query, ef: 100)
            #expect(found.allSatisfy { distances[$0.slot] == $0.distance }, "\(field.index) \(field.metric): a score that is not exact")
            #expect(zip(found, found.dropFirst()).allSatisfy { $0.distance <= $1.distance }, "\(field.index) \(field.metric): out of order")
            hits += found.prefix(10).count { truth.contains($0.slot) }
            // With all points measured again nothing is left to the codec.
            var scratch = SearchScratch()
            let all = try index.graph.search(
                DenseVector(query), limit: base.count, ef: base.count, rescore: 2 * base.count, deadline: nil, scratch: &scratch)
            reached += all.nearest.prefix(10).count { truth.contains($0.slot) }
        }
        // Few coarse codes leave a point or two without a link to them. Whitening is not meant to keep distances, nor are waves.
        #expect(reached >= 10 * queries.count * 9 / 10, "\(field.index) \(field.metric): \(reached) when all are measured again")
        let least = switch field.index.transform.map { case .whitening, .fourier: 3 default: 7 }
        #expect(hits >= queries.count * least, "\(field.index) \(field.metric): recall@10 \(Double(hits) / Double(10 * queries.count))")
    }

    /// Specs put together at random, for fields of few dimensions: refused in words, or built and answering.
    @Test func randomSpecsAreRefusedOrAnswer() throws {
        var generator = SeededGenerator.fresh()
        var (built, refused) = (0, 0)
        for _ in 0..<1_500 {
            let dimensions = Int.random(in: 1...20, using: &generator)
            let text = Self.randomSpec(&generator)
            let metric = [NeedletailCore.Metric.l2, .cosine, .dot].randomElement(using: &generator) ?? .l2
            let vectors = (0..<Int.random(in: 1...300, using: &generator)).map { _ in generator.gaussians(dimensions) }
            do {
                let field = VectorField(name: "v", dimensions: dimensions, metric: metric, index: try IndexSpec(text: text))
                try field.validate()
                let index = try TestIndex(field: field, vectors: vectors, training: field.index.needsTraining ? vectors : nil, queries: vectors)
                let found = try index.search(vectors[0], ef: 16)
                #expect(!found.isEmpty && found.allSatisfy { $0.distance.isFinite }, "\(text) in \(dimensions) dimensions")
                built += 1
            } catch let error as NeedletailError {
                #expect(error.code == .invalidArgument && !error.message.isEmpty, "\(text) in \(dimensions) dimensions: \(error)")
                refused += 1
            }
        }
        print("\(built) built, \(refused) refused")
        #expect(built >= 200 && refused >= 200)
    }

    private static func randomSpec(_ generator: inout SeededGenerator) -> String {
        func number(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &generator) }
        let few = number(0...22)
        let map = ["", "centre,", "rotate,", "pca\(few),", "leanvec\(few),", "leanvec\(few)(queries),", "whiten\(few),", "fft\(few),"]
        let codec = [
            "none", "f32", "f16", "lvq8", "lvq4", "lvq4x8", "rabitq\([1, 2, 4, 3][number(0...3)])", "pq\(few)", "pq\(few)x4", "pq3x\(few)", "rq\(number(0...4))",
        ]
        return [
            number(0...3) == 0 ? "prefix\(number(0...21))," : "", map[number(0...map.count - 1)], number(0...3) == 0 ? "hnsw(m=\(number(3...9)))," : "",
            codec[number(0...codec.count - 1)], ["", "", ",rescore\(number(0...40))", ",rescore(file)"][number(0...3)],
        ].joined()
    }
}
