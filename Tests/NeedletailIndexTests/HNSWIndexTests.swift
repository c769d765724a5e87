import NeedletailCore
import NeedletailIndex
import NeedletailTestSupport
import NeedletailVectors
import Testing

@Suite struct HNSWIndexTests {
    /// F2, intrinsic dimension 32: 30,000 × 256.
    @Test func recallOnIntrinsicDimension32() throws {
        let set = SyntheticSets.subspace(rank: 32, seed: 32)
        let queries = set.queries.vectors
        let index = try TestIndex(field: VectorField(name: "v", dimensions: 256, metric: .cosine), vectors: set.base.vectors)
        #expect(try index.recall(queries, ef: 64) >= 0.90)
        #expect(try index.recall(queries, ef: 128) >= 0.97)
    }

    /// F2, raw inner product with log-normal norms (σ 0.5).
    @Test func recallOfInnerProductWithUnequalNorms() throws {
        var generator = SeededGenerator(seed: 5)
        let set = SyntheticSets.subspace(rank: 32, seed: 32)
        let scaled = set.base.vectors.map { vector in
            let norm = Float.exp(0.5 * generator.gaussian())
            return vector.map { $0 * norm }
        }
        let index = try TestIndex(field: VectorField(name: "v", dimensions: 256, metric: .dot), vectors: scaled)
        #expect(try index.recall(set.queries.vectors, ef: 256) >= 0.90)
    }

