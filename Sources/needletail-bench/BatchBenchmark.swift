import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets

/// Queries in batches against the same queries one by one, on one thread.
struct BatchBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "batch", abstract: "A batch of queries in one call against the same queries one by one, one thread.")

    @OptionGroup var set: BenchmarkSet
    @Option(help: "Queries a call.") var size = 64
    @Option(help: "Search breadths, comma-separated.") var efs = "16,32,64,128"
    @Option(help: "Passes over all queries, in turns; the medians count.") var rounds = 9

    func run() async throws {
        let (index, data, queries) = try await set.load(queries: 1_000)
        var scratch = SearchScratch()
        let lanes = WalkLanes()
        let clock = ContinuousClock()
        for ef in efs.split(separator: ",").compactMap({ Int($0) }) {
            var single: [Double] = []
            var batched: [Double] = []
            var differing = 0
            for round in 0..<rounds {
                var begin = clock.now
                var alone: [[UInt32]] = []
                for query in queries {
                    let found = try index.search(query, limit: 10, ef: ef, deadline: nil, scratch: &scratch)
                    if round == 0 { alone.append(found.nearest.map(\.slot)) }
                }
                single.append(begin.duration(to: clock.now).milliseconds)
                begin = clock.now
                var together: [[UInt32]] = []
                for start in stride(from: 0, to: queries.count, by: size) {
                    let batch = Array(queries[start..<min(start + size, queries.count)])
                    let found = try index.search(batch: batch, limit: 10, ef: ef, deadline: nil, lanes: lanes)
                    if round == 0 { together += found.map { $0.nearest.map(\.slot) } }
                }
                batched.append(begin.duration(to: clock.now).milliseconds)
                if round == 0 { differing = zip(alone, together).count { $0 != $1 } }
            }
            single.sort()
            batched.sort()
            let (one, all) = (single[rounds / 2], batched[rounds / 2])
            emit([
                ("dataset", "\"\(data.name)\""), ("codec", "\"\(set.codec)\""), ("ef", "\(ef)"), ("batch", "\(size)"),
                ("qps_one_by_one", String(format: "%.0f", Double(queries.count) / one * 1000)),
                ("qps_batch", String(format: "%.0f", Double(queries.count) / all * 1000)), ("ratio", String(format: "%.2f", one / all)),
                ("differing_answers", "\(differing)"),
            ])
        }
    }
}
