import NeedletailCore
import NeedletailIndex
@testable import NeedletailShard
import NeedletailStorage
import NeedletailTestSupport
import Synchronization
import Testing

/// Opens once.
private final class Gate: Sendable {
    private let state = Atomic(false)
    var isOpen: Bool { state.load(ordering: .acquiring) }
    func open() { state.store(true, ordering: .releasing) }
}

/// Memory that there is none of until `isOver`.
private final class Refusal: Sendable {
    let isOver = Atomic(false)

    func check(_ bytes: Int) throws(NeedletailError) {
        if !isOver.load(ordering: .acquiring) { throw NeedletailError(.resourceExhausted, "no \(bytes) bytes in this test") }
    }
}

/// A replica that takes to codes: its answers and scores stay those of the stored vectors, through writes, restarts and crashes.
@Suite(.watchedForHangs) struct CodecReplicaTests {
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

    private static func model(_ shard: TestShard, _ spec: CollectionSpec, version: UInt64 = 1) async throws -> CollectionModel {
        let sample = try await shard.node.sample(ShardSample(shard: TestShard.id, field: 0, count: 500, seed: version))
        #expect(sample.count == 500 * 24 * 4)
        let bytes = try await shard.node.train(CodecTrainingRequest(field: spec.fields[0], sample: sample))
        return CollectionModel(incarnation: TestShard.id.incarnation, model: FieldModel(field: 0, version: version, bytes: bytes))
    }

    private static func progress(_ shard: TestShard) -> CodecProgress? { shard.node.currentStatus()[0].codecs[0] }

