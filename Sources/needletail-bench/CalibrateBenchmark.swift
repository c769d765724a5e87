import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailIndex
import NeedletailScale
import NeedletailSyntheticSets
import NeedletailVectors

/// Measures what `needletail plan` plans with, on the machine at hand.
struct CalibrateBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "calibrate", abstract: "Measure this machine for `needletail plan`: what walks, writes, requests and bytes cost here.",
        discussion: """
            Prints the profile as JSON; give it to `needletail plan --profile`. Best with vectors of your own: how far walks go depends on the data. \
            Without a file it makes some of the dimensions that are asked for. Takes two or three minutes; other work on the machine spoils it.
            """)

    @Option(help: "Base vectors: .fbin, .f16bin, .u8bin or .i8bin.") var base: String?
    @Option(help: "Query vectors, same formats; goes with --base.") var query: String?
    @Option(help: "Dimensions of made vectors.") var dimensions = 768
    @Option(help: "l2, cosine or dot.") var metric = "l2"
    @Option(help: "Index spec, such as none, lvq8 or \"leanvec160,lvq8,rescore50\".") var codec = "lvq8"
    @Option(help: "Vectors to measure with at most.") var points = 200_000
    @Option(help: "The recall of searches, of the nearest `limit`.") var recall = 0.95
    @Option(help: "Neighbours of a query.") var limit = 10
    @Option(help: "Walk with this breadth, whatever recall it has.") var ef: Int?
    @Option(help: "Write the profile here instead of printing it.") var out: String?

    func validate() throws {
        guard (base == nil) == (query == nil) else { throw ValidationError("--base and --query go together.") }
        guard (1...16_384).contains(dimensions), points >= 2_000, recall > 0, recall < 1, (1...1000).contains(limit), ef ?? 1 > 0 else {
            throw ValidationError("--dimensions is 1 to 16384, --points at least 2000, --recall between 0 and 1, --limit 1 to 1000, --ef positive.")
        }
    }

    func run() async throws {
        let (data, queries) = try set()
        guard let metric = BenchmarkSet.metrics[metric] else { throw ValidationError("--metric is l2, cosine or dot, not \(metric)") }
        let field = VectorField(name: "v", dimensions: data.dimensions, metric: metric, index: try IndexSpec(text: codec))
        try field.validate()
        say("walks and writes: \(data.count) vectors of \(data.dimensions) dimensions, \(codec)")
        let graph = try await GraphCosts.measure(data, queries, field: field, limit: limit, recall: recall, ef: ef)
        say("requests: a coordinator and two workers")
        let walk = GrowingCost(fitting: graph.walks)
        let cluster = try await RequestCosts.measure(data, queries, field: field, limit: limit, ef: graph.ef)
        let measured = MachineProfile(
            machine: Self.machine, dimensions: data.dimensions, spec: "\(field.index)", limit: limit, ef: graph.ef, recall: graph.recall,
            walk: MachineProfile.Walk(cost: walk, spread: graph.spread), insert: GrowingCost(fitting: graph.inserts),
            rpc: MachineProfile.RPCCost(), sync: try syncs(), memoryBytes: cluster.memoryBytes, diskBytes: cluster.diskBytes)
        let profile = try cluster.fit.fitted(measured)
        try profile.validate()
        let ratios = zip(try cluster.fit.rates(on: profile), cluster.fit.situations).map { $0 / $1.rate }.sorted()
        say(
            "the simulation with these costs has \(format(ratios[0])) to \(format(ratios[ratios.count - 1])) times the searches a second that were measured "
                + "in \(ratios.count) situations, half of them at least \(format(ratios[ratios.count / 2]))")
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let json = try encoder.encode(profile) + Data("\n".utf8)
        if let out { try json.write(to: URL(fileURLWithPath: out)) } else { FileHandle.standardOutput.write(json) }
    }

    private func set() throws -> (VectorFile, [DenseVector]) {
        let (all, asked): (VectorFile, VectorFile)
        if let base, let query {
            (all, asked) = (try VectorFile(path: base), try VectorFile(path: query))
            guard all.dimensions == asked.dimensions else {
                throw ValidationError("the base has \(all.dimensions) dimensions, the queries \(asked.dimensions)")
            }
        } else {
            let made = SyntheticSets.subspace(rank: min(32, dimensions), count: points, queries: 500, dimensions: dimensions, seed: 5)
            (all, asked) = (VectorFile(name: "made", rows: made.base), VectorFile(name: "made", rows: made.queries))
        }
        let count = min(points, all.count)
        return (all.prefix(count), (0..<min(500, asked.count)).map(asked.vector))
    }

    /// Appends of 4 KiB, each synced.
    private func syncs() throws -> Quantiles {
        let url = FileManager.default.temporaryDirectory.appendingPathComponent("needletail-calibrate-\(getpid())")
        defer { try? FileManager.default.removeItem(at: url) }
        guard FileManager.default.createFile(atPath: url.path, contents: nil), let file = FileHandle(forWritingAtPath: url.path) else {
            throw NeedletailError(.failedPrecondition, "cannot write to \(url.path)")
        }
        let page = Data(count: 4096)
        let times = try (0..<200).map { _ in
            try timed {
                try file.write(contentsOf: page)
                fdatasync(file.fileDescriptor)
            } * 1000
        }
        try file.close()
        return Quantiles(of: times)
    }

    private static var machine: String {
        let facts = (try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? ""
        let model = facts.split(separator: "\n").first { $0.hasPrefix("model name") }?.split(separator: ":").last
        return model.map { $0.trimmingCharacters(in: .whitespaces) } ?? "unknown processor"
    }

    private func format(_ ratio: Double) -> String { String(format: "%.2f", ratio) }

    private func say(_ text: String) { FileHandle.standardError.write(Data((text + "\n").utf8)) }
}

