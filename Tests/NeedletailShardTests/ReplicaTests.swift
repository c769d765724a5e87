import NeedletailCore
import NeedletailShard
import NeedletailTestSupport
import Testing

@Suite struct ReplicaTests {
    /// Random operations against a model, with checkpoints, repairs and restarts in between: afterwards every point, payload, count
    /// and exact answer is the model's.
    @Test(arguments: [true, false]) func agreesWithAModelAcrossRestarts(cleanly: Bool) async throws {
        var generator = SeededGenerator.fresh()
        var directory = TemporaryDirectory()
        var shard = try await TestShard.open(directory)
        var model = ModelShard()
        for round in 0..<6 {
            for _ in 0..<60 {
                let batch = (0..<Int.random(in: 1...20, using: &generator)).map { _ in Self.operation(&generator) }
                let receipt = try await shard.write(batch)
                #expect(receipt.outcomes == (try batch.map { try model.apply($0) }))
            }
            try await Self.check(shard, model, &generator)
            if cleanly || round == 5 {
                await shard.node.close()
            } else {
                // No farewell: what a crash would find on disk, found elsewhere because this process still has the files open.
                shard.node.resources.close()
                directory = try TemporaryDirectory(copyOf: directory)
            }
            shard = try await TestShard.open(directory)
            try await Self.check(shard, model, &generator)
        }
        await shard.node.close()
    }

    /// Every third number.
    private static let filter = try! PayloadFilter([.init(key: "n", values: stride(from: 0, to: 100, by: 3).map { .integer($0) })])

    private static func operation(_ generator: inout SeededGenerator) -> PointOperation {
        let operation = unguarded(&generator)
        return Int.random(in: 0..<3, using: &generator) == 0 ? .guarded(filter, operation) : operation
    }

    private static func unguarded(_ generator: inout SeededGenerator) -> PointOperation {
        let id = PointID.number(UInt64.random(in: 0..<400, using: &generator))
        switch Int.random(in: 0..<10, using: &generator) {
        case 0..<6:
            var vectors: [FieldVector] = []
            if Int.random(in: 0..<10, using: &generator) > 0 { vectors.append(FieldVector(field: 0, vector: DenseVector(generator.gaussians(8)))) }
            if Bool.random(using: &generator) {
                vectors.append(FieldVector(field: 1, vector: DenseVector(element: .f16, bytes: [0, 0x3c, 0, 0x40, UInt8.random(in: 0...255, using: &generator), 0, 0, 0])))
            }
            return .upsert(Point(id: id, vectors: vectors, payload: PayloadCoding.encode(["n": .integer(Int64.random(in: 0..<100, using: &generator))])))
        case 6, 7: return .delete(id)
        case 8 where Bool.random(using: &generator): return .setPayload(id, ["n": .integer(Int64.random(in: 0..<100, using: &generator))])
        case 8: return .setPayload(id, ["extra": .string("x\(Int.random(in: 0..<5, using: &generator))")])
        default: return .deletePayloadKeys(id, Bool.random(using: &generator) ? ["extra"] : ["extra", "n"])
        }
    }

    private static func check(_ shard: TestShard, _ model: ModelShard, _ generator: inout SeededGenerator) async throws {
        #expect(try await shard.node.count(TestShard.id, condition: ReadCondition(), deadline: nil).count == UInt64(model.points.count))
        let scrolled = try await shard.scrollAll(page: 37)
        #expect(scrolled.map(\.id) == model.points.keys.sorted())
        for point in scrolled {
            #expect(ModelShard.Entry(vectors: point.vectors, payload: try PayloadCoding.decode(point.payload)) == model.points[point.id])
        }
        try await checkFiltered(shard, model, &generator)
        let ids = (0..<400).map { PointID.number($0) }
        #expect(try await shard.get(ids).map(\.id) == ids.filter { model.points[$0] != nil })
        let withVector = model.points.filter { $0.value.vectors.contains { $0.field == 0 } }
        for _ in 0..<10 {
            let query = generator.gaussians(8)
            let expected = withVector.keys.sorted { left, right in
                let (l, r) = (distance(query, withVector[left]), distance(query, withVector[right]))
                return l != r ? l < r : left < right
            }
            #expect(try await shard.search(query, exact: true).map(\.id) == Array(expected.prefix(10)))
            let approximate = try await shard.search(query)
            #expect(Set(approximate.map(\.id)).count == approximate.count)
            #expect(approximate.allSatisfy { withVector[$0.id] != nil })
            #expect(approximate.map(\.id).filter(Set(expected.prefix(10)).contains).count >= 8)
        }
    }

