import NeedletailCore
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// The catalogue's figures for codecs, on all of T3, by scans: what is lost is lost by the codes, not by a graph.
@Suite struct CodecRecallTests {
    static let set = TransformRecallTests.set
    static let queries = set.queries.selecting(0..<200)
    static let truth = Result { try Scan.truth(.cosine, set.base, queries, limit: 10) }
    static let sample = try? VectorSample(Array(set.base.values.prefix(10_000 * 768)), dimensions: 768)

    /// F6: recall@10 of a scan by codes of 8 bits, and their memory.
    @Test func eightBitsKeepTheNearest() throws {
        let codec = try Self.codec("lvq8")
        #expect(try Self.recall(codec, take: 10) >= 0.985)
        #expect(Double(codec.strideBytes) <= 0.27 * 768 * 4)
    }

    /// F6: 4 bits, three times as many as are wanted measured again in full precision.
    @Test func fourBitsKeepTheNearestAmongThreeTimesAsMany() throws {
        let codec = try Self.codec("lvq4")
        #expect(try Self.recall(codec, take: 30) >= 0.995)
        #expect(Double(codec.strideBytes) <= 0.15 * 768 * 4)
    }

    /// F6: 4 bits and 8 more.
    @Test func aSecondLookAtTwelveBitsMissesNothing() throws {
        #expect(try Self.recall(try Self.codec("lvq4x8"), take: 10, refined: true) >= 0.999)
    }

    static func codec(_ text: String) throws -> any RowCodec {
        let field = VectorField(name: "v", dimensions: 768, metric: .cosine, index: try IndexSpec(text: text))
        try field.validate()
        return try CodecTraining.train(field, sample: try #require(sample)).rowCodec()
    }

    /// The part of the true 10 nearest among the `take` nearest by estimate.
    static func recall(_ codec: any RowCodec, take: Int, refined: Bool = false) throws -> Double {
        let rows = EncodedRows(codec, rows: set.base)
        let truth = try truth.get()
        var hits = 0
        for query in 0..<queries.count {
            let distances = try refined ? rows.refined(queries[query]) : rows.distances(queries[query])
            hits += Scan.nearest(distances, limit: take).count { truth[query].contains($0) }
        }
        let recall = Double(hits) / Double(10 * queries.count)
        print("recall@10 within \(take)\(refined ? " refined" : ""): \(recall), \(codec.strideBytes) bytes a row")
        return recall
    }
}
