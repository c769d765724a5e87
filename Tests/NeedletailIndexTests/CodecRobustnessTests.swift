import NeedletailCore
import NeedletailIndex
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// Vectors that nobody hopes for, with every codec: refused in words, or answered as brute force does.
@Suite struct CodecRobustnessTests {
    static let specs = [
        "none", "f32", "f16", "lvq8", "lvq4", "lvq4x8", "rabitq1", "rabitq2", "rabitq4", "pq4", "pq4x4", "rq2", "rotate,lvq8", "pca6,lvq8", "leanvec6,rabitq4",
        "fft6,f16", "prefix6,pq3",
    ]
    private static let metrics = [NeedletailCore.Metric.l2, .cosine, .dot]
    private static let dimensions = 12

    private static func field(_ spec: String, _ metric: NeedletailCore.Metric, dimensions: Int = dimensions) throws -> VectorField {
        let field = VectorField(name: "v", dimensions: dimensions, metric: metric, index: try IndexSpec(text: spec))
        try field.validate()
        return field
    }

    private static func index(_ field: VectorField, _ vectors: [[Float]], training: [[Float]]? = nil, capacity: Int? = nil) throws -> TestIndex {
        try TestIndex(field: field, vectors: vectors, capacity: capacity, training: field.index.needsTraining ? training ?? vectors : nil)
    }