    /// What a caller with the filter finds.
    private static func checkFiltered(_ shard: TestShard, _ model: ModelShard, _ generator: inout SeededGenerator) async throws {
        let admitted = model.points.filter { filter.matches($0.value.payload) }
        let count = try await shard.node.count(TestShard.id, within: filter, condition: ReadCondition(), deadline: nil)
        #expect(count.isFiltered && count.count == UInt64(admitted.count))
        for page in [7, 1_000] {
            var found: [PointID] = []
            while true {
                let next = try await shard.node.scroll(
                    ShardScroll(shard: TestShard.id, after: found.last, limit: page, parts: PointParts(), filter: filter))
                found += next.points.map(\.id)
                if !next.hasMore { break }
            }
            #expect(found == admitted.keys.sorted())
        }
        let ids = (0..<400).map { PointID.number($0) }
        let got = try await shard.node.get(ShardGet(shard: TestShard.id, ids: ids, parts: PointParts(vectors: true), filter: filter)).points
        #expect(got.map(\.id) == ids.filter { admitted[$0] != nil } && got.allSatisfy(\.payload.isEmpty))
        let withVector = admitted.filter { $0.value.vectors.contains { $0.field == 0 } }
        for isExact in [true, false] {
            let query = generator.gaussians(8)
            let expected = withVector.keys.sorted { left, right in
                let (l, r) = (distance(query, withVector[left]), distance(query, withVector[right]))
                return l != r ? l < r : left < right
            }
            let request = NodeSearchRequest(
                shards: [TestShard.id], queries: [SearchQuery(field: 0, vector: DenseVector(query), limit: 10, exact: isExact)], filter: filter)
            let found = try await shard.node.search(request).results[0].map(\.id)
            if isExact { #expect(found == Array(expected.prefix(10))) }
            #expect(found.count == min(10, expected.count) && found.allSatisfy { withVector[$0] != nil })
        }
    }

    private static func distance(_ query: [Float], _ entry: ModelShard.Entry?) -> Float {
        let bytes = entry?.vectors.first { $0.field == 0 }?.vector.bytes ?? []
        let values = stride(from: 0, to: bytes.count, by: 4).map { offset in
            Float(bitPattern: (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) })
        }
        return Float(BruteForce.distance(.l2, query, values))
    }