    private static func untilEncoded(_ shard: TestShard, version: UInt64 = 1) async throws {
        try await eventually { progress(shard).map { $0.isDone && $0.version == version } ?? false }
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

    /// A crash after the model was taken and before the first checkpoint: every point comes back from the log, in both forms.
    @Test func pointsThatWereWrittenInBothFormsCountAsEncoded() async throws {
        var generator = SeededGenerator.fresh()
        var directory = TemporaryDirectory()
        let spec = try Self.spec()
        var configuration = TestShard.small()
        configuration.checkpointPoints = 1 << 20
        var shard = try await TestShard.open(directory, spec: spec, configuration: configuration)
        try await Self.fill(shard, 1_000, &generator)
        try await shard.node.take(try await Self.model(shard, spec))
        try await Self.untilEncoded(shard)
        shard.node.resources.close()
        directory = try TemporaryDirectory(copyOf: directory)
        shard = try await TestShard.open(directory, spec: spec, configuration: configuration)
        #expect(Self.progress(shard) == CodecProgress(version: 1, encoded: 1_000, total: 1_000))
        try await shard.write(Self.upserts(1_000..<1_100, &generator))
        #expect(Self.progress(shard) == CodecProgress(version: 1, encoded: 1_100, total: 1_100))
        try await Self.check(shard, &generator)
        await shard.node.close()
    }

    /// Without memory for codes the replica says so and goes on with the vectors; when there is some, it takes to them.
    @Test func codesThatThereIsNoMemoryForAreSpokenOfAndTriedAgain() async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let spec = try Self.spec()
        let refusal = Refusal()
        var configuration = TestShard.small()
        configuration.admitCodes = { bytes throws(NeedletailError) in try refusal.check(bytes) }
        var shard = try await TestShard.open(directory, spec: spec, configuration: configuration)
        try await Self.fill(shard, 1_000, &generator)
        let model = try await Self.model(shard, spec)
        for _ in 0..<2 {
            try await shard.node.take(model)
            try await eventually { Self.progress(shard)?.version == 1 }
            let progress = try #require(Self.progress(shard))
            #expect(progress.problem.contains("no memory") && progress.problem.contains("in this test") && !progress.isDone)
            #expect(try shard.node.replica(TestShard.id).fields[0].graph.codec == nil)
            #expect(try await shard.search(generator.gaussians(24)).count == 10)
            await shard.node.close()
            shard = try await TestShard.open(directory, spec: spec, configuration: configuration)
        }
        shard.node.tick()
        #expect(Self.progress(shard)?.problem.isEmpty == false)
        refusal.isOver.store(true, ordering: .releasing)
        shard.node.tick()
        try await Self.untilEncoded(shard)
        #expect(Self.progress(shard)?.problem == "")
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

    private static func modelFiles(_ directory: TemporaryDirectory) throws -> [String] {
        let disk = Disk.real
        let replicas = directory.path + "/replicas"
        return try disk.list(replicas).flatMap { try disk.list(replicas + "/" + $0) }.filter { $0.hasPrefix("codec-") }
    }

    /// Whether the newest checkpoint has all the codes of a version, and no others.
    private static func isSaved(_ version: UInt64, _ replica: Replica) throws -> Bool {
        guard let manifest = replica.checkpoints.manifest else { return false }
        let marks = try CheckpointState(encoded: manifest.metadata).codecs[0]
        return marks.allSatisfy(\.isDone) && marks.map(\.version) == [version]
    }

    /// From model to model while it is searched and written, with crashes at any moment; what is no longer needed goes.
    @Test(arguments: ["lvq8", "pca24,f16,rescore60"]) func laterModelsTakeOver(index: String) async throws {
        var generator = SeededGenerator.fresh()
        var directory = TemporaryDirectory()
        let spec = try Self.spec(index)
        var shard = try await TestShard.open(directory, spec: spec)
        try await Self.fill(shard, 1_500, &generator)
        for version in 1...4 as ClosedRange<UInt64> {
            let model = try await Self.model(shard, spec, version: version)
            try await shard.node.take(model)
            for round in 0..<3 {
                let first = Int(version) * 1_000 + round * 90
                try await shard.write(Self.upserts(first..<first + 200, &generator))
                // Walks on what it has all the while: the codes of the version before.
                if version > 1 { try await Self.check(shard, &generator) }
                shard.node.resources.close()
                directory = try TemporaryDirectory(copyOf: directory)
                shard = try await TestShard.open(directory, spec: spec)
            }
            // What had not been taken before the crash is offered again.
            try await shard.node.take(model)
            try await Self.untilEncoded(shard, version: version)
            try await Self.check(shard, &generator)
            // What no checkpoint holds of a version is given up when the next one comes before a crash; walks are then on vectors.
            let replica = try shard.node.replica(TestShard.id)
            try await eventually { replica.requestCheckpoint(); return try Self.isSaved(version, replica) }
            #expect(try shard.node.replica(TestShard.id).fields[0].walkedVersion == version)
        }
        // An older one, or the same, changes nothing.
        try await shard.node.take(try await Self.model(shard, spec, version: 2))
        await shard.node.close()
        #expect(try Self.modelFiles(directory) == ["codec-0-4"])
        shard = try await TestShard.open(directory, spec: spec)
        #expect(Self.progress(shard)?.version == 4 && Self.progress(shard)?.isDone == true)
        let slabs = try shard.node.replica(TestShard.id).slabs.map(\.name)
        #expect(slabs.filter { $0.contains("codes") } == ["field-0-codes-4"])
        try await Self.check(shard, &generator)
        await shard.node.close()
    }

    /// From before a field could be trained again: one mark a field, a model's file without a version.
    @Test func earlierFormsAreRead() async throws {
        var writer = ByteWriter()
        writer.u8(2)
        writer.varint(2)
        for value in [7, 1, 9, 3] as [UInt64] { writer.u64(value) }
        for value in [1, 20, 30, 0, 0, 0] as [UInt64] { writer.u64(value) }
        let state = try CheckpointState(encoded: writer.bytes)
        #expect(state.indexes == [IndexState(entry: 7, upperCount: 1), IndexState(entry: 9, upperCount: 3)])
        #expect(state.codecs == [[CodecMark(version: 1, next: 20, bound: 30)], []])

        var generator = SeededGenerator.fresh()
        let (directory, spec) = (TemporaryDirectory(), try Self.spec())
        var shard = try await TestShard.open(directory, spec: spec)
        try await Self.fill(shard, 1_000, &generator)
        try await shard.node.take(try await Self.model(shard, spec))
        try await Self.untilEncoded(shard)
        await shard.node.close()
        let replica = directory.path + "/replicas/" + (try Disk.real.list(directory.path + "/replicas")[0])
        try Disk.real.replaceFile(replica + "/codec-0", with: try #require(try Disk.real.readFile(replica + "/codec-0-1")))
        try Disk.real.removeFile(replica + "/codec-0-1")
        shard = try await TestShard.open(directory, spec: spec)
        try await Self.check(shard, &generator)
        try await shard.node.take(try await Self.model(shard, spec, version: 2))
        try await Self.untilEncoded(shard, version: 2)
        await shard.node.close()
        let left = try Self.modelFiles(directory)
        #expect(left == ["codec-0-2"])
    }

    /// Searches and writes on other threads while models come one after the other.
    @Test func searchesGoOnWhileModelsChange() async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let spec = try Self.spec()
        let shard = try await TestShard.open(directory, spec: spec)
        try await Self.fill(shard, 1_500, &generator)
        let isOver = Gate()
        let seed = generator.next()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<2 as Range<UInt64> {
                group.addTask {
                    var generator = SeededGenerator(seed: seed &+ task)
                    var hits = 0
                    var count = 0
                    while !isOver.isOpen {
                        if task == 1 { try await shard.write(Self.upserts(5_000..<5_050, &generator)) }
                        let query = generator.gaussians(24)
                        let best = Set(try await shard.search(query, exact: true).map(\.id))
                        hits += try await shard.search(query).count { best.contains($0.id) }
                        count += 1
                    }
                    #expect(Double(hits) >= 9.3 * Double(count))
                }
            }
            for version in 1...5 as ClosedRange<UInt64> {
                try await shard.node.take(try await Self.model(shard, spec, version: version))
                try await Self.untilEncoded(shard, version: version)
            }
            isOver.open()
            try await group.waitForAll()
        }
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
