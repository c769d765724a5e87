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

    private func operation(_ generator: inout SeededGenerator) -> PointOperation {
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
