import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailVectors

/// How long a graph takes to build, and how good it is then.
struct BuildBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build", abstract: "Seconds to build a graph by number of threads, inserting one point after the other, and its recall.")

    @OptionGroup var set: BenchmarkSet
    @Option(help: "Numbers of threads, comma-separated, in turns.") var threads = "1,2"
    @Option(help: "Builds with each; the median counts.") var rounds = 3
    @Option(help: "Search breadth of the recall.") var ef = 64
    @Option(help: "Queries.") var queries = 500

    func run() async throws {
        let data = try VectorFile(path: set.base)
        let asked = try VectorFile(path: set.query)
        let vectors = (0..<min(queries, asked.count)).map(asked.vector)
        let field = try set.field(dimensions: data.dimensions)
        let counts = threads.split(separator: ",").compactMap { Int($0) }
        var seconds: [Int: [Double]] = [:]
        var recalls: [Int: Double] = [:]
        for _ in 0..<rounds {
            for count in counts {
                // Training is a part of it: somebody who waits for a graph waits for that as well.
                let begin = ContinuousClock.now
                let codec = try GraphBuild.train(data, field: field)
                let index = try await GraphBuild.build(data, field: field, codec: codec, threads: count)
                seconds[count, default: []].append(begin.duration(to: .now).milliseconds / 1000)
                recalls[count] = try recall(index, vectors)
            }
        }
        for count in counts {
            let time = median(seconds[count] ?? [])
            emit([
                ("dataset", "\"\(data.name)\""), ("codec", "\"\(set.codec)\""), ("n", "\(data.count)"), ("d", "\(data.dimensions)"),
                ("threads", "\(count)"), ("seconds", String(format: "%.2f", time)),
                ("points_per_second_and_thread", String(format: "%.0f", Double(data.count) / time / Double(count))), ("ef", "\(ef)"),
                ("recall", String(format: "%.4f", recalls[count] ?? 0)),
            ])
        }
    }

    private func recall(_ index: HNSWIndex, _ queries: [DenseVector]) throws -> Double {
        var scratch = SearchScratch()
        let hits = try queries.reduce(0) { sum, query in
            let truth = Set(try index.exactSearch(query, limit: 10, deadline: nil, scratch: &scratch, precedes: <).nearest.map(\.slot))
            let found = try index.search(query, limit: 10, ef: ef, deadline: nil, scratch: &scratch).nearest
            return sum + found.prefix(10).count { truth.contains($0.slot) }
        }
        return Double(hits) / Double(10 * queries.count)
    }
}
