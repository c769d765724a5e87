import NeedletailCore
import NeedletailIndex
@testable import NeedletailShard
import NeedletailTestSupport
import Testing

/// A replica that takes to codes: its answers and scores stay those of the stored vectors, through writes, restarts and crashes.
@Suite(.timeLimit(.minutes(2))) struct CodecReplicaTests {
    private static func spec(_ index: String = "lvq8") throws -> CollectionSpec {
        CollectionSpec(name: "test", fields: [VectorField(name: "a", dimensions: 24, metric: .l2, index: try IndexSpec(text: index))])
    }

    private static func upserts(_ ids: Range<Int>, _ generator: inout SeededGenerator) -> [PointOperation] {
        ids.map { id in
            .upsert(Point(id: .number(UInt64(id)), vectors: [FieldVector(field: 0, vector: DenseVector(generator.gaussians(24)))], payload: []))
        }
    }

    private static func fill(_ shard: TestShard, _ count: Int, _ generator: inout SeededGenerator) async throws {
        for begin in stride(from: 0, to: count, by: 100) { try await shard.write(upserts(begin..<min(count, begin + 100), &generator)) }
    }

    private static func model(_ shard: TestShard, _ spec: CollectionSpec) async throws -> CollectionModel {
        let sample = try await shard.node.sample(ShardSample(shard: TestShard.id, field: 0, count: 500, seed: 3))
        #expect(sample.count == 500 * 24 * 4)
        let bytes = try await shard.node.train(CodecTrainingRequest(field: spec.fields[0], sample: sample))
        return CollectionModel(incarnation: TestShard.id.incarnation, model: FieldModel(field: 0, version: 1, bytes: bytes))
    }

    private static func progress(_ shard: TestShard) -> CodecProgress? { shard.node.currentStatus()[0].codecs[0] }

    private static func untilEncoded(_ shard: TestShard) async throws {
        while progress(shard)?.isDone != true { try await Task.sleep(for: .milliseconds(5)) }
    }

    /// The graph walks on codes; what it finds is nearly what there is, with the very scores of an exact search.
    private static func check(_ shard: TestShard, _ generator: inout SeededGenerator) async throws {
        #expect(try shard.node.replica(TestShard.id).fields[0].graph.codec != nil)
        var hits = 0
        for _ in 0..<30 {
            let query = generator.gaussians(24)
            let truth = Dictionary(uniqueKeysWithValues: try await shard.search(query, limit: 50, exact: true).map { ($0.id, $0.score) })
            let best = Set(try await shard.search(query, exact: true).map(\.id))
            let found = try await shard.search(query)
            hits += found.count { best.contains($0.id) }
            for point in found { if let score = truth[point.id] { #expect(score == point.score) } }
        }
        #expect(hits >= 285)
    }

    @Test(arguments: ["lvq8", "lvq4x8", "pca24,f16,rescore60", "pq12", "lvq8,rescore(file)"]) func walksOnCodesAndAnswersExactScores(index: String) async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let spec = try Self.spec(index)
        var shard = try await TestShard.open(directory, spec: spec)
        try await Self.fill(shard, 2_000, &generator)
        #expect(Self.progress(shard) == CodecProgress())
        try await shard.node.take(try await Self.model(shard, spec))
        // Writes and deletions go on while older points are encoded.
        try await shard.write(Self.upserts(1_500..<2_300, &generator) + (0..<300).map { .delete(.number(UInt64($0))) })
        try await Self.untilEncoded(shard)
        try await Self.check(shard, &generator)
        for _ in 0..<2 {
            await shard.node.close()
            shard = try await TestShard.open(directory, spec: spec)
            try await Self.untilEncoded(shard)
            try await Self.check(shard, &generator)
            try await shard.write(Self.upserts(3_000..<3_200, &generator))
        }
        await shard.node.close()
    }

    /// At any moment of the encoding: with codes in the checkpoint, with some, with none.
    @Test(arguments: ["lvq8", "lvq8,rescore(file)"]) func aCrashLosesNoCodeThatIsNotMadeAgain(index: String) async throws {
        var generator = SeededGenerator.fresh()
        var directory = TemporaryDirectory()
        let spec = try Self.spec(index)
        var shard = try await TestShard.open(directory, spec: spec)
        try await Self.fill(shard, 1_500, &generator)
        let model = try await Self.model(shard, spec)
        try await shard.node.take(model)
        for round in 0..<4 {
            try await shard.write(Self.upserts(1_500 + round * 90..<1_700 + round * 90, &generator))
            shard.node.resources.close()
            directory = try TemporaryDirectory(copyOf: directory)
            shard = try await TestShard.open(directory, spec: spec)
            #expect(Self.progress(shard)?.version == 1)
            try await Self.untilEncoded(shard)
            try await Self.check(shard, &generator)
        }
        // Offered again, it is taken for known.
        try await shard.node.take(model)
        try await Self.check(shard, &generator)
        await shard.node.close()
    }

    @Test func anEmptyReplicaTakesAModelToo() async throws {
        var generator = SeededGenerator.fresh()
        let (directory, other) = (TemporaryDirectory(), TemporaryDirectory())
        let spec = try Self.spec()
        let teacher = try await TestShard.open(other, spec: spec)
        try await Self.fill(teacher, 1_000, &generator)
        let model = try await Self.model(teacher, spec)
        await teacher.node.close()
        var shard = try await TestShard.open(directory, spec: spec)
        try await shard.node.take(model)
        try await Self.untilEncoded(shard)
        try await Self.fill(shard, 1_000, &generator)
        try await Self.check(shard, &generator)
        await shard.node.close()
        shard = try await TestShard.open(directory, spec: spec)
        #expect(Self.progress(shard)?.isDone == true)
        try await Self.check(shard, &generator)
        await shard.node.close()
    }

    @Test func aModelOfAnotherFieldIsRefused() async throws {
        var generator = SeededGenerator.fresh()
        let (directory, other) = (TemporaryDirectory(), TemporaryDirectory())
        let teacher = try await TestShard.open(other, spec: try Self.spec("lvq4"))
        try await Self.fill(teacher, 1_000, &generator)
        let model = try await Self.model(teacher, try Self.spec("lvq4"))
        await teacher.node.close()
        let shard = try await TestShard.open(directory, spec: try Self.spec("lvq8"))
        await #expect(throws: NeedletailError.self) { try await shard.node.take(model) }
        #expect(Self.progress(shard) == CodecProgress())
        await shard.node.close()
    }

    @Test func samplesAreDrawnEvenlyAndTheSameForASeed() async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory, spec: try Self.spec())
        for begin in stride(from: 0, to: 1_000, by: 100) {
            try await shard.write((begin..<begin + 100).map { id in
                .upsert(Point(
                    id: .number(UInt64(id)), vectors: [FieldVector(field: 0, vector: DenseVector(Array(repeating: Float(id), count: 24)))], payload: []))
            })
        }
        try await shard.write((0..<500).map { .delete(.number(UInt64($0))) })
        func sample(_ seed: UInt64, _ count: Int = 200) async throws -> [Float] {
            let bytes = try await shard.node.sample(ShardSample(shard: TestShard.id, field: 0, count: count, seed: seed))
            return stride(from: 0, to: bytes.count, by: 96).map { begin in
                Float(bitPattern: bytes[begin..<begin + 4].reversed().reduce(0) { $0 << 8 | UInt32($1) })
            }
        }
        let drawn = try await sample(1)
        #expect(drawn.count == 200 && Set(drawn).count == 200 && drawn.allSatisfy { $0 >= 500 && $0 < 1_000 })
        #expect((60...140).contains(drawn.count { $0 < 750 }))
        #expect(try await sample(1) == drawn)
        #expect(try await sample(2) != drawn)
        #expect(Set(try await sample(1, 9_999)).count == 500)
        await shard.node.close()
    }
}
