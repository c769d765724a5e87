import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailVectors
import Synchronization

/// A graph that lives: points replaced again and again, beside a graph built afresh from those that are left.
struct ChurnBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "churn", abstract: "Recall after replacing points, against a fresh build of the same points; searches beside the repair.",
        discussion: """
            Half of the base is in the graph at a time. A round replaces 5% of the points by others drawn from the rest, then cuts the
            links to those that went and uses their slots again. A turnover of 1 has replaced as many points as there are.
            """)

    @OptionGroup var set: BenchmarkSet
    @Option(help: "Turnovers after which recall is measured, comma-separated, rising.") var turnovers = "0.5,2,5"
    @Option(help: "Search breadths, comma-separated.") var efs = "32,64,128"
    @Option(help: "Queries.") var queries = 500
    @Option(help: "Seed of the choice of points.") var seed: UInt64 = 1

    func run() async throws {
        let data = try VectorFile(path: set.base)
        let asked = try VectorFile(path: set.query)
        let vectors = (0..<min(queries, asked.count)).map(asked.vector)
        let field = try set.field(dimensions: data.dimensions)
        let codec = try GraphBuild.train(data, field: field)
        let graph = try LivingGraph(data, field: field, codec: codec, live: data.count / 2, seed: seed)
        try await graph.fill(threads: set.buildThreads)
        for turnover in turnovers.split(separator: ",").compactMap({ Double($0) }) {
            while graph.replaced < Int(turnover * Double(graph.size)) {
                let mended = try graph.replace(graph.size / 20)
                try graph.repair(mended)
            }
            let fresh = try LivingGraph(data, field: field, codec: codec, rows: graph.rows, seed: seed)
            try await fresh.fill(threads: set.buildThreads)
            for ef in efs.split(separator: ",").compactMap({ Int($0) }) {
                let (kept, built) = (try graph.recall(vectors, ef: ef), try fresh.recall(vectors, ef: ef))
                emit([
                    ("dataset", "\"\(data.name)\""), ("codec", "\"\(set.codec)\""), ("turnover", "\(turnover)"), ("ef", "\(ef)"),
                    ("recall", String(format: "%.4f", kept.recall)), ("fresh_recall", String(format: "%.4f", built.recall)),
                    ("points_lost", String(format: "%.2f", 100 * (built.recall - kept.recall))),
                    ("distances", "\(kept.distances)"), ("fresh_distances", "\(built.distances)"),
                    ("slots", "\(graph.slots)"), ("answers_deleted", "\(kept.wrong)"),
                ])
            }
        }
        try measureSearches(graph, vectors, name: data.name)
    }

    /// Searches on one thread, alone and beside a repair on another.
    private func measureSearches(_ graph: LivingGraph, _ vectors: [DenseVector], name: String) throws {
        var (quiet, beside): ([Double], [Double]) = ([], [])
        var seconds = 0.0
        for _ in 0..<6 {
            quiet += try graph.searchTimes(vectors, while: { false })
            let doomed = try graph.replace(graph.size / 20)
            let isDone = Atomic<Bool>(false)
            try withThread {
                seconds += timed { graph.cut(doomed) }
                isDone.store(true, ordering: .releasing)
            } during: {
                beside += try graph.searchTimes(vectors, while: { !isDone.load(ordering: .acquiring) })
            }
            graph.release(doomed)
        }
        quiet.sort()
        beside.sort()
        func at(_ values: [Double], _ part: Double) -> Double { values[Int(Double(values.count - 1) * part)] }
        emit([
            ("dataset", "\"\(name)\""), ("codec", "\"\(set.codec)\""), ("phase", "\"repair\""),
            ("seconds_per_repair", String(format: "%.3f", seconds / 6)), ("points", "\(graph.size)"),
            ("p50_us", String(format: "%.1f", at(quiet, 0.5))), ("p99_us", String(format: "%.1f", at(quiet, 0.99))),
            ("repair_p50_us", String(format: "%.1f", at(beside, 0.5))), ("repair_p99_us", String(format: "%.1f", at(beside, 0.99))),
            ("p99_ratio", String(format: "%.2f", at(beside, 0.99) / at(quiet, 0.99))),
        ])
    }

    /// Runs `work` on a thread of its own while this one does something else, and waits for both.
    private func withThread(_ work: @escaping () -> Void, during body: () throws -> Void) rethrows {
        let done = DispatchSemaphore(value: 0)
        nonisolated(unsafe) let work = work
        Thread { work(); done.signal() }.start()
        defer { done.wait() }
        try body()
    }
}

/// A graph over some rows of a file, and which of its slots holds which.
private final class LivingGraph: @unchecked Sendable {
    // Sendable: `fill` alone uses several threads, each for rows of its own; all else runs on one, but for `cut`, which touches the index only.
    private let data: VectorFile
    private let index: HNSWIndex
    private var scratch = SearchScratch()
    private var repairScratch = SearchScratch()
    private var generator: SeededGenerator
    private var rowAt: [Int]
    /// Rows that are in, and rows that are not.
    private(set) var rows: [Int]
    private var outside: [Int]
    private var free: [UInt32] = []
    private var nextID: UInt64 = 0
    private(set) var slots: Int
    private(set) var replaced = 0
    var size: Int { rows.count }

