import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailVectors

/// Search among admitted points, beside the same search without a filter.
struct FilterBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "filter", abstract: "Recall and time of filtered searches against unfiltered ones, by selectivity.",
        discussion: """
            Filters are made for groups of ten queries. random admits each point with the same chance; near those nearest to the first
            query of the group; away as many as random does, but none of the tenth that is nearest to that query; far those farthest
            from it, the nearest of which are told apart by a millionth of their distance.
            """)

    @OptionGroup var set: BenchmarkSet
    @Option(help: "Search breadth of both.") var ef = 64
    @Option(help: "Queries.") var queries = 200
    @Option(help: "Passes over the queries; the median counts.") var rounds = 5

    func run() async throws {
        let (index, data, vectors) = try await set.load(queries: queries)
        for kind in ["random", "near", "away", "far"] {
            for selectivity in [0.5, 0.1, 0.01, 0.001] { try measure(kind, selectivity, index, data, vectors) }
        }
    }

    private struct Asked {
        let vector: DenseVector
        let filter: SlotFilter
        let truth: Set<UInt32>
    }

    private func measure(_ kind: String, _ selectivity: Double, _ index: HNSWIndex, _ data: VectorFile, _ vectors: [DenseVector]) throws {
        var scratch = SearchScratch()
        var asked: [Asked] = []
        var filter: SlotFilter?
        for (number, vector) in vectors.enumerated() {
            if number % 10 == 0 { filter = try makeFilter(kind, selectivity, index, data, vector, seed: UInt64(number), &scratch) }
            guard let filter else { continue }
            let truth = try index.exactSearch(
                vector, limit: data.count, deadline: nil, scratch: &scratch, precedes: <
            ).nearest.lazy.filter { filter.bits[Int($0.slot)] }.prefix(10)
            asked.append(Asked(vector: vector, filter: filter, truth: Set(truth.map(\.slot))))
        }
        var hits = 0
        var wanted = 0
        var plain: [Double] = []
        var filtered: [Double] = []
        let clock = ContinuousClock()
        for round in 0..<rounds {
            for query in asked {
                let begin = clock.now
                _ = try index.search(query.vector, limit: 10, ef: ef, deadline: nil, scratch: &scratch)
                let middle = clock.now
                let found = try index.search(query.vector, limit: 10, ef: ef, filter: query.filter, deadline: nil, scratch: &scratch)
                filtered.append(middle.duration(to: clock.now).milliseconds)
                plain.append(begin.duration(to: middle).milliseconds)
                if round == 0 {
                    hits += found.nearest.prefix(10).count { query.truth.contains($0.slot) }
                    wanted += query.truth.count
                }
            }
        }
        plain.sort()
        filtered.sort()
        func at(_ values: [Double], _ part: Double) -> Double { values[Int(Double(values.count - 1) * part)] }
        emit([
            ("dataset", "\"\(data.name)\""), ("filter", "\"\(kind)\""), ("selectivity", "\(selectivity)"), ("ef", "\(ef)"),
            ("recall", String(format: "%.4f", Double(hits) / Double(max(1, wanted)))),
            ("p50_ratio", String(format: "%.2f", at(filtered, 0.5) / at(plain, 0.5))),
            ("p95_ratio", String(format: "%.2f", at(filtered, 0.95) / at(plain, 0.95))),
            ("p50_us", String(format: "%.1f", at(filtered, 0.5) * 1000)), ("plain_p50_us", String(format: "%.1f", at(plain, 0.5) * 1000)),
        ])
    }

    private func makeFilter(
        _ kind: String, _ selectivity: Double, _ index: HNSWIndex, _ data: VectorFile, _ vector: DenseVector, seed: UInt64,
        _ scratch: inout SearchScratch
    ) throws -> SlotFilter {
        let bits = SlotBits(capacity: data.count)
        let count = max(10, Int(selectivity * Double(data.count)))
        var generator = SeededGenerator(seed: seed)
        if kind == "random" {
            for slot in Array(0..<data.count).shuffled(using: &generator).prefix(count) { bits.set(slot) }
            return SlotFilter(bits: bits, count: count)
        }
        let order = try index.exactSearch(vector, limit: data.count, deadline: nil, scratch: &scratch, precedes: <).nearest
        let admitted: [SlotDistance] =
            switch kind {
            case "near": Array(order.prefix(count))
            case "away": Array(order.dropFirst(data.count / 10).shuffled(using: &generator).prefix(count))
            default: order.suffix(count)
            }
        for entry in admitted { bits.set(Int(entry.slot)) }
        return SlotFilter(bits: bits, count: count)
    }
}