    @Test(arguments: [Metric.l2, .cosine, .dot]) func exactSearchEqualsBruteForce(metric: Metric) throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<700).map { _ in generator.gaussians(24) }
        let index = try TestIndex(field: VectorField(name: "v", dimensions: 24, metric: metric), vectors: vectors)
        for _ in 0..<50 {
            let query = generator.gaussians(24)
            let got = try index.exact(query, limit: 10)
            #expect(got.map { Int($0.slot) } == BruteForce.nearest(metric, to: query, in: vectors, limit: 10))
        }
    }

    @Test func oneThreadAndOneSeedGiveOneGraph() throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<2_000).map { _ in generator.gaussians(16) }
        let field = VectorField(name: "v", dimensions: 16, metric: .l2)
        let (first, second) = (try TestIndex(field: field, vectors: vectors), try TestIndex(field: field, vectors: vectors))
        for _ in 0..<50 {
            let query = generator.gaussians(16)
            #expect(try first.search(query, ef: 20) == second.search(query, ef: 20))
        }
    }

    /// Retire half, repair, release, fill the slots again: no retired point is ever answered, and recall stays.
    @Test func retiredSlotsAreRepairedAroundAndUsedAgain() throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<4_000).map { _ in generator.gaussians(16) }
        let field = VectorField(name: "v", dimensions: 16, metric: .l2)
        let index = try TestIndex(field: field, vectors: vectors)
        let retired = Set((0..<4_000).shuffled(using: &generator).prefix(2_000))
        let doomed = SlotBits(capacity: 4_000)
        for slot in retired {
            index.graph.retire(slot: UInt32(slot))
            doomed.set(slot)
        }
        index.graph.replaceRetiredEntry()
        var scratch = SearchScratch()
        #expect(index.graph.repair(slots: 0..<4_000, doomed: doomed, scratch: &scratch) > 0)
        #expect(index.graph.repair(slots: 0..<4_000, doomed: doomed, scratch: &scratch) == 0, "a second pass finds nothing to cut")
        #expect(try index.recall((0..<100).map { _ in generator.gaussians(16) }, ef: 100) >= 0.95)
        for slot in retired { index.graph.release(slot: UInt32(slot)) }
        for slot in retired { try index.insert(generator.gaussians(16), slot: slot) }
        #expect(try index.recall((0..<100).map { _ in generator.gaussians(16) }, ef: 100) >= 0.97)
    }

    /// After the last node was retired the graph begins anew with the next one.
    @Test func aGraphWithoutLiveNodesBeginsAnew() throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<600).map { _ in generator.gaussians(8) }
        let index = try TestIndex(field: VectorField(name: "v", dimensions: 8, metric: .l2), vectors: Array(vectors.prefix(300)), capacity: 600)
        for slot in 0..<300 { index.graph.retire(slot: UInt32(slot)) }
        for slot in 300..<600 { try index.insert(vectors[slot], slot: slot) }
        let found = Set(try index.search(vectors[0], ef: 300).map(\.slot))
        #expect(found == Set(300..<600))
    }

    /// Copies of a vector neither hide other points nor each other, whichever came first.
    @Test(arguments: [Metric.l2, .cosine, .dot]) func exactSearchesTogetherAnswerAsEachAlone(metric: Metric) throws {
        var generator = SeededGenerator.fresh()
        // Not a whole number of blocks, and every tenth point twice.
        var vectors = (0..<2_345).map { _ in generator.gaussians(100) }
        for index in stride(from: 10, to: vectors.count, by: 10) { vectors[index] = vectors[index - 1] }
        let index = try TestIndex(field: VectorField(name: "v", dimensions: 100, metric: metric), vectors: vectors)
        let queries = vectors.prefix(40) + (0..<30).map { _ in generator.gaussians(100) }
        var scratch = SearchScratch()
        let together = try index.graph.exactSearch(batch: queries.map { DenseVector($0) }, limit: 7, deadline: nil, scratch: &scratch, precedes: <)
        #expect(together.map(\.nearest) == (try queries.map { try index.exact($0, limit: 7) }))
        #expect(together.allSatisfy { $0.work.distances == 2_345 })
        let truncated = try index.graph.exactSearch(
            batch: queries.map { DenseVector($0) }, limit: 7, deadline: .after(.seconds(-1)), scratch: &scratch, precedes: <)
        #expect(truncated.count == queries.count)
        #expect(try index.graph.exactSearch(batch: [], limit: 7, deadline: nil, scratch: &scratch, precedes: <).isEmpty)
    }

    @Test(arguments: [Metric.l2, .cosine, .dot]) func copiesDoNotRuinTheGraph(metric: Metric) throws {
        var generator = SeededGenerator.fresh()
        let zero = [Float](repeating: 0, count: 16)
        let one = generator.gaussians(16)
        // Off the origin, as embeddings are. A heap of copies in the very middle of the data, nearer to every query than its true neighbours,
        // fills any beam that is narrower than the heap.
        let random = (0..<2_000).map { _ in generator.gaussians(16).map { $0 + 1.5 } }
        let few = (0..<20).map { _ in generator.gaussians(16) }
        for (what, vectors) in [
            ("zeros first", Array(repeating: zero, count: 2_000) + random), ("zeros last", random + Array(repeating: zero, count: 2_000)),
            ("copies first", Array(repeating: one, count: 2_000) + random), ("20 × 100", (0..<2_000).map { few[$0 % 20] } + random),
        ] {
            let index = try TestIndex(field: VectorField(name: "v", dimensions: 16, metric: metric), vectors: vectors)
            // Judged by distances: of equal ones any will do.
            var hits = 0
            for query in random.prefix(100) {
                let worst = try index.exact(query, limit: 10).last!.distance
                hits += try index.search(query, ef: 128).prefix(10).count { $0.distance <= worst }
            }
            #expect(hits >= 970, "\(metric), \(what): recall \(Double(hits) / 1_000)")
            if metric != .dot {
                let reached = try index.search(random[0], limit: vectors.count, ef: vectors.count).count
                #expect(reached >= vectors.count * 99 / 100, "\(metric), \(what): \(reached) of \(vectors.count) reached")
            }
        }
    }

    @Test func answersWhileOthersInsert() async throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<6_000).map { _ in generator.gaussians(16) }
        let queries = (0..<50).map { _ in generator.gaussians(16) }
        let field = VectorField(name: "v", dimensions: 16, metric: .l2)
        let index = try TestIndex(field: field, vectors: Array(vectors.prefix(1_000)), capacity: 6_000)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for part in 0..<2 {
                group.addTask {
                    for slot in stride(from: 1_000 + part, to: 6_000, by: 2) { try index.insert(vectors[slot], slot: slot) }
                }
            }
            group.addTask {
                for query in queries + queries + queries {
                    for found in try index.search(query, ef: 50) {
                        // A distance that is not the slot's own would be a vector read half-written.
                        let expected = BruteForce.distance(.l2, query, vectors[Int(found.slot)])
                        #expect(abs(Double(found.distance) - expected) <= 1e-4 * max(1, expected))
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(try index.recall(queries, ef: 100) >= 0.97)
    }

    @Test func deadlineCutsTheWalkAndSaysSo() throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<5_000).map { _ in generator.gaussians(16) }
        let index = try TestIndex(field: VectorField(name: "v", dimensions: 16, metric: .l2), vectors: vectors)
        var scratch = SearchScratch()
        let result = try index.graph.search(
            DenseVector(vectors[0]), limit: 10, ef: 2_000, deadline: .after(.seconds(-1)), scratch: &scratch)
        #expect(result.isTruncated)
        #expect(!result.nearest.isEmpty)
    }
}

extension Float {
    static func exp(_ value: Double) -> Float {
        // Enough terms for |value| ≤ 4; keeps the test free of imports.
        var (term, sum) = (1.0, 1.0)
        for index in 1..<40 {
            term *= value / Double(index)
            sum += term
        }
        return Float(sum)
    }
}
