import NIOCore
import NeedletailAPI
import NeedletailCore
import Testing

/// What must be refused, and what stands for a default.
@Suite struct RefusalTests {
    /// Writes protobuf by hand, to say what no encoder of ours says.
    struct Wire {
        var bytes: [UInt8] = []

        static func varint(_ value: UInt64) -> [UInt8] {
            var writer = ByteWriter()
            writer.varint(value)
            return writer.bytes
        }

        func number(_ field: UInt64, _ value: UInt64) -> Wire { Wire(bytes: bytes + Self.varint(field << 3) + Self.varint(value)) }
        func part(_ field: UInt64, _ content: [UInt8]) -> Wire {
            Wire(bytes: bytes + Self.varint(field << 3 | 2) + Self.varint(UInt64(content.count)) + content)
        }
        func part(_ field: UInt64, _ content: Wire) -> Wire { part(field, content.bytes) }
        func text(_ field: UInt64, _ content: String) -> Wire { part(field, Array(content.utf8)) }
        var message: ByteBuffer { ByteBuffer(bytes: bytes) }
    }

    private func refused<Value>(
        _ codec: MessageCodec<Value>, _ wire: Wire, _ words: String, _ code: NeedletailError.Code = .invalidArgument
    ) {
        let error = #expect(throws: NeedletailError.self) { _ = try codec.decode(wire.message) }
        #expect(error?.code == code)
        #expect(error?.message.contains(words) == true, "\(error?.message ?? "none")")
    }

    private let id = Wire().number(1, 7)

    @Test func ids() throws {
        let get = { (id: Wire) in Wire().text(1, "c").part(2, id) }
        refused(PublicMessages.getPoints, get(Wire()), "point id is empty")
        refused(PublicMessages.getPoints, get(Wire().part(2, [1, 2, 3])), "16 bytes")
        refused(PublicMessages.getPoints, get(Wire().text(3, "12")), "uuid_text")
        refused(PublicMessages.getPoints, get(Wire().text(3, "zz")), "uuid_text")
        let text = try PublicMessages.getPoints.decode(get(Wire().text(3, "c0ffee00-0000-4000-8000-000000000001")).message)
        #expect(text.ids == [.uuid(high: 0xc0ff_ee00_0000_4000, low: 0x8000_0000_0000_0001)])
        #expect(try PublicMessages.getPoints.decode(get(Wire().number(1, 0)).message).ids == [.number(0)])
    }

    @Test func indexesGivenTwiceMustAgree() throws {
        let create = { (field: Wire) in Wire().text(1, "c").part(2, Wire(bytes: Wire().text(1, "v").number(2, 8).number(3, 1).bytes + field.bytes)) }
        let graph = { (m: UInt64) in Wire().number(1, m) }
        let codec = PublicMessages.createCollection
        refused(codec, create(Wire().part(6, Wire().text(1, "lvq9"))), "is no stage")
        refused(codec, create(Wire().part(6, Wire().text(1, "lvq8").text(4, "lvq4"))), "give one of them")
        refused(codec, create(Wire().part(6, Wire().text(4, "lvq9"))), "codec \"lvq9\"")
        refused(codec, create(Wire().part(5, graph(20)).part(6, Wire().text(1, "hnsw(m=24)"))), "m is given as 24 and as 20")
        let expected = try IndexSpec(text: "pca4,hnsw(m=24),lvq4")
        for index in [
            Wire().part(5, graph(24)).part(6, Wire().text(1, "pca4,lvq4")), Wire().part(6, Wire().text(1, "pca4,hnsw24,lvq4")),
            Wire().part(5, graph(24)).part(6, Wire().text(1, "pca4,hnsw24,lvq4").part(2, Wire().number(4, 4)).part(3, graph(24)).text(4, "lvq4")),
            Wire().part(6, Wire().part(2, Wire().number(4, 4)).part(3, graph(24)).text(4, "lvq4")),
        ] { #expect(try codec.decode(create(index).message).fields[0].index == expected) }
    }

    @Test func vectors() throws {
        let floats: [UInt8] = [0, 0, 128, 63]
        let search = { (vector: Wire) in Wire().text(1, "c").part(2, Wire().part(2, vector)) }
        refused(PublicMessages.search, search(Wire().part(1, floats).part(2, floats)), "values and data")
        refused(PublicMessages.search, search(Wire().part(2, [1, 2, 3])), "no whole number of f32")
        refused(PublicMessages.search, search(Wire().part(2, floats).number(3, 9)), "element 9")
        refused(PublicMessages.search, Wire().text(1, "c").part(2, Wire()), "vector is missing")
        refused(PublicMessages.search, Wire().text(1, "c"), "query is missing")
        let decoded = try PublicMessages.search.decode(search(Wire().part(1, floats)).message)
        #expect(decoded.queries[0].vector == DenseVector([1]))
        #expect(decoded.queries[0].limit == 10)
        #expect(decoded.queries[0].ef == nil)
    }

    @Test func packedPoints() throws {
        let rows: [UInt8] = [0, 0, 128, 63, 0, 0, 0, 64]
        let upsert = { (packed: Wire) in Wire().text(1, "c").part(4, packed) }
        let decoded = try PublicMessages.upsert.decode(upsert(Wire().part(1, [3, 5]).text(2, "f").part(3, rows)).message)
        #expect(
            decoded.operations == [
                .upsert(id: .number(3), vectors: [NamedVector(field: "f", vector: DenseVector([1]))], payload: []),
                .upsert(id: .number(5), vectors: [NamedVector(field: "f", vector: DenseVector([2]))], payload: []),
            ])
        refused(PublicMessages.upsert, upsert(Wire().part(1, [3, 5, 7]).part(3, rows)), "no whole number of rows")
        refused(PublicMessages.upsert, upsert(Wire().part(3, rows)), "packed.ids is empty")
        refused(PublicMessages.upsert, upsert(Wire().part(1, [3, 5])), "no whole number of rows")
        refused(PublicMessages.upsert, upsert(Wire().part(1, [UInt8](repeating: 1, count: 10_001))), "up to 10000 points")
    }