    convenience init(_ data: VectorFile, field: VectorField, codec: (any RowCodec)?, live: Int, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let order = Array(0..<data.count).shuffled(using: &generator)
        try self.init(data, field: field, codec: codec, rows: Array(order.prefix(live)), seed: seed)
    }

    init(_ data: VectorFile, field: VectorField, codec: (any RowCodec)?, rows: [Int], seed: UInt64) throws {
        self.data = data
        self.rows = rows
        generator = SeededGenerator(seed: seed &+ 1)
        let present = Set(rows)
        outside = (0..<data.count).filter { !present.contains($0) }
        slots = rows.count
        let capacity = rows.count + rows.count / 10 + 64
        rowAt = [Int](repeating: -1, count: capacity)
        let memory = GraphMemory.plain(field: field, codec: codec, capacity: capacity)
        index = HNSWIndex(field: field, codec: codec, memory: memory, capacity: capacity)
        try index.ensureCapacity(slots: capacity)
    }

    func fill(threads: Int) async throws {
        for (slot, row) in rows.enumerated() { rowAt[slot] = row }
        nextID = UInt64(rows.count)
        let next = SharedCounter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<threads {
                group.addTask { [self] in
                    var scratch = SearchScratch()
                    while let slot = next.take(below: rows.count) {
                        try insert(rows[slot], slot: UInt32(slot), id: UInt64(slot), scratch: &scratch)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private func insert(_ row: Int, slot: UInt32, id: UInt64, scratch: inout SearchScratch) throws {
        index.store(try index.distance.layout.convert(data.vector(row), field: "v"), slot: slot, scratch: &scratch)
        try index.link(slot: slot, id: .number(id), scratch: &scratch)
        index.publish(slot: slot)
    }

    /// Retires `count` points and puts others in; the slots that the repair has to free.
    func replace(_ count: Int) throws -> [UInt32] {
        var doomed: [UInt32] = []
        var gone: [Int] = []
        for _ in 0..<count {
            let slot = try takeSlot()
            let position = Int.random(in: 0..<outside.count, using: &generator)
            let row = outside[position]
            outside.swapAt(position, outside.count - 1)
            outside.removeLast()
            try insert(row, slot: slot, id: nextID, scratch: &scratch)
            nextID += 1
            rowAt[Int(slot)] = row
            var victim: Int
            repeat { victim = Int.random(in: 0..<slots, using: &generator) } while rowAt[victim] < 0 || !index.live[victim]
            index.retire(slot: UInt32(victim))
            doomed.append(UInt32(victim))
            gone.append(rowAt[victim])
        }
        outside += gone
        replaced += count
        rows = (0..<slots).filter { index.live[$0] }.map { rowAt[$0] }
        return doomed
    }

    private func takeSlot() throws -> UInt32 {
        if let slot = free.popLast() { return slot }
        guard slots < rowAt.count else { throw NeedletailError(.internal, "slots were not given back") }
        defer { slots += 1 }
        return UInt32(slots)
    }

    func repair(_ doomed: [UInt32]) throws {
        cut(doomed)
        release(doomed)
    }

    func cut(_ doomed: [UInt32]) {
        let bits = SlotBits(capacity: rowAt.count)
        for slot in doomed { bits.set(Int(slot)) }
        index.replaceRetiredEntry()
        let step = 256
        for begin in stride(from: 0, to: slots, by: step) {
            index.repair(slots: begin..<min(slots, begin + step), doomed: bits, scratch: &repairScratch)
        }
    }

    func release(_ doomed: [UInt32]) {
        for slot in doomed {
            index.release(slot: slot)
            rowAt[Int(slot)] = -1
        }
        free += doomed
    }

    func recall(_ queries: [DenseVector], ef: Int) throws -> (recall: Double, distances: UInt64, wrong: Int) {
        var hits = 0
        var wrong = 0
        var work = SearchWork()
        for query in queries {
            let truth = Set(try index.exactSearch(query, limit: 10, deadline: nil, scratch: &scratch, precedes: <).nearest.map(\.slot))
            let found = try index.search(query, limit: 10, ef: ef, deadline: nil, scratch: &scratch)
            hits += found.nearest.prefix(10).count { truth.contains($0.slot) }
            wrong += found.nearest.count { !index.live[Int($0.slot)] }
            work += found.work
        }
        return (Double(hits) / Double(10 * queries.count), work.distances / UInt64(queries.count), wrong)
    }

    /// Microseconds of each of the searches, run again as long as `condition` says.
    func searchTimes(_ queries: [DenseVector], while condition: () -> Bool) throws -> [Double] {
        var times: [Double] = []
        repeat {
            for query in queries {
                let begin = ContinuousClock.now
                _ = try index.search(query, limit: 10, ef: 64, deadline: nil, scratch: &scratch)
                times.append(begin.duration(to: .now).milliseconds * 1000)
            }
        } while condition()
        return times
    }
}