    /// What is answered are exact distances, nearest first; with all points measured again and `reaches`, the nearest that there are.
    private static func check(_ index: TestIndex, _ query: [Float], count: Int, reaches: Bool = true, _ comment: String) throws {
        var scratch = SearchScratch()
        let exact = try index.exact(query, limit: count)
        let distances = Dictionary(uniqueKeysWithValues: exact.map { ($0.slot, $0.distance) })
        #expect(exact.count == count && exact.allSatisfy { $0.distance.isFinite }, "\(comment)")
        let all = try index.graph.search(DenseVector(query), limit: count, ef: max(16, count), rescore: 2 * count, deadline: nil, scratch: &scratch)
        for found in [all.nearest, try index.search(query, ef: 16)] {
            #expect(found.count >= min(10, count), "\(comment)")
            #expect(found.allSatisfy { distances[$0.slot] == $0.distance }, "\(comment)")
            #expect(zip(found, found.dropFirst()).allSatisfy { $0.distance <= $1.distance }, "\(comment)")
        }
        // By distances: of equal vectors any will do.
        if reaches { #expect(all.nearest.prefix(10).map(\.distance) == exact.prefix(10).map(\.distance), "\(comment)") }
    }

    @Test(arguments: specs) func valuesThatAreNoNumbersAreRefused(spec: String) throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<300).map { _ in generator.gaussians(Self.dimensions) }
        for metric in Self.metrics {
            let index = try Self.index(try Self.field(spec, metric), vectors)
            for bad in [Float.nan, .infinity, -.infinity, .greatestFiniteMagnitude] {
                var vector = vectors[0]
                vector[7] = bad
                for refused in [{ _ = try index.search(vector, ef: 16) }, { _ = try index.exact(vector, limit: 3) }, { try index.insert(vector, slot: 0) }] {
                    #expect(performing: refused, throws: { error in
                        guard let error = error as? NeedletailError else { return false }
                        return error.code == .invalidArgument && error.message.contains("field \"v\"")
                            && (error.message.contains("finite") || error.message.contains("norm"))
                    })
                }
            }
            for length in [0, 11, 13] {
                #expect(throws: NeedletailError.self) { _ = try index.search([Float](repeating: 1, count: length), ef: 16) }
            }
        }
        #expect(throws: NeedletailError.self) { _ = try VectorSample([1, .nan], dimensions: 2) }
    }

    /// What a vector may be: from all zeros to the longest there is.
    private static func extremes(_ generator: inout SeededGenerator) -> [String: () -> [Float]] {
        var generator = generator
        func scaled(_ scale: Float) -> [Float] { generator.gaussians(dimensions).map { $0 * scale } }
        var wide: [Float] { generator.gaussians(dimensions).enumerated().map { $1 * ($0.isMultiple(of: 2) ? 1e17 : 1e-30) } }
        return [
            "zero": { [Float](repeating: 0, count: dimensions) }, "negative zero": { [Float](repeating: -0.0, count: dimensions) },
            "denormal": { scaled(7_000 * .leastNonzeroMagnitude) }, "tiny": { scaled(1e-25) }, "small": { scaled(1e-15) }, "constant": { [Float](repeating: 3.5, count: dimensions) },
            "large": { scaled(1e10) }, "largest": { scaled(3e17) }, "wide": { wide }, "usual": { scaled(1) },
            "far off": { scaled(1).map { $0 + 1e6 } }, "single": { scaled(1).enumerated().map { $0 == 3 ? $1 : 0 } },
        ]
    }

    @Test(arguments: specs) func extremeVectorsAreAnsweredExactly(spec: String) throws {
        var generator = SeededGenerator.fresh()
        let kinds = Self.extremes(&generator)
        for metric in Self.metrics {
            let field = try Self.field(spec, metric)
            /// Halves tell neither the small nor the large ones apart, and float32 no products of vectors far from the origin: a graph
            /// among so many equals leads to some of them only.
            func reaches(_ name: String) -> Bool {
                spec.contains("f16") ? ["usual", "zero", "constant"].contains(name) : metric != .dot || name != "far off"
            }
            // Each kind by itself, as the codec's sample too.
            for (name, make) in kinds {
                let vectors = (0..<260).map { _ in make() }
                let index = try Self.index(field, vectors)
                for query in [vectors[1], make(), kinds["usual"]?() ?? [], kinds["zero"]?() ?? [], kinds["largest"]?() ?? []] {
                    try Self.check(index, query, count: vectors.count, reaches: reaches(name), "\(spec) \(metric): \(name)")
                }
            }
            // All together, with a codec learned from vectors of quite another kind.
            let mixed = (0..<240).flatMap { _ in kinds.values.map { $0() } }.shuffled(using: &generator)
            let usual = (0..<300).map { _ in kinds["usual"]?() ?? [] }
            for training in [mixed, usual] {
                let index = try Self.index(field, Array(mixed[..<300]), training: training)
                for make in kinds.values { try Self.check(index, make(), count: 300, reaches: false, "\(spec) \(metric): mixed") }
            }
        }
    }

    /// How many are found differs from one draw to the next, the more so on few dimensions: judged by several draws together.
    @Test(arguments: specs) func thousandsOfCopiesCutOffNoOthers(spec: String) throws {
        var generator = SeededGenerator.fresh()
        for metric in Self.metrics.prefix(2) {
            var found = 0
            let draws = 5
            for _ in 0..<draws {
                let copy = generator.gaussians(Self.dimensions)
                let others = (0..<100).map { _ in generator.gaussians(Self.dimensions) }
                // The others among the copies, and nothing but copies for most of the time.
                let vectors = (0..<3_100).map { $0 % 31 == 30 ? others[$0 / 31] : copy }
                let index = try Self.index(try Self.field(spec, metric), vectors)
                // A heap of copies fills a beam that is narrower.
                found += try others.enumerated().count { number, other in
                    try index.search(other, ef: vectors.count).contains { $0.slot == UInt32(number * 31 + 30) }
                }
                let near = try index.search(copy, ef: vectors.count)
                #expect(near.count >= 10 && near.prefix(10).allSatisfy { abs($0.distance - near[0].distance) < 1e-5 }, "\(spec) \(metric)")
            }
            #expect(found >= (spec.hasPrefix("fft") ? 80 : 90) * draws, "\(spec) \(metric): \(found) of \(100 * draws) found among copies")
        }
    }

    @Test(arguments: specs) func emptyPartitionsAndSinglePoints(spec: String) throws {
        var generator = SeededGenerator.fresh()
        let training = (0..<300).map { _ in generator.gaussians(Self.dimensions) }
        for metric in Self.metrics {
            let field = try Self.field(spec, metric)
            let empty = try Self.index(field, [], training: training, capacity: 4)
            #expect(try empty.search(training[0], ef: 16).isEmpty)
            #expect(try empty.exact(training[0], limit: 10).isEmpty)
            #expect(throws: NeedletailError.self) { _ = try empty.search([1], ef: 16) }
            try empty.insert(training[1], slot: 0)
            for query in training.prefix(5) {
                #expect(try empty.search(query, ef: 16).map(\.slot) == [0])
                #expect(try empty.search(query, ef: 16) == empty.exact(query, limit: 10))
            }
        }
    }

    @Test(arguments: specs) func everythingDeletedAndBegunAgain(spec: String) throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<900).map { _ in generator.gaussians(Self.dimensions) }
        let index = try Self.index(try Self.field(spec, .l2), Array(vectors[..<300]), training: vectors, capacity: 600)
        let doomed = SlotBits(capacity: 600)
        func expectNothing() throws {
            #expect(try index.search(vectors[0], ef: 64).isEmpty)
            #expect(try index.exact(vectors[0], limit: 10).isEmpty)
        }
        /// Vectors from `first` on, stored in 300 slots from `slot` on.
        func expectThemselves(_ first: Int, slot: Int) throws {
            let found = try (0..<100).count { try index.search(vectors[first + $0], ef: 64).first?.slot == UInt32(slot + $0) }
            #expect(found >= (spec.contains("6") && spec.contains(",") ? 75 : 95), "\(spec): \(found) of 100 find themselves")
        }
        for slot in 0..<300 { index.graph.retire(slot: UInt32(slot)) }
        try expectNothing()
        for slot in 300..<600 { try index.insert(vectors[slot], slot: slot) }
        try expectThemselves(300, slot: 300)
        for slot in 300..<600 { index.graph.retire(slot: UInt32(slot)) }
        try expectNothing()
        for slot in 0..<600 { doomed.set(slot) }
        var scratch = SearchScratch()
        index.graph.repair(slots: 0..<600, doomed: doomed, scratch: &scratch)
        index.graph.replaceRetiredEntry()
        for slot in 0..<600 { index.graph.release(slot: UInt32(slot)) }
        try expectNothing()
        for slot in 0..<300 { try index.insert(vectors[600 + slot], slot: slot) }
        try expectThemselves(600, slot: 0)
    }

    /// One dimension, and as many as there may be.
    @Test(arguments: [
        "none", "f32", "f16", "lvq8", "lvq4", "lvq4x8", "rabitq1", "rabitq2", "rabitq4", "pq1", "pq1x4", "rq2", "rotate,lvq8", "centre,f32", "fft1,f32",
        "prefix1,lvq8", "rq1", "pq256x4", "pca1,f32",
    ]) func fewestAndMostDimensions(spec: String) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in [1, Limits.dimensions] {
            // Directions are fitted to few dimensions only, and a subspace has one at least: said in words, here and at creation.
            guard let field = try? Self.field(spec, .l2, dimensions: dimensions) else {
                #expect(spec == (dimensions == 1 ? "pq256x4" : "pca1,f32"))
                continue
            }
            let few = dimensions > 1  // vectors
            let vectors = (0..<(few ? 260 : 400)).map { _ in generator.gaussians(dimensions) }
            let index = try Self.index(field, Array(vectors[..<(few ? 40 : 400)]), training: field.index.codec.centroids > 0 ? vectors : Array(vectors[..<40]))
            for query in [vectors[3], generator.gaussians(dimensions)] {
                // One wave of so many dimensions leaves little but the norms, by which the longest is far from all.
                try Self.check(index, query, count: few ? 40 : 400, reaches: !few || spec != "fft1,f32", "\(spec) in \(dimensions) dimensions")
            }
        }
    }
}