/// Walks and insertions in one process, at growing sizes of one graph.
private struct GraphCosts {
    var walks: [(size: Double, microseconds: Double)] = []
    var inserts: [(size: Double, microseconds: Double)] = []
    var spread = Quantiles(constant: 1)
    var ef = 0
    var recall = 0.0

    static func measure(
        _ data: VectorFile, _ queries: [DenseVector], field: VectorField, limit: Int, recall: Double, ef: Int?
    ) async throws -> GraphCosts {
        let codec = try GraphBuild.train(data, field: field)
        let memory = GraphMemory.plain(field: field, codec: codec, capacity: data.count)
        let index = HNSWIndex(field: field, codec: codec, memory: memory, capacity: data.count)
        try index.ensureCapacity(slots: data.count)
        let sizes = [16, 8, 4, 2, 1].map { data.count / $0 }
        var costs = GraphCosts()
        // The breadth is that of the largest size, so all sizes are kept until it is known: graphs grow, walks are measured on the way.
        var walked: [(size: Int, ef: Int, times: [Double])] = []
        let ladder = ef.map { [$0] } ?? efs(limit)
        var begin = 0
        for size in sizes {
            let before = CPUTime.thread
            try link(data, begin..<size, index, field)
            costs.inserts.append((Double(begin + size) / 2, (CPUTime.thread - before) * 1e6 / Double(size - begin)))
            begin = size
            for ef in ladder { walked.append((size, ef, try walk(index, queries, limit: limit, ef: ef).times)) }
        }
        let truth = try exact(index, queries, limit: limit)
        for ef in ladder {
            let found = try walk(index, queries, limit: limit, ef: ef).found
            (costs.ef, costs.recall) = (ef, share(of: truth, in: found))
            if costs.recall >= recall { break }
        }
        for (size, ef, times) in walked where ef == costs.ef {
            costs.walks.append((Double(size), times.reduce(0, +) / Double(times.count)))
            if size == data.count { costs.spread = Quantiles(of: times).relative }
        }
        return costs
    }

    private static func efs(_ limit: Int) -> [Int] {
        [10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 58, 70, 84, 100, 120, 145, 175, 210, 260, 340, 480].filter { $0 >= limit }
    }

    private static func link(_ data: VectorFile, _ rows: Range<Int>, _ index: HNSWIndex, _ field: VectorField) throws {
        var scratch = SearchScratch()
        for row in rows {
            index.store(try index.distance.layout.convert(data.vector(row), field: field.name), slot: UInt32(row), scratch: &scratch)
            try index.link(slot: UInt32(row), id: .number(UInt64(row)), scratch: &scratch)
            index.publish(slot: UInt32(row))
        }
    }

    /// Microseconds of processor time of each walk: of three passes the least.
    private static func walk(_ index: HNSWIndex, _ queries: [DenseVector], limit: Int, ef: Int) throws -> (times: [Double], found: [[UInt32]]) {
        var scratch = SearchScratch()
        var times = Array(repeating: Double.infinity, count: queries.count)
        var found: [[UInt32]] = []
        for pass in 0..<3 {
            for (number, query) in queries.enumerated() {
                let before = CPUTime.thread
                let nearest = try index.search(query, limit: limit, ef: ef, deadline: nil, scratch: &scratch).nearest
                times[number] = min(times[number], (CPUTime.thread - before) * 1e6)
                if pass == 0 { found.append(nearest.map(\.slot)) }
            }
        }
        return (times, found)
    }

    private static func exact(_ index: HNSWIndex, _ queries: [DenseVector], limit: Int) throws -> [Set<UInt32>] {
        var scratch = SearchScratch()
        return try queries.map { query in
            Set(try index.exactSearch(query, limit: limit, deadline: nil, scratch: &scratch, precedes: <).nearest.map(\.slot))
        }
    }

    private static func share(of truth: [Set<UInt32>], in found: [[UInt32]]) -> Double {
        let hits = zip(truth, found).reduce(0) { sum, pair in sum + pair.1.count { pair.0.contains($0) } }
        return Double(hits) / Double(truth.reduce(0) { $0 + $1.count })
    }
}

/// Seconds of processor time.
enum CPUTime {
    static var thread: Double { of(CLOCK_THREAD_CPUTIME_ID) }
    static var process: Double { of(CLOCK_PROCESS_CPUTIME_ID) }

    /// Of another process; nil when it is not there.
    static func process(_ id: Int32) -> Double? {
        var clock = clockid_t()
        return unsafe clock_getcpuclockid(id, &clock) == 0 ? of(clock) : nil
    }

    private static func of(_ clock: clockid_t) -> Double {
        var time = timespec()
        unsafe clock_gettime(clock, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
