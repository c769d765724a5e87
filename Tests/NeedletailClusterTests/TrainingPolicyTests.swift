import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct TrainingPolicyTests {
    private func entry(_ specs: String..., state: CollectionEntry.State = .active) throws -> CollectionEntry {
        let fields = try specs.enumerated().map { number, text in
            VectorField(name: "f\(number)", dimensions: 1024, metric: .l2, index: try IndexSpec(text: text))
        }
        let spec = CollectionSpec(name: "c", fields: fields, shardCount: 4)
        let places = try Placement.place(shards: 4, replicas: 1, on: [NodeID(1), NodeID(2)], load: [:])
        return CollectionEntry(spec: spec, incarnation: Incarnation(9), state: state, shards: places)
    }

    @Test func fieldsAreDueWithEnoughPointsAndWithoutAModel() throws {
        var entry = try entry("none", "pca16,lvq8", "lvq4", "leanvec16(queries),lvq8")
        #expect(TrainingPolicy.due(entry, points: 1_999).isEmpty)
        #expect(TrainingPolicy.due(entry, points: 2_000) == [1])
        #expect(TrainingPolicy.due(entry, points: 4_095) == [1])
        #expect(TrainingPolicy.due(entry, points: 4_096) == [1, 2])
        #expect(TrainingPolicy.untrained(entry) == [1, 2, 3])
        entry.models = [FieldModel(field: 1, version: 1, bytes: [1])]
        #expect(TrainingPolicy.due(entry, points: .max) == [2])
        entry.state = .deleting
        #expect(TrainingPolicy.due(entry, points: .max).isEmpty)
    }

    @Test func sharesFollowThePointsAndSufficeTogether() {
        #expect(TrainingPolicy.shares(of: 100, points: [10, 0, 90]) == [10, 0, 90])
        #expect(TrainingPolicy.shares(of: 100, points: [1_000, 3_000, 0]) == [25, 75, 0])
        var generator = SeededGenerator.fresh()
        for _ in 0..<200 {
            let points = (0..<8).map { _ in UInt64.random(in: 0..<10_000, using: &generator) }
            let shares = TrainingPolicy.shares(of: 5_000, points: points)
            let sum = shares.reduce(0, +)
            #expect(sum >= min(5_000, Int(points.reduce(0, +))) && sum <= 5_008)
            for (share, count) in zip(shares, points) { #expect(share <= Int(count)) }
        }
    }

    @Test func samplesFitAMessage() throws {
        for dimensions in [2, 384, 1024, 16_384] {
            let field = VectorField(name: "v", dimensions: dimensions, metric: .l2, index: try IndexSpec(text: "lvq8"))
            #expect(TrainingPolicy.sampleCount(field) * dimensions * 4 <= Limits.messageBytes)
            #expect(TrainingPolicy.sampleCount(field) <= 20_000 && TrainingPolicy.sampleCount(field) >= 700)
        }
    }

    private func replicas(_ entry: CollectionEntry, version: UInt64, encoded: UInt64 = 0) -> [ShardID: ReplicaStatus] {
        Dictionary(uniqueKeysWithValues: entry.shards.map { place in
            let codecs = [0: CodecProgress(version: version, encoded: encoded, total: 10)]
            return (entry.shardID(place), ReplicaStatus(shard: entry.shardID(place), state: .ready, pointCount: 12, codecs: codecs))
        })
    }

    @Test func modelsGoToThoseWhoLackThem() throws {
        var entry = try entry("lvq8")
        let (without, with) = (replicas(entry, version: 0), replicas(entry, version: 1))
        #expect(TrainingPolicy.models(for: NodeID(1), of: [entry], replicas: without).isEmpty)
        entry.models = [FieldModel(field: 0, version: 1, bytes: Array(repeating: 7, count: 100))]
        let expected = CollectionModel(incarnation: entry.incarnation, model: entry.models[0])
        #expect(TrainingPolicy.models(for: NodeID(1), of: [entry], replicas: without) == [expected])
        #expect(TrainingPolicy.models(for: NodeID(1), of: [entry], replicas: with).isEmpty)
        #expect(TrainingPolicy.models(for: NodeID(3), of: [entry], replicas: without).isEmpty)
        var loading = without
        for shard in loading.keys { loading[shard]?.state = .loading }
        #expect(TrainingPolicy.models(for: NodeID(1), of: [entry], replicas: loading).isEmpty)
        // Trained again, it goes to whoever has finished the version before.
        var retrained = entry
        retrained.models = [FieldModel(field: 0, version: 2, bytes: [8])]
        #expect(TrainingPolicy.models(for: NodeID(1), of: [retrained], replicas: replicas(entry, version: 1, encoded: 10)).map(\.model.version) == [2])
        #expect(TrainingPolicy.models(for: NodeID(1), of: [retrained], replicas: replicas(entry, version: 1, encoded: 9)).isEmpty)
        // One at least, and no second one beyond the limit.
        #expect(TrainingPolicy.models(for: NodeID(1), of: [entry, entry], replicas: without, limitBytes: 150) == [expected])
    }

    @Test func progressIsThatOfAllShards() throws {
        var entry = try entry("lvq8", "none")
        var statuses = replicas(entry, version: 1, encoded: 10)
        let progress = { (statuses: [ShardID: ReplicaStatus]) in TrainingPolicy.progress(entry) { statuses[entry.shardID($0)] } }
        #expect(TrainingPolicy.progress(entry) { _ in nil } == [CodecProgress(), CodecProgress()])
        entry.models = [FieldModel(field: 0, version: 1, bytes: [])]
        #expect(progress(statuses) == [CodecProgress(version: 1, encoded: 40, total: 40), CodecProgress()])
        var refused = statuses
        refused[entry.shardID(entry.shards[2])]?.codecs[0]?.problem = "no memory"
        #expect(progress(refused)[0].problem == "shard 2: no memory")
        statuses[entry.shardID(entry.shards[1])]?.codecs = [:]
        #expect(progress(statuses)[0] == CodecProgress(version: 1, encoded: 30, total: 42))
        statuses[entry.shardID(entry.shards[1])] = nil
        #expect(progress(statuses)[0] == CodecProgress(version: 1, encoded: 30, total: 31))
        #expect(!progress(statuses)[0].isDone)
    }

    @Test func modelsTooLargeToHandOutAreRefused() throws {
        let field = { (text: String) in VectorField(name: "v", dimensions: 16_384, metric: .l2, index: try IndexSpec(text: text)) }
        #expect(throws: NeedletailError.self) { try TrainingPolicy.check(try field("pca2048,lvq8")) }
        #expect(throws: NeedletailError.self) { try TrainingPolicy.check(try field("rq8")) }
        try TrainingPolicy.check(try field("pq32"))
        try TrainingPolicy.check(try field("lvq8,rescore(file)"))
        try TrainingPolicy.check(try field("pca128,lvq8,rescore50"))
    }

    @Test func modelsAreKeptWithTheCollection() throws {
        var entry = try entry("lvq8", "none")
        entry.models = [FieldModel(field: 0, version: 3, bytes: [1, 2, 3])]
        #expect(try CollectionEntry(encoded: entry.encoded) == entry)
        entry.models[0].field = 2
        let bytes = entry.encoded
        #expect(throws: NeedletailError.self) { try CollectionEntry(encoded: bytes) }
    }

    /// What a coordinator wrote before fields had codecs.
    @Test func entriesOfTheFirstFormatAreRead() throws {
        var writer = ByteWriter()
        writer.u8(1)
        writer.u64(9)
        writer.u8(CollectionEntry.State.active.rawValue)
        writer.string("c")
        for number: UInt64 in [1, 1, 5, 1] { writer.varint(number) }
        writer.string("v")
        writer.varint(4)
        writer.u8(Metric.dot.rawValue)
        writer.u8(VectorElement.f32.rawValue)
        writer.varint(24)
        writer.varint(300)
        writer.u64(5)
        writer.varint(1)
        writer.u32(0)
        for number: UInt64 in [0, .max, 2, 1] { writer.u64(number) }
        let field = VectorField(name: "v", dimensions: 4, metric: .dot, graph: GraphParameters(m: 24, efConstruction: 300, seed: 5))
        let place = ShardPlace(number: 0, range: HashRange(first: 0, last: .max), primary: NodeID(2), epoch: 1)
        let expected = CollectionEntry(
            spec: CollectionSpec(name: "c", fields: [field], durability: .interval(milliseconds: 5)), incarnation: Incarnation(9), state: .active,
            shards: [place])
        #expect(try CollectionEntry(encoded: writer.bytes) == expected)
    }
}
