import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailTestSupport
import Testing

/// F19: a recall target on queries that the calibration has not seen.
@Suite struct RecallTargetTests {
    static let sets = ["T1", "T2", "T5-32"]

    @Test(arguments: sets)
    func heldOutQueriesComeNearTheTarget(name: String) throws {
        let set = switch name {
        case "T1": SyntheticSets.tight(count: 10_000, queries: 4_000, seed: 1)
        case "T2": SyntheticSets.nested(count: 10_000, queries: 4_000, seed: 2)
        default: SyntheticSets.subspace(rank: 32, count: 10_000, queries: 4_000, seed: 5)
        }
        let field = VectorField(name: "v", dimensions: set.base.dimensions, metric: .cosine, index: try IndexSpec(text: "lvq8"))
        let index = try TestIndex(field: field, vectors: set.base.vectors, training: set.base.vectors)
        let queries = set.queries.vectors.map { DenseVector($0) }
        var scratch = SearchScratch()
        let calibration = try index.graph.calibrate(queries: Array(queries[..<2_000]), limit: 10, scratch: &scratch)
        for target in [0.9, 0.95, 0.99] {
            guard let effort = calibration.effort(target: target) else {
                // Said to be out of reach, so the greatest effort must miss it.
                #expect(calibration.steps.allSatisfy { $0.recall < target })
                continue
            }
            var hits = 0
            for query in queries[2_000...] {
                let truth = Set(try index.graph.exactSearch(query, limit: 10, deadline: nil, scratch: &scratch, precedes: <).nearest.map(\.slot))
                let found = try index.graph.search(
                    query, limit: 10, ef: effort.ef, distanceLimit: effort.distanceLimit, deadline: nil, scratch: &scratch)
                hits += found.nearest.prefix(10).count { truth.contains($0.slot) }
            }
            let recall = Double(hits) / 20_000
            print("\(name) target \(target): \(effort) gives \(recall)")
            #expect(recall >= target - 0.005 && recall <= target + 0.03, "\(name) target \(target): \(effort) gives \(recall)")
        }
    }

    @Test func saysWhatCannotBeReached() throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<3_000).map { _ in generator.gaussians(64) }
        // Four dimensions of 64, and nothing measured again: no effort finds the nearest.
        let field = VectorField(name: "v", dimensions: 64, metric: .l2, index: try IndexSpec(text: "prefix4,f32,rescore(1)"))
        let index = try TestIndex(field: field, vectors: vectors, training: vectors)
        var scratch = SearchScratch()
        let calibration = try index.graph.calibrate(queries: vectors[..<50].map { DenseVector($0) }, limit: 10, scratch: &scratch)
        #expect(calibration.effort(target: 0.95) == nil)
        #expect(throws: NeedletailError.self) { try index.graph.calibrate(queries: [], limit: 10, scratch: &scratch) }
    }
}
