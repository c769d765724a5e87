import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailSyntheticSets
import NeedletailVectors

/// What a codec keeps of a set, and at what price: scans, so that what is lost is lost by the codes and not by a graph.
struct CodecBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "codec", abstract: "Recall, size, encode and scan rate of codecs by exhaustive scans. One thread.",
        discussion: "Without --base the set is T3, synthetic. Speed against f32 is that of scans in turns, the median over the queries.")

    @Option(help: "Base vectors: .fbin, .f16bin, .u8bin or .i8bin.") var base: String?
    @Option(help: "Query vectors, same formats.") var query: String?
    @Option(help: "l2, cosine or dot.") var metric = "cosine"
    @Option(help: "Index specs whose transform and codec are measured, separated by semicolons.")
    var specs = CodecSpec.examples.dropFirst().map(\.name).joined(separator: ";")
    @Option(help: "Neighbours asked for.") var k = 10
    @Option(help: "Queries, at most.") var queries = 200
    @Option(help: "Base rows of the synthetic set.") var count = 50_000

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
        var codec: (any RowCodec)?
        let training = try timed { codec = try CodecTraining.train(field, sample: sample).rowCodec() }
        guard let codec else { return }
        var made: EncodedSet?
        let encoding = timed { made = EncodedSet(codec, vectors: data) }
        guard let set = made else { return }
        var tally = Tally(k: k)
        for (query, truth) in zip(queries, truth) {
            let reference = try exact.prepare(query)
            tally.exactSeconds.append(timed { exact.pass(reference) })
            let prepared = try set.prepare(query)
            tally.scanSeconds.append(timed { set.pass(prepared) })
            tally.add(set.scan(prepared), refined: set.refine(prepared), truth: truth)
        }
        let scan = median(tally.scanSeconds)
        emit([
            ("codec", "\"\(field.index)\""), ("set", "\"\(data.name)\""), ("metric", "\"\(metric)\""), ("n", "\(data.count)"),
            ("d", "\(data.dimensions)"), ("k", "\(k)"), ("queries", "\(queries.count)"),
        ] + tally.recalls() + [
            ("bytes_per_vector", "\(codec.strideBytes)"), ("walked_bytes", "\(codec.walkedBytes)"),
            ("ratio_to_f32", String(format: "%.4f", Double(codec.strideBytes) / Double(4 * data.dimensions))),
            ("train_seconds", String(format: "%.2f", training)), ("encode_per_second", String(format: "%.0f", Double(data.count) / encoding)),
            ("scan_rows_per_second", String(format: "%.0f", Double(data.count) / scan)),
            ("scan_gb_per_second", String(format: "%.2f", Double(set.bytes) / scan / 1e9)),
            ("scan_speed_over_f32", String(format: "%.2f", median(tally.exactSeconds) / scan)),
        ])
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