    @Test func collections() throws {
        let field = Wire().text(1, "f").number(2, 4)
        refused(PublicMessages.createCollection, Wire().text(1, "c").part(2, field), "metric")
        refused(PublicMessages.createCollection, Wire().text(1, "c").part(2, field.number(3, 77)), "metric")
        refused(PublicMessages.createCollection, Wire().part(5, Wire().number(2, 70_000)), "1 to 60000")
        let spec = try PublicMessages.createCollection.decode(Wire().text(1, "c").part(2, field.number(3, 1)).message)
        #expect(spec.shardCount == 1)
        #expect(spec.replicationFactor == 1)
        #expect(spec.durability == .everyCommit)
        #expect(spec.fields == [VectorField(name: "f", dimensions: 4, metric: .l2)])
        #expect(try PublicMessages.scroll.decode(Wire().text(1, "c").message).pages.limit == 256)
    }

    @Test func textIsUTF8WithoutNUL() {
        refused(PublicMessages.count, Wire().text(1, "a\0b"), "NUL")
        refused(PublicMessages.count, Wire().part(1, [0xff, 0xfe]), "not UTF-8")
        #expect(throws: NeedletailError.self) { try PublicMessages.count.encode((collection: "a\0b", read: ReadOptions())) }
    }

    /// The value `depth` lists deep.
    private func nested(_ depth: Int) -> Wire {
        var value = Wire().number(2, 1)
        for _ in 0..<depth { value = Wire().part(6, Wire().part(1, value)) }
        return value
    }

    private func upsert(payload value: Wire) -> Wire {
        Wire().text(1, "c").part(2, Wire().part(1, id).part(3, Wire().text(1, "k").part(2, value)))
    }

    @Test func nestingIsBounded() throws {
        let deepest = try PublicMessages.upsert.decode(upsert(payload: nested(64)).message)
        guard case .upsert(_, _, let payload) = deepest.operations.first else { return }
        #expect(PayloadCoding.depth(of: try PayloadCoding.decode(payload)["k"] ?? .null) == 64)
        #expect(try PublicMessages.upsert.decode(try PublicMessages.upsert.encode(deepest)).operations == deepest.operations)
        refused(PublicMessages.upsert, upsert(payload: nested(65)), "nests deeper than 64")
        refused(PublicMessages.upsert, upsert(payload: nested(5000)), "nests too deeply")
    }

    @Test func partsGivenTwiceAreRefused() {
        let query = Wire().part(2, Wire().part(1, [0, 0, 128, 63]))
        refused(PublicMessages.search, Wire().text(1, "c").part(2, query).part(2, query), "stands twice")
    }

    @Test func ofEqualPayloadKeysTheLastCounts() throws {
        let entry = { (key: String, value: UInt64) in Wire().text(1, key).part(2, Wire().number(3, value)) }
        let point = Wire().part(1, id).part(3, entry("b", 1)).part(3, entry("a", 2)).part(3, entry("b", 3))
        let decoded = try PublicMessages.upsert.decode(Wire().text(1, "c").part(2, point).message)
        let expected: Payload = ["a": .integer(2), "b": .integer(3)]
        #expect(decoded.operations == [.upsert(id: .number(7), vectors: [], payload: PayloadCoding.encode(expected))])
    }

    /// 30 MB of empty values would be gigabytes of structs.
    @Test func memoryIsBounded() {
        let values = [UInt8]((0..<15_000_000).map { _ in [0x0a, 0x00] as [UInt8] }.joined())
        refused(PublicMessages.upsert, upsert(payload: Wire().part(6, values)), "MiB", .resourceExhausted)
    }

    @Test func backwardRangesAreRefused() {
        let shard = Wire().part(1, Wire().text(1, "c").number(3, 9).number(4, 3))
        refused(PublicMessages.shards, shard, "backwards")
    }
}