    @Test func refusesWhatIsWrongBeforeItReachesTheLog() async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        let good = Point(id: .number(1), vectors: [FieldVector(field: 0, vector: DenseVector([Float](repeating: 1, count: 8)))])
        for (vectors, word) in [
            ([FieldVector(field: 0, vector: DenseVector([1, 2]))], "dimensions"),
            ([FieldVector(field: 0, vector: DenseVector([Float](repeating: .nan, count: 8)))], "NaN"),
            ([FieldVector(field: 5, vector: DenseVector([1]))], "field 5"),
            (good.vectors + good.vectors, "two vectors"),
        ] {
            let error = await #expect(throws: NeedletailError.self) {
                try await shard.write([.upsert(good), .upsert(Point(id: .number(2), vectors: vectors))])
            }
            #expect(error?.code == .invalidArgument && error?.message.contains(word) == true, "\(error?.message ?? "")")
        }
        #expect(try await shard.node.count(TestShard.id, condition: ReadCondition(), deadline: nil).count == 0)
        await #expect(throws: NeedletailError.self) {
            try await shard.node.write(ShardWrite(shard: TestShard.id, epoch: 2, batch: WriteBatch([.upsert(good)]).encoded))
        }
        await shard.node.close()
    }

    /// Recall must not depend on how writes were batched or where checkpoints fell.
    @Test func recallDoesNotDependOnBatching() async throws {
        var generator = SeededGenerator.fresh()
        let vectors = (0..<3_000).map { _ in generator.gaussians(8) }
        let queries = (0..<40).map { _ in generator.gaussians(8) }
        for batch in [1, 37, 1_000] {
            let directory = TemporaryDirectory()
            let shard = try await TestShard.open(directory)
            for start in stride(from: 0, to: vectors.count, by: batch) {
                try await shard.write((start..<min(vectors.count, start + batch)).map { row in
                    .upsert(Point(id: .number(UInt64(row)), vectors: [FieldVector(field: 0, vector: DenseVector(vectors[row]))]))
                })
            }
            var hits = 0
            for query in queries {
                let truth = Set(BruteForce.nearest(.l2, to: query, in: vectors, limit: 10).map { PointID.number(UInt64($0)) })
                hits += try await shard.search(query).filter { truth.contains($0.id) }.count
            }
            #expect(Double(hits) >= 0.98 * Double(10 * queries.count), "batches of \(batch)")
            await shard.node.close()
        }
    }

    /// Points replaced over and over while repairs run in small steps between the writes and searches go on beside them: slots are used
    /// again while nodes that were retired meanwhile still lead to where they lay.
    @Test func churnWithManyLevels() async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        var spec = TestShard.spec()
        spec.fields[0].index = IndexSpec(graph: GraphParameters(m: 4, efConstruction: 16))
        let shard = try await TestShard.open(directory, spec: spec)
        let queries = (0..<20).map { _ in generator.gaussians(8) }
        var vectors: [[Float]] = (0..<2_000).map { _ in generator.gaussians(8) }
        func write(_ rows: some Sequence<Int>) async throws {
            try await shard.write(rows.map { row in
                .upsert(Point(id: .number(UInt64(row)), vectors: [FieldVector(field: 0, vector: DenseVector(vectors[row]))]))
            })
        }
        try await write(0..<2_000)
        let searching = Task {
            while !Task.isCancelled { for query in queries { _ = try await shard.search(query) } }
        }
        for _ in 0..<200 {
            let rows = (0..<2_000).shuffled(using: &generator).prefix(60)
            for row in rows { vectors[row] = generator.gaussians(8) }
            try await write(rows)
        }
        searching.cancel()
        _ = await searching.result
        for query in queries {
            let found = try await shard.search(query, exact: true)
            #expect(found.map(\.id) == BruteForce.nearest(.l2, to: query, in: vectors, limit: 10).map { .number(UInt64($0)) })
        }
        await shard.node.close()
        let again = try await TestShard.open(directory, spec: spec)
        #expect(try await again.node.count(TestShard.id, condition: ReadCondition(), deadline: nil).count == 2_000)
        await again.node.close()
    }

    /// F1: what the sampler says is what a full measurement finds.
    @Test func sampledRecallIsTheMeasuredOne() async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        var spec = TestShard.spec(dimensions: 32)
        // A poor graph, so that there is something to miss.
        spec.fields[0].index = IndexSpec(graph: GraphParameters(m: 4, efConstruction: 4))
        let shard = try await TestShard.open(directory, spec: spec)
        try await shard.write((0..<3_000).map { row in
            .upsert(Point(id: .number(row), vectors: [FieldVector(field: 0, vector: DenseVector(generator.gaussians(32)))]))
        })
        let queries = (0..<100).map { _ in generator.gaussians(32) }
        var hits = 0
        for query in queries {
            let truth = Set(try await shard.search(query, exact: true).map(\.id))
            hits += try await shard.search(query).filter { truth.contains($0.id) }.count
        }
        let measured = Double(hits) / 1_000
        var sampled = SampledRecall()
        while sampled.samples < 300 {
            for query in queries.shuffled(using: &generator) { _ = try await shard.search(query) }
            sampled = try await shard.node.status().replicas[0].recall
        }
        print("recall: measured \(measured), sampled \(sampled)")
        #expect(measured < 0.95)
        // 300 samples of ten: a standard error of about 0.01.
        #expect(abs(sampled.recall - measured) < 0.04)
        #expect((8.0...64.0).contains(sampled.localIntrinsicDimension))
        await shard.node.close()
    }

    @Test func dropRemovesTheFilesAndAnotherLifeBeginsEmpty() async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        try await shard.write([.upsert(Point(id: .number(1), vectors: []))])
        try await shard.node.dropReplica(TestShard.id, deadline: nil)
        await #expect(throws: NeedletailError.self) { try await shard.get([.number(1)]) }
        try await shard.node.createReplica(
            ReplicaAssignment(shard: TestShard.id, range: HashRange(first: 0, last: .max), epoch: 1, collection: TestShard.spec()),
            deadline: nil)
        #expect(try await shard.node.count(TestShard.id, condition: ReadCondition(), deadline: nil).count == 0)
        await shard.node.close()
    }

    /// Calls that come side by side, as from a coordinator that changes a collection while the heartbeat tells of the change: none finds
    /// the folder of another one half made, half closed or half removed.
    @Test func makingClosingAndDroppingTakeTurns() async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        let whole = HashRange(first: 0, last: .max)
        for round in 0..<30 as Range<UInt64> {
            await withTaskGroup(of: Void.self) { group in
                for milliseconds in 1...4 {
                    var spec = TestShard.spec()
                    spec.durability = .interval(milliseconds: milliseconds)
                    let assignment = ReplicaAssignment(shard: TestShard.id, range: whole, epoch: 1, collection: spec)
                    // Whether it still serves when the call returns is up to the others.
                    group.addTask { try? await shard.node.createReplica(assignment, deadline: nil) }
                    group.addTask { _ = try? await shard.write([.upsert(Point(id: .number(round), vectors: []))]) }
                }
                group.addTask { try? await shard.node.dropReplica(TestShard.id, deadline: nil) }
            }
            let last = ReplicaAssignment(shard: TestShard.id, range: whole, epoch: 1, collection: TestShard.spec())
            try await shard.node.createReplica(last, deadline: nil)
            try await shard.write([.upsert(Point(id: .number(1_000 + round), vectors: []))])
            #expect(try await shard.get([.number(1_000 + round)]).count == 1)
        }
        await shard.node.close()
    }

    /// The clock begins with the first collection that wants it, however long there was none.
    @Test func logsAreSyncedWhenTheirIntervalIsOver() async throws {
        let shard = try await TestShard.open(TemporaryDirectory())
        let clock = Task { await shard.node.syncLogs() }
        var spec = TestShard.spec()
        for milliseconds in [60_000, 1, nil, 2] {
            spec.durability = milliseconds.map { .interval(milliseconds: $0) } ?? .everyCommit
            let assignment = ReplicaAssignment(shard: TestShard.id, range: HashRange(first: 0, last: .max), epoch: 1, collection: spec)
            try await shard.node.createReplica(assignment, deadline: nil)
            let end = { try shard.node.hosted(TestShard.id).logEnd }
            let sequence = try await shard.write([.upsert(Point(id: .number(1), vectors: []))]).sequence
            if milliseconds == 60_000 {
                #expect(try end().durable < sequence)
            } else {
                try await eventually { try end().durable >= sequence }
            }
        }
        clock.cancel()
        await clock.value
        await shard.node.close()
    }

    /// Its checkpoint has a sequence and no slots.
    @Test func whatWasWrittenToAndStayedEmptyOpensAgain() async throws {
        let directory = TemporaryDirectory()
        for _ in 0..<2 {
            let shard = try await TestShard.open(directory)
            #expect(try await shard.write([.delete(.number(1))]).outcomes == [.notFound])
            #expect(try await shard.search([Float](repeating: 0, count: 8)).isEmpty)
            await shard.node.close()
        }
        let shard = try await TestShard.open(directory)
        try await shard.write([.upsert(Point(id: .number(1), vectors: [FieldVector(field: 0, vector: DenseVector([1, 2, 3, 4, 5, 6, 7, 8]))]))])
        #expect(try await shard.search([1, 2, 3, 4, 5, 6, 7, 8]).map(\.id) == [.number(1)])
        await shard.node.close()
    }

    /// Bytes that another process sent and that are no batch, or hold no payload, are its mistake and not damage; nothing is logged, so
    /// that nothing fails when it is applied.
    @Test func aBatchThatCannotBeReadIsRefused() async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        let good = WriteBatch([.upsert(Point(id: .number(1), vectors: [], payload: PayloadCoding.encode(["a": .integer(1)])))]).encoded
        let bad = WriteBatch([.upsert(Point(id: .number(1), vectors: [], payload: [9, 9, 9]))]).encoded
        for batch in [Array(good.dropLast()), [], bad] {
            let error = await #expect(throws: NeedletailError.self) {
                try await shard.node.write(ShardWrite(shard: TestShard.id, epoch: 1, batch: batch))
            }
            #expect(error?.code == .invalidArgument, "\(String(describing: error))")
        }
        try await shard.write([.upsert(Point(id: .number(1), vectors: [])), .setPayload(.number(1), ["b": .integer(2)])])
        #expect(try await shard.get([.number(1)]).count == 1)
        await shard.node.close()
    }
}
