import NeedletailCore
@testable import NeedletailIndex
@testable import NeedletailShard
import NeedletailTestSupport
import Testing

/// When a replica calibrates, on which queries, and what it says meanwhile.
@Suite(.watchedForHangs) struct RecallTargetsTests {
    private static let key = RecallTargets.Key(field: 0, limit: 10)
    private let targets = RecallTargets(fields: 1)
    private let now = ContinuousClock.now

    private func plan(points: Int = 10_000, codec: UInt64 = 0, key: RecallTargets.Key = key, after: Duration = .zero) -> (choice: RecallCalibration.Choice?, must: Bool) {
        let (plan, must) = targets.plan(key, target: 0.9, points: points, codec: codec, now: now + after)
        if case .walk(let choice, _) = plan { return (choice, must) }
        return (nil, must)
    }

    private func finish(points: Int = 10_000, codec: UInt64 = 0, key: RecallTargets.Key = key, took: Duration = .zero) {
        let steps = [RecallCalibration.Step(effort: SearchEffort(ef: 20), recall: 0.95)]
        let (_, basis) = targets.sample(key.field, points: points, codec: codec)
        targets.finish(key, RecallCalibration(limit: key.limit, steps: steps, queryCount: 1), basis, took: took, now: now)
    }

    private func ask(_ count: Int) {
        for index in 0..<count { targets.note(SearchQuery(field: 0, vector: DenseVector([Float(index)]), limit: 10)) }
    }

    @Test func oneCalibrationAtATimeAndNoneWithoutCause() {
        #expect(plan() == (nil, true))
        #expect(plan() == (nil, false))
        targets.abandon()
        #expect(plan() == (nil, true))
        finish()
        #expect(plan().choice?.effort == SearchEffort(ef: 20))
        #expect(!plan().must)
        // Another limit is another calibration.
        #expect(plan(key: RecallTargets.Key(field: 0, limit: 20)) == (nil, true))
    }

    @Test(arguments: [(10_999, false, true), (11_000, true, true), (15_000, true, true), (15_001, true, false), (9_000, true, true), (6_666, true, false)])
    func aCalibrationFollowsTheNumberOfPoints(points: Int, isOutdated: Bool, isUsable: Bool) {
        finish()
        let (choice, must) = plan(points: points)
        #expect(must == isOutdated && (choice != nil) == isUsable)
    }

    @Test func aCalibrationIsOfOneCodec() {
        finish(codec: 1)
        #expect(plan(codec: 2) == (nil, true))
        #expect(plan(codec: 1).choice != nil)
    }

    @Test func moreAndNewerQueriesAreCauseToCalibrateAgain() {
        finish()
        ask(199)
        #expect(!plan().must && targets.sample(0, points: 1, codec: 0).queries.isEmpty)
        ask(1)
        #expect(plan().must && targets.sample(0, points: 1, codec: 0).queries.count == 200)
        finish()
        ask(199)
        #expect(!plan().must)
        ask(1)
        #expect(plan().must)
        finish()
        ask(16 * QuerySample.capacity - 1)
        #expect(!plan().must)
        ask(1)
        #expect(plan().must)
    }

    @Test func calibratingTakesASmallPartOfTheTime() {
        finish(took: .seconds(1))
        #expect(!plan(points: 20_000, after: .seconds(19)).must)
        #expect(plan(points: 20_000, after: .seconds(20)).must)
    }

    @Test func theLeastRecentlyAskedForLimitGoes() {
        for limit in 1...33 { finish(key: RecallTargets.Key(field: 0, limit: limit)); _ = plan(key: RecallTargets.Key(field: 0, limit: 1)) }
        #expect(plan(key: RecallTargets.Key(field: 0, limit: 1)).choice != nil)
        #expect(plan(key: RecallTargets.Key(field: 0, limit: 33)).choice != nil)
        #expect((1...33).count { plan(key: RecallTargets.Key(field: 0, limit: $0)).choice != nil } == 32)
    }

    @Test func aSampleFollowsWhatIsAsked() {
        var sample = QuerySample(seed: 1)
        for index in 0..<20_000 { sample.note(DenseVector([Float(index)])) }
        #expect(sample.queries.count == QuerySample.capacity && sample.seen == 20_000)
        let recent = sample.queries.count { $0 == DenseVector([0]) || Self.number($0) >= 10_000 }
        // Of 512 places one in sixteen queries takes one: after 10,000 more, a few in ten are of the first 10,000.
        #expect((256...480).contains(recent))
    }

    private static func number(_ vector: DenseVector) -> Float {
        Float(bitPattern: vector.bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) })
    }

    /// Every element has points that can stand in for queries, and a search says what to expect.
    @Test(arguments: [VectorElement.f32, .f16, .u8, .bit]) func everyElementCanBeCalibrated(element: VectorElement) async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let field = VectorField(name: "a", dimensions: 32, metric: element == .bit ? .hamming : .l2, element: element)
        let shard = try await TestShard.open(directory, spec: CollectionSpec(name: "test", fields: [field]))
        func vector() -> DenseVector {
            switch element {
            case .bit: DenseVector(element: .bit, bytes: (0..<4).map { _ in UInt8(truncatingIfNeeded: generator.next()) })
            case .u8: DenseVector(element: .u8, bytes: (0..<32).map { _ in UInt8(truncatingIfNeeded: generator.next()) })
            default: DenseVector(generator.gaussians(32))
            }
        }
        for begin in stride(from: 0, to: 1_500, by: 100) {
            try await shard.write((begin..<begin + 100).map {
                .upsert(Point(id: .number(UInt64($0)), vectors: [FieldVector(field: 0, vector: vector())], payload: []))
            })
        }
        func search() async throws -> RecallEstimate? {
            let query = SearchQuery(field: 0, vector: vector(), limit: 10, recallTarget: 0.9)
            return try await shard.node.search(NodeSearchRequest(shards: [TestShard.id], queries: [query])).estimates[0]
        }
        #expect(try await search() == RecallEstimate(recall: 0, isCalibrated: false))
        var estimate = try await search()
        try await eventually {
            estimate = try await search()
            return estimate?.isCalibrated == true
        }
        #expect((estimate?.recall ?? 0) >= 0.9 && estimate?.isReachable == true)
        await shard.node.close()
    }
}
