import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailVectors

/// Recall against queries a second on one data set, in the schema that peer libraries are measured in.
struct ANN: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Recall against queries a second of one graph, one search thread.")

    @Option(help: "Base vectors: .fbin, .f16bin, .u8bin or .i8bin.") var base: String
    @Option(help: "Query vectors, same formats.") var query: String
    @Option(help: "l2, cosine or dot.") var metric = "l2"
    @Option(help: "Neighbours asked for.") var k = 10
    @Option(help: "Threads that build the graph.") var buildThreads = 2
    @Option(help: "Passes over all queries; the best one counts.") var rounds = 3
    @Option(help: "Links a node keeps on upper levels.") var m = 16
    @Option(help: "Breadth of the search for neighbours at insertion.") var efc = 120
    @Option(help: "Search breadths, comma-separated.") var efs = "10,11,12,13,15,17,20,25,30,40,60,80,120,160,240,320,480"
    @Option(help: "Index spec, such as lvq8 or pq32; f32 walks on the vectors themselves.") var codec = "f32"

    func run() async throws {
        let data = try VectorFile(path: base)
        let queries = try VectorFile(path: query)
        var spec = try IndexSpec(text: codec == "f32" ? "none" : codec)
        spec.graph = GraphParameters(m: m, efConstruction: efc)
        let field = VectorField(
            name: "v", dimensions: data.dimensions, metric: try named(metric, ["l2": .l2, "cosine": .cosine, "dot": .dot]),
            index: spec)
        try field.validate()
        let before = residentBytes()
        let clock = ContinuousClock()
        let begin = clock.now
        let codec = try GraphBuild.train(data, field: field)
        let index = try await GraphBuild.build(data, field: field, codec: codec, threads: buildThreads)
        report(data, field, [("phase", "\"build\""), ("seconds", seconds(begin.duration(to: clock.now))), ("bytes", "\(residentBytes() - before)")])
        let vectors = (0..<queries.count).map(queries.vector)
        let truth = try exactAnswers(index, vectors)
        for ef in efs.split(separator: ",").compactMap({ Int($0) }) where ef >= k {
            let recall = try sweep(index, vectors, ef: ef, truth: truth, data: data, field: field)
            if recall >= 0.9995 { break }
        }
    }

    private func named<Value>(_ name: String, _ values: [String: Value]) throws -> Value {
        guard let value = values[name] else {
            throw ValidationError("unknown value \(name); use one of \(values.keys.sorted().joined(separator: ", "))")
        }
        return value
    }

    private func exactAnswers(_ index: HNSWIndex, _ queries: [DenseVector]) throws -> [Set<UInt32>] {
        var scratch = SearchScratch()
        return try queries.map { query in
            Set(try index.exactSearch(query, limit: k, deadline: nil, scratch: &scratch, precedes: <).nearest.map(\.slot))
        }
    }

    private func sweep(
        _ index: HNSWIndex, _ queries: [DenseVector], ef: Int, truth: [Set<UInt32>], data: VectorFile, field: VectorField
    ) throws -> Double {
        var scratch = SearchScratch()
        var best = Duration.seconds(1_000_000)
        var bestCPU = Double.infinity
        var hits = 0
        var work = SearchWork()
        let clock = ContinuousClock()
        for _ in 0..<rounds {
            var answers: [[SlotDistance]] = []
            work = SearchWork()
            answers.reserveCapacity(queries.count)
            let begin = clock.now
            let cpu = threadTime()
            for query in queries {
                let result = try index.search(query, limit: k, ef: ef, deadline: nil, scratch: &scratch)
                answers.append(result.nearest)
                work += result.work
            }
            best = min(best, begin.duration(to: clock.now))
            bestCPU = min(bestCPU, threadTime() - cpu)
            hits = zip(answers, truth).reduce(0) { sum, pair in sum + pair.0.prefix(k).count { pair.1.contains($0.slot) } }
        }
        let recall = Double(hits) / Double(k * queries.count)
        let qps = Double(queries.count) / (best.milliseconds / 1000)
        report(data, field, [
            ("phase", "\"search\""), ("ef", "\(ef)"), ("recall", String(format: "%.5f", recall)), ("qps", String(format: "%.1f", qps)),
            ("threads", "1"), ("cpu_qps", String(format: "%.1f", Double(queries.count) / bestCPU)),
            ("hops", "\(work.hops / UInt64(queries.count))"), ("distances", "\(work.distances / UInt64(queries.count))"),
        ])
        return recall
    }

    /// Seconds of processor time that this thread has had: what a search costs when others keep the machine busy.
    private func threadTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    private func seconds(_ duration: Duration) -> String { String(format: "%.2f", duration.milliseconds / 1000) }

    private func report(_ data: VectorFile, _ field: VectorField, _ entries: [(String, String)]) {
        let common = [
            ("dataset", "\"\(data.name)\""), ("metric", "\"\(metric)\""), ("n", "\(data.count)"), ("d", "\(data.dimensions)"),
            ("engine", "\"needletail-\(codec)\""),
        ]
        print("{" + (common + entries).map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}")
        fflush(nil)
    }

    private func residentBytes() -> Int {
        let fields = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ") ?? []
        return fields.count > 1 ? (Int(fields[1]) ?? 0) * 4096 : 0
    }
}
