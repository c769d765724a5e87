import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailTestSupport
import Testing

/// F19: a recall target on queries that the calibration has not seen.
@Suite struct RecallTargetTests {
    static let sets = ["T1", "T2", "T3", "T5-32"]

    @Test(arguments: sets)
    func heldOutQueriesComeNearTheTarget(name: String) throws {
        let set = switch name {
        case "T1": SyntheticSets.tight(count: 10_000, queries: 4_000, seed: 1)
        case "T2": SyntheticSets.nested(count: 10_000, queries: 4_000, seed: 2)
        case "T3": SyntheticSets.powerLaw(count: 10_000, queries: 4_000, seed: 3)
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

    /// The chance that a shard's r-th nearest is among the k nearest of all.
    @Test func ranksWeighByTheirPartInTheMergedAnswer() {
        #expect(RecallCalibration.rankWeights(limit: 3, share: 1) == [1, 1, 1])
        let halves = RecallCalibration.rankWeights(limit: 2, share: 0.5)
        #expect(abs(halves[0] - 0.75) < 1e-12 && abs(halves[1] - 0.25) < 1e-12)
        for (limit, share) in [(10, 0.25), (1_000, 0.7), (1_000, 1.0 / 256), (100, 0.999)] {
            let weights = RecallCalibration.rankWeights(limit: limit, share: share)
            #expect(weights.count == limit && zip(weights, weights.dropFirst()).allSatisfy { $0 >= $1 } && (weights.first ?? 2) <= 1)
            // Their sum is how many of the answers the shard is expected to give.
            #expect(abs(weights.reduce(0, +) - Double(limit) * share) < 1e-6 * Double(limit), "\(limit) \(share)")
        }
    }

    /// Four shards, each at the target by its own measure, are at it together.
    @Test func shardsThatMeetTheTargetMeetItMerged() throws {
        let set = SyntheticSets.nested(count: 12_000, queries: 2_000, seed: 3)
        let (limit, target) = (10, 0.9)
        let field = VectorField(name: "v", dimensions: set.base.dimensions, metric: .cosine, index: try IndexSpec(text: "hnsw(m=8)"))
        let queries = set.queries.vectors.map { DenseVector($0) }
        var scratch = SearchScratch()
        var (found, truth) = (Array(repeating: [SlotDistance](), count: 1_000), Array(repeating: [SlotDistance](), count: 1_000))
        for shard in 0..<4 {
            let index = try TestIndex(field: field, vectors: set.base.vectors.enumerated().filter { $0.offset % 4 == shard }.map(\.element))
            let choice = try index.graph.calibrate(queries: Array(queries[..<1_000]), limit: limit, share: 0.25, scratch: &scratch).choose(target: target)
            for (number, query) in queries[1_000...].enumerated() {
                let walked = try index.graph.search(
                    query, limit: limit, ef: choice.effort.ef, distanceLimit: choice.effort.distanceLimit, deadline: nil, scratch: &scratch)
                let exact = try index.graph.exactSearch(query, limit: limit, deadline: nil, scratch: &scratch, precedes: <)
                let global = { (entry: SlotDistance) in SlotDistance(slot: entry.slot * 4 + UInt32(shard), distance: entry.distance) }
                found[number] += walked.nearest.prefix(limit).map(global)
                truth[number] += exact.nearest.map(global)
            }
        }
        let nearest = { (all: [SlotDistance]) in Set(all.sorted { ($0.distance, $0.slot) < ($1.distance, $1.slot) }.prefix(limit).map(\.slot)) }
        let hits = zip(found, truth).reduce(0) { $0 + nearest($1.0).intersection(nearest($1.1)).count }
        let recall = Double(hits) / Double(1_000 * limit)
        print("four shards, target \(target): \(recall)")
        #expect(recall >= target - 0.01 && recall <= target + 0.04)
    }
}
