import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailSyntheticSets
import NeedletailVectors

/// What a codec keeps of a set, and at what price: scans, so that what is lost is lost by the codes and not by a graph.
struct CodecBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "codec", abstract: "Recall, size, encode and scan rate of codecs by exhaustive scans. One thread.",
        discussion: """
            Without --base the set is T3, synthetic. Speed against f32 is that of scans in turns, the median over the queries. "symmetric" is a query \
            in codes like the rows, as in building a graph. The spec "bits" stands for the signs of centred vectors as a field of bits with hamming \
            distance. Of codebooks the least used one is told beside the mean, over the sample that they were learned from.
            """)

    @Option(help: "Base vectors: .fbin, .f16bin, .u8bin or .i8bin.") var base: String?
    @Option(help: "Query vectors, same formats.") var query: String?
    @Option(help: "l2, cosine or dot.") var metric = "cosine"
    @Option(help: "Index specs whose transform and codec are measured, separated by semicolons.")
    var specs = (CodecSpec.examples.dropFirst().map(\.name) + [Self.bits]).joined(separator: ";")
    @Option(help: "Neighbours asked for.") var k = 10
    @Option(help: "Queries, at most.") var queries = 200
    @Option(help: "Base rows of the synthetic set.") var count = 50_000
    private static let bits = "bits"

    func validate() throws {
        guard (base == nil) == (query == nil) else { throw ValidationError("--base and --query go together") }
        guard k > 0, queries > 0, count > 0 else { throw ValidationError("--k, --queries and --count must be positive") }
    }

    func run() throws {
        guard let metric = ["l2": NeedletailCore.Metric.l2, "cosine": .cosine, "dot": .dot][metric] else {
            throw ValidationError("unknown metric \(metric); use l2, cosine or dot")
        }
        let (data, asked) = try vectors()
        let vectors = (0..<min(queries, asked.count)).map(asked.vector)
        let plain = VectorField(name: "v", dimensions: data.dimensions, metric: metric)
        let exact = try EncodedSet(RowDistance(layout: VectorLayout(field: plain)), vectors: data)
        let truth = try vectors.map { Set(nearest(exact.scan(try exact.prepare($0)), limit: k)) }
        for text in specs.split(separator: ";") {
            if text == Self.bits {
                try measureBits(data, vectors, truth, exact)
                continue
            }
            var field = plain
            field.index = try IndexSpec(text: String(text))
            try field.validate()
            try measure(field, data, vectors, truth, exact)
        }
    }

    private func vectors() throws -> (base: VectorFile, queries: VectorFile) {
        if let base, let query { return (try VectorFile(path: base), try VectorFile(path: query)) }
        let made = SyntheticSets.powerLaw(count: count, queries: queries)
        return (VectorFile(name: "T3", rows: made.base), VectorFile(name: "T3", rows: made.queries))
    }

    private func measure(_ field: VectorField, _ data: VectorFile, _ queries: [DenseVector], _ truth: [Set<Int>], _ exact: EncodedSet) throws {
        let step = max(1, data.count / CodecTraining.sampleCount)
        let sampled = stride(from: 0, to: data.count, by: step).prefix(CodecTraining.sampleCount)
        let sample = try VectorSample(sampled.flatMap { data.row($0) }, dimensions: data.dimensions)
        let clock = ContinuousClock()
        let begin = clock.now
        let model = try CodecTraining.train(field, sample: sample)
        let training = begin.duration(to: clock.now).milliseconds / 1000
        let codec = model.rowCodec()
        var made: EncodedSet?
        let encoding = timed { made = EncodedSet(codec, vectors: data) }
        guard let set = made else { return }
        var tally = Tally(k: k)
        var symmetric = Tally(k: k)
        let plain = RowDistance(layout: VectorLayout(field: VectorField(name: "v", dimensions: data.dimensions, metric: .l2)))
        for (query, truth) in zip(queries, truth) {
            let reference = try exact.prepare(query)
            tally.exactSeconds.append(timed { exact.pass(reference) })
            let prepared = try set.prepare(query)
            tally.scanSeconds.append(timed { set.pass(prepared) })
            tally.add(set.scan(prepared), refined: set.refine(prepared), truth: truth)
            set.withEncoded(plain.floats(query.bytes)) { encoded in
                symmetric.scanSeconds.append(timed { set.pass(encoded) })
                symmetric.add(set.scan(encoded), refined: nil, truth: truth)
            }
        }
        report("\(field.index)", data, set, tally, [
            ("ratio_to_f32", String(format: "%.4f", Double(codec.strideBytes) / Double(4 * data.dimensions))),
            ("train_seconds", String(format: "%.2f", training)), ("encode_per_second", String(format: "%.0f", Double(data.count) / encoding)),
        ] + symmetric.recalls().prefix(2).map { ("symmetric_\($0.0)", $0.1) } + [
            ("symmetric_scan_speed_over_f32", String(format: "%.2f", median(tally.exactSeconds) / median(symmetric.scanSeconds))),
        ] + health(model.codebookHealth(of: sample)))
    }

    /// The signs of centred vectors as a field of bits.
    private func measureBits(_ data: VectorFile, _ queries: [DenseVector], _ truth: [Set<Int>], _ exact: EncodedSet) throws {
        var mean = [Float](repeating: 0, count: data.dimensions)
        for row in 0..<data.count { for (index, value) in data.row(row).enumerated() { mean[index] += value / Float(data.count) } }
        func signs(_ values: some Sequence<Float>) -> DenseVector {
            var bits = [UInt8](repeating: 0, count: (data.dimensions + 7) / 8)
            for (index, value) in values.enumerated() where value > mean[index] { bits[index / 8] |= 1 << UInt8(index % 8) }
            return DenseVector(element: .bit, bytes: bits)
        }
        let distance = RowDistance(
            layout: VectorLayout(field: VectorField(name: "v", dimensions: data.dimensions, metric: .hamming, element: .bit)))
        let set = try EncodedSet(distance, count: data.count) { row, target, _ in
            distance.store(try distance.layout.convert(signs(data.row(row)), field: "v"), at: target)
        }
        var tally = Tally(k: k)
        let plain = RowDistance(layout: VectorLayout(field: VectorField(name: "v", dimensions: data.dimensions, metric: .l2)))
        for (query, truth) in zip(queries, truth) {
            let reference = try exact.prepare(query)
            tally.exactSeconds.append(timed { exact.pass(reference) })
            let prepared = try set.prepare(signs(plain.floats(query.bytes)))
            tally.scanSeconds.append(timed { set.pass(prepared) })
            tally.add(set.scan(prepared), refined: nil, truth: truth)
        }
        report(Self.bits, data, set, tally, [("ratio_to_f32", String(format: "%.4f", Double(distance.strideBytes) / Double(4 * data.dimensions)))])
    }

    private func report(_ name: String, _ data: VectorFile, _ set: EncodedSet, _ tally: Tally, _ rest: [(String, String)]) {
        let scan = median(tally.scanSeconds)
        let walked = (set.scorer as? any RowCodec)?.walkedBytes ?? set.scorer.strideBytes
        emit([
            ("codec", "\"\(name)\""), ("set", "\"\(data.name)\""), ("metric", "\"\(metric)\""), ("n", "\(data.count)"),
            ("d", "\(data.dimensions)"), ("k", "\(k)"), ("queries", "\(tally.scanSeconds.count)"),
        ] + tally.recalls() + [
            ("bytes_per_vector", "\(set.scorer.strideBytes)"), ("walked_bytes", "\(walked)"),
            ("scan_rows_per_second", String(format: "%.0f", Double(data.count) / scan)),
            ("scan_gb_per_second", String(format: "%.2f", Double(set.bytes) / scan / 1e9)),
            ("scan_speed_over_f32", String(format: "%.2f", median(tally.exactSeconds) / scan)),
        ] + rest)
    }

    /// What the centroids of a codec are used for; nothing for a codec without.
    private func health(_ books: [CodebookHealth]) -> [(String, String)] {
        guard let first = books.first else { return [] }
        func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
        let (used, perplexity) = (books.map(\.usedShare), books.map(\.perplexity))
        return [
            ("codebooks", "\(books.count)"), ("centroids", "\(first.centroids)"), ("used_share", String(format: "%.4f", mean(used))),
            ("least_used_share", String(format: "%.4f", used.min() ?? 0)), ("perplexity", String(format: "%.1f", mean(perplexity))),
            ("least_perplexity", String(format: "%.1f", perplexity.min() ?? 0)),
        ]
    }
}

