import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct CodingTests {
    @Test func batchesAndPayloadsRoundTrip() throws {
        var generator = SeededGenerator.fresh()
        for _ in 0..<300 {
            let batch = WriteBatch((0..<Int.random(in: 0...20, using: &generator)).map { _ in operation(&generator) })
            #expect(try WriteBatch(encoded: batch.encoded) == batch)
        }
    }

    /// Damaged bytes throw or decode to something; they never trap and never ask for more memory than they have bytes.
    @Test func damagedBatchesAreRefused() throws {
        var generator = SeededGenerator.fresh()
        for _ in 0..<3_000 {
            var bytes = WriteBatch((0..<5).map { _ in operation(&generator) }).encoded
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            if Bool.random(using: &generator) { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &generator)) }
            _ = try? WriteBatch(encoded: bytes)
        }
    }

    @Test func deepPayloadsAreRefusedNotRecursedInto() {
        var bytes: [UInt8] = [7, 1, 1, 97]
        for _ in 0..<100_000 { bytes += [6, 1] }
        #expect(throws: NeedletailError.self) { try PayloadCoding.decode(bytes + [0]) }
    }

    @Test func definitionsRoundTripWithTheirIndexes() throws {
        for text in [
            "", "lvq8", "prefix64,centre,leanvec32(queries),hnsw(m=24,seed=3),lvq4x8,rescore50", "rotate(seed=0),f16", "pca4,f32,rescore(9,file)",
        ] {
            let field = VectorField(name: "v", dimensions: 128, metric: .cosine, element: .f16, index: try IndexSpec(text: text))
            let assignment = assignment([field, VectorField(name: "w", dimensions: 3, metric: .dot)])
            #expect(try ReplicaAssignment(encoded: assignment.encoded) == assignment)
            for length in 0..<assignment.encoded.count {
                #expect(throws: NeedletailError.self) { try ReplicaAssignment(encoded: Array(assignment.encoded.prefix(length))) }
            }
        }
    }

    /// What nodes wrote before fields had more of an index than a graph.
    @Test func assignmentsOfTheFirstFormatAreRead() throws {
        var writer = ByteWriter()
        writer.u8(1)
        writer.u64(7)
        writer.u32(2)
        for number: UInt64 in [0, 99, 3] { writer.u64(number) }
        writer.string("c")
        for number: UInt64 in [4, 1, 0, 1] { writer.varint(number) }
        writer.string("v")
        writer.varint(128)
        writer.u8(Metric.cosine.rawValue)
        writer.u8(VectorElement.f16.rawValue)
        writer.varint(24)
        writer.varint(300)
        writer.u64(5)
        let graph = GraphParameters(m: 24, efConstruction: 300, seed: 5)
        let field = VectorField(name: "v", dimensions: 128, metric: .cosine, element: .f16, graph: graph)
        #expect(try ReplicaAssignment(encoded: writer.bytes) == assignment([field]))
    }

    @Test func assignmentsOfALaterFormatAreRefused() throws {
        var bytes = assignment([VectorField(name: "v", dimensions: 4, metric: .l2)]).encoded
        bytes[0] = CollectionSpec.format + 1
        let error = #expect(throws: NeedletailError.self) { try ReplicaAssignment(encoded: bytes) }
        #expect(error?.code == .failedPrecondition)
    }

    private func assignment(_ fields: [VectorField]) -> ReplicaAssignment {
        ReplicaAssignment(
            shard: ShardID(incarnation: Incarnation(7), number: 2), range: HashRange(first: 0, last: 99), epoch: 3,
            collection: CollectionSpec(name: "c", fields: fields, shardCount: 4))
    }

    private static let filters = [
        try! PayloadFilter([.init(key: "tenant", values: [.string("a"), .integer(-1), .bool(false)])]),
        try! PayloadFilter([.init(key: "b", values: [.bool(true)]), .init(key: "a", values: [.integer(.max)])]),
    ]

    private func operation(_ generator: inout SeededGenerator) -> PointOperation {
        let operation = unguarded(&generator)
        return Bool.random(using: &generator) ? operation : .guarded(Self.filters[Int.random(in: 0...1, using: &generator)], operation)
    }

    private func unguarded(_ generator: inout SeededGenerator) -> PointOperation {
        let id: PointID = Bool.random(using: &generator) ? .number(generator.next()) : .uuid(high: generator.next(), low: generator.next())
        switch Int.random(in: 0..<5, using: &generator) {
        case 0:
            let vectors = (0..<Int.random(in: 0...3, using: &generator)).map { FieldVector(field: $0, vector: DenseVector(generator.gaussians(5))) }
            return .upsert(Point(id: id, vectors: vectors, payload: PayloadCoding.encode(payload(&generator))))
        case 1: return .delete(id)
        case 2: return .setPayload(id, payload(&generator))
        case 3: return .overwritePayload(id, payload(&generator))
        default: return .deletePayloadKeys(id, ["a", "ключ"])
        }
    }

    private func payload(_ generator: inout SeededGenerator) -> Payload {
        var payload: Payload = [:]
        for index in 0..<Int.random(in: 0...4, using: &generator) { payload["key\(index)"] = value(&generator, depth: 0) }
        return payload
    }

    private func value(_ generator: inout SeededGenerator, depth: Int) -> PayloadValue {
        switch Int.random(in: 0..<(depth > 3 ? 5 : 7), using: &generator) {
        case 0: .null
        case 1: .bool(.random(using: &generator))
        case 2: .integer(Int64(bitPattern: generator.next()))
        case 3: .double(generator.gaussian())
        case 4: .string("näh \(generator.next())")
        case 5: .list((0..<3).map { _ in value(&generator, depth: depth + 1) })
        default: .map(["a": value(&generator, depth: depth + 1), "b": value(&generator, depth: depth + 1)])
        }
    }
}
