import NeedletailCore
import NeedletailIndex
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// Graphs that walk on codes.
@Suite struct CodecWalkTests {
    static let specs = ["f32", "f16", "lvq8", "lvq4", "lvq4x8", "rotate,lvq8", "pca24,lvq8,rescore60", "prefix32,f32,rescore60"]

    /// 6,000 vectors whose later dimensions carry less, as embeddings' do.
    private func vectors(_ count: Int, _ generator: inout SeededGenerator) -> [[Float]] {
        (0..<count).map { _ in generator.gaussians(48).enumerated().map { $1 / Float(1 + $0 / 6) } }
    }

    @Test(arguments: specs)
    func answersAreExactDistancesOfTheNearest(spec: String) throws {
        var generator = SeededGenerator.fresh()
        let base = vectors(6_000, &generator)
        for metric in [NeedletailCore.Metric.l2, .cosine] {
            let index = try TestIndex(field: field(spec, metric), vectors: base, training: base)
            let queries = vectors(60, &generator)
            try #expect(index.recall(queries, ef: 100) >= 0.95, "\(spec) \(metric)")
            for query in queries.prefix(10) {
                let truth = Dictionary(uniqueKeysWithValues: try index.exact(query, limit: 200).map { ($0.slot, $0.distance) })
                for entry in try index.search(query, ef: 60) {
                    if let exact = truth[entry.slot] { #expect(abs(exact - entry.distance) <= 1e-5 * max(1, abs(exact))) }
                }
            }
        }
    }

    @Test func aGraphTakesToACodecWhileItIsUsed() throws {
        var generator = SeededGenerator.fresh()
        let base = vectors(6_000, &generator)
        let field = try field("lvq8", .l2)
        let index = try TestIndex(field: field, vectors: Array(base[..<4_000]), capacity: base.count)
        let before = try index.recall(Array(base[..<50]), ef: 64)
        let model = try CodecTraining.train(field, sample: VectorSample(base.flatMap(\.self), dimensions: 48))
        let codec = model.rowCodec()
        try index.graph.beginCodec(codec, codes: PlainSlotMemory(strideBytes: codec.strideBytes, capacity: base.count))
        // Written in both forms, found by both.
        for slot in 4_000..<5_000 { try index.insert(base[slot], slot: slot) }
        #expect(index.graph.codec == nil)
        var scratch = SearchScratch()
        for start in stride(from: 0, to: 4_000, by: 500) { index.graph.encode(slots: start..<start + 500, scratch: &scratch) }
        index.graph.adoptCodec()
        #expect(index.graph.codec != nil)
        for slot in 5_000..<6_000 { try index.insert(base[slot], slot: slot) }
        let after = try index.recall(Array(base.shuffled(using: &generator)[..<100]), ef: 64)
        #expect(after >= min(0.97, before - 0.02))
    }

    @Test func aGraphGoesFromOneCodecToAnother() throws {
        var generator = SeededGenerator.fresh()
        let base = vectors(4_000, &generator)
        let field = try field("lvq8", .l2)
        let index = try TestIndex(field: field, vectors: Array(base[..<3_000]), capacity: base.count)
        var scratch = SearchScratch()
        var memories: [WeakMemory] = []
        for round in 0..<3 {
            let sample = Array(base.shuffled(using: &generator)[..<1_000])
            let codec = try CodecTraining.train(field, sample: VectorSample(sample.flatMap(\.self), dimensions: 48)).rowCodec()
            let memory = PlainSlotMemory(strideBytes: codec.strideBytes, capacity: base.count)
            try index.graph.beginCodec(codec, codes: memory)
            memories.append(WeakMemory(memory: memory))
            for slot in 3_000 + round * 300..<3_200 + round * 300 { try index.insert(base[slot], slot: slot) }
            for start in stride(from: 0, to: 3_000 + round * 300, by: 300) { index.graph.encode(slots: start..<start + 300, scratch: &scratch) }
            #expect(index.graph.adoptCodec() == (round > 0))
            for slot in 3_200 + round * 300..<3_300 + round * 300 { try index.insert(base[slot], slot: slot) }
            try #expect(index.recall(Array(base[..<(3_300 + round * 300)].shuffled(using: &generator)[..<100]), ef: 64) >= 0.97)
            index.graph.releaseFormerCodes()
            #expect(memories.dropLast().allSatisfy { $0.memory == nil } && memories.last?.memory != nil)
            try #expect(index.recall(Array(base[..<100]), ef: 64) >= 0.97)
        }
    }

    private func field(_ spec: String, _ metric: NeedletailCore.Metric) throws -> VectorField {
        VectorField(name: "v", dimensions: 48, metric: metric, index: try IndexSpec(text: spec))
    }
}

private struct WeakMemory {
    weak var memory: PlainSlotMemory?
}

/// A batch of queries in one call.
@Suite struct BatchTests {
    @Test func answersAsOneByOneAndRefusesWhole() throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<4_000).map { _ in generator.gaussians(20) }
        for spec in ["none", "lvq8"] {
            let field = VectorField(name: "v", dimensions: 20, metric: .l2, index: try IndexSpec(text: spec))
            let index = try TestIndex(field: field, vectors: vectors, training: spec == "none" ? nil : vectors)
            let queries = (0..<70).map { _ in DenseVector(generator.gaussians(20)) }
            let lanes = WalkLanes()
            var scratch = SearchScratch()
            for size in [0, 1, 3, 70] {
                let batch = Array(queries.prefix(size))
                let together = try index.graph.search(batch: batch, limit: 10, ef: 40, deadline: nil, lanes: lanes)
                let alone = try batch.map { try index.graph.search($0, limit: 10, ef: 40, deadline: nil, scratch: &scratch) }
                #expect(together.map(\.nearest) == alone.map(\.nearest))
                #expect(together.map(\.work) == alone.map(\.work))
            }
            // A query that does not fit, while others walk; the lanes are as good as new after it.
            var wrong = queries
            wrong[9] = DenseVector([1, 2, 3])
            #expect(throws: NeedletailError.self) { _ = try index.graph.search(batch: wrong, limit: 10, ef: 40, deadline: nil, lanes: lanes) }
            let again = try index.graph.search(batch: queries, limit: 10, ef: 40, deadline: nil, lanes: lanes)
            #expect(again.count == 70 && again.allSatisfy { $0.nearest.count >= 10 })
            let late = try index.graph.search(batch: queries, limit: 10, ef: 400, deadline: .after(.seconds(-1)), lanes: lanes)
            #expect(late.contains { $0.isTruncated })
        }
    }
}