/// Hits and times of one codec over all queries.
private struct Tally {
    let k: Int
    var exactSeconds: [Double] = []
    var scanSeconds: [Double] = []
    private static let oversampling = [1, 3, 5]
    private var hits = [Int](repeating: 0, count: Self.oversampling.count)
    private var refinedHits = 0
    private var refines = false
    private var queries = 0

    init(k: Int) { self.k = k }

    /// Measuring the nearest k·r again in full precision finds the true neighbours that are among them.
    mutating func add(_ distances: [Float], refined: [Float]?, truth: Set<Int>) {
        let order = nearest(distances, limit: k * (Self.oversampling.last ?? 1))
        for (index, factor) in Self.oversampling.enumerated() { hits[index] += order.prefix(k * factor).count { truth.contains($0) } }
        if let refined {
            refines = true
            refinedHits += nearest(refined, limit: k).count { truth.contains($0) }
        }
        queries += 1
    }

    func recalls() -> [(String, String)] {
        func recall(_ hits: Int) -> String { String(format: "%.4f", Double(hits) / Double(k * queries)) }
        let rescored = zip(Self.oversampling, hits).map { ("recall_rescored_\($0.0)", recall($0.1)) }
        return [("recall", recall(hits[0]))] + rescored + (refines ? [("recall_refined", recall(refinedHits))] : [])
    }
}

/// The `limit` smallest distances' rows, nearest first, ties by row.
private func nearest(_ distances: [Float], limit: Int) -> [Int] {
    guard let cut = distances.sorted().prefix(limit).last else { return [] }
    let near = distances.indices.filter { distances[$0] <= cut }
    return Array(near.sorted { (distances[$0], $0) < (distances[$1], $1) }.prefix(limit))
}
