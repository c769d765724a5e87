import NeedletailCore
import NeedletailTestSupport
import NeedletailVectors
import Testing

/// What every codec promises, at every level of this processor.
@Suite struct RowCodecTests {
    static let metrics: [NeedletailCore.Metric] = [.l2, .cosine, .dot]
    static let codecs = CodecSpec.examples.filter { $0 != .asGiven }

    @Test(arguments: metrics, codecs) func everyLevelGivesTheSameBits(metric: NeedletailCore.Metric, codec: CodecSpec) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in Self.sizes(codec) {
            let rows = (0..<7).map { _ in generator.gaussians(dimensions) }
            let query = generator.gaussians(dimensions)
            let model = try Self.model(metric, codec, rows: rows)
            var reference: [[UInt32]] = []
            for level in KernelLevel.available {
                let memory = EncodedRows(model.rowCodec(level: level), rows: rows)
                let fromVector = try memory.distances(query)
                let fromRow = memory.distances(memory.codec.asQuery(memory.row(3), scratch: memory.scratch))
                let bytes = (0..<7 * memory.codec.strideBytes / 4).map { memory.rows.load(fromByteOffset: 4 * $0, as: UInt32.self) }
                let got = [fromVector.map(\.bitPattern), fromRow.map(\.bitPattern), bytes]
                // The float codecs promise nearly the same only: their sums are of as many lanes as a level has.
                if [.f32, .f16].contains(codec) { continue }
                if reference.isEmpty { reference = got }
                try #require(got == reference, "\(level) \(metric) \(codec.name) \(dimensions)-d")
            }
        }
    }

    @Test(arguments: codecs) func listsOfRowsEqualScans(codec: CodecSpec) throws {
        var generator = SeededGenerator.fresh()
        for count in [1, 2, 3, 4, 5, 31, 70] {
            let rows = (0..<count).map { _ in generator.gaussians(70) }
            let memory = EncodedRows(try Self.model(.l2, codec, rows: rows).rowCodec(), rows: rows)
            let query = try memory.codec.prepare(DenseVector(rows[0]), field: "v", scratch: memory.scratch)
            let scan = memory.distances(query)
            let order = [UInt32](0..<UInt32(count)).shuffled(using: &generator)
            var listed = [Float](repeating: 0, count: count)
            memory.codec.distances(query, base: memory.rows, rows: order, count: count, out: &listed)
            #expect(listed == order.map { scan[Int($0)] }, "\(count) rows")
        }
    }

    /// The nearest by estimate are the nearest: of clusters that are apart, all of the query's own.
    @Test(arguments: metrics, codecs) func clustersStayApart(metric: NeedletailCore.Metric, codec: CodecSpec) throws {
        var generator = SeededGenerator.fresh()
        let centres = (0..<8).map { _ in generator.gaussians(96) }
        let rows = (0..<400).map { row in zip(centres[row % 8], generator.gaussians(96)).map { 0.3 + $0.0 + 0.3 * $0.1 } }
        let memory = EncodedRows(try Self.model(metric, codec, rows: rows).rowCodec(), rows: rows)
        for cluster in 0..<8 {
            let query = zip(centres[cluster], generator.gaussians(96)).map { 0.3 + $0.0 + 0.3 * $0.1 }
            let nearest = Scan.nearest(try memory.distances(query), limit: 30)
            #expect(nearest.allSatisfy { $0 % 8 == cluster }, "\(metric) \(codec.name), by vector")
            guard metric != .dot else { continue }  // a long vector of another cluster may have the larger product
            let fromRow = memory.distances(memory.codec.asQuery(memory.row(cluster), scratch: memory.scratch))
            #expect(Scan.nearest(fromRow, limit: 30).allSatisfy { $0 % 8 == cluster }, "\(metric) \(codec.name), by row")
        }
    }

    @Test(arguments: codecs) func vectorsWithoutSpreadAreTaken(codec: CodecSpec) throws {
        let sample = (0..<40).map { row in [Float](repeating: Float(row % 3), count: 48) }
        for value in [Float(0), -3.5, .leastNonzeroMagnitude, 1e18] {
            for metric in Self.metrics {
                let rows = [[Float](repeating: value, count: 48), [Float](repeating: 1, count: 48)]
                let memory = EncodedRows(try Self.model(metric, codec, rows: sample).rowCodec(), rows: rows)
                let got = try memory.distances([Float](repeating: 1, count: 48))
                #expect(got.allSatisfy { $0.isFinite }, "\(metric) \(codec.name) of \(value): \(got)")
                let fromRow = memory.distances(memory.codec.asQuery(memory.row(0), scratch: memory.scratch))
                #expect(fromRow.allSatisfy { $0.isFinite }, "\(metric) \(codec.name) of \(value) as a query: \(fromRow)")
            }
        }
    }

    /// Nothing is written beyond the row: what lies behind it keeps its poison.
    @Test(arguments: codecs) func encodingStaysInItsRow(codec: CodecSpec) throws {
        var generator = SeededGenerator.fresh()
        for dimensions in Self.sizes(codec).prefix(40) {
            let rows = (0..<3).map { _ in generator.gaussians(dimensions) }
            let coder = try Self.model(.l2, codec, rows: rows).rowCodec()
            let memory = EncodedRows(coder, rows: VectorRows(dimensions: dimensions), spare: 2 * coder.strideBytes)
            rows[0].withUnsafeBufferPointer { coder.encode($0.baseAddress!, at: memory.rows, scratch: memory.scratch) }
            let behind = UnsafeRawBufferPointer(start: memory.rows + coder.strideBytes, count: coder.strideBytes)
            try #require(behind.allSatisfy { $0 == 0x7f }, "\(codec.name) \(dimensions)-d")
        }
    }

    @Test(arguments: metrics, codecs) func modelsRoundTripThroughBytes(metric: NeedletailCore.Metric, codec: CodecSpec) throws {
        var generator = SeededGenerator.fresh()
        let rows = (0..<50).map { _ in generator.gaussians(40) }
        let model = try Self.model(metric, codec, rows: rows)
        let copy = try CodecModel(encoded: model.encoded)
        #expect(copy == model)
        #expect(copy.encoded == model.encoded)
        let (first, second) = (EncodedRows(model.rowCodec(), rows: rows), EncodedRows(copy.rowCodec(), rows: rows))
        let expected = try first.distances(rows[1])
        #expect(try second.distances(rows[1]) == expected)
        // Cut off or changed, the bytes are refused or make another model, and nothing crashes.
        for _ in 0..<200 {
            var bytes = model.encoded
            if Bool.random(using: &generator) { bytes.removeLast(Int.random(in: 1...min(60, bytes.count), using: &generator)) }
            if let at = bytes.indices.prefix(60).randomElement(using: &generator) { bytes[at] = UInt8.random(in: 0...255, using: &generator) }
            _ = try? CodecModel(encoded: bytes)
        }
    }

    static func sizes(_ codec: CodecSpec) -> [Int] {
        switch codec {
        case .pq, .rq: [32, 33, 47, 64, 100]
        default: Array(1...200) + [384, 768, 1001]
        }
    }

    /// Trained on the rows; where a codec wants more, on rows like them too.
    static func model(_ metric: NeedletailCore.Metric, _ codec: CodecSpec, rows: [[Float]]) throws -> CodecModel {
        let field = VectorField(name: "v", dimensions: rows[0].count, metric: metric, index: IndexSpec(codec: codec))
        var generator = SeededGenerator(seed: 5)
        let missing = max(0, CodecTraining.leastSample(field) - rows.count)
        let more = (0..<missing).flatMap { row in rows[row % rows.count].map { $0 * Float(1 + 0.3 * generator.gaussian()) } }
        return try CodecTraining.train(field, sample: VectorSample(rows.flatMap { $0 } + more, dimensions: rows[0].count))
    }
}
