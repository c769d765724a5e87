import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailShard
import NeedletailStorage
import NeedletailSyntheticSets

/// Loading, searching beside checkpoints, and restarting one durable shard, against the same graph built in memory.
struct ShardBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "shard", abstract: "Load rate, search latency beside checkpoints, and restart time of one durable shard.")

    @Option(help: "Base vectors: .fbin, .f16bin, .u8bin or .i8bin.") var base: String
    @Option(help: "Query vectors, same formats.") var query: String
    @Option(help: "Folder for the shard's data; removed and made anew.") var data = "/tmp/needletail-bench-shard"
    @Option(help: "Threads that build, and as many that search.") var threads = 2
    @Option(help: "Points a write.") var batch = 500
    @Option(help: "Seconds of searching in each phase.") var seconds = 10.0

    private static let shard = ShardID(incarnation: Incarnation(1), number: 0)

    func run() async throws {
        let vectors = try VectorFile(path: base)
        let queries = try VectorFile(path: query)
        try? FileManager.default.removeItem(atPath: data)
        let field = VectorField(name: "v", dimensions: vectors.dimensions, metric: .l2)
        let spec = CollectionSpec(name: "bench", fields: [field])
        let node = try await open(spec, directory: data)
        let loadSeconds = try await load(vectors, into: node)
        emit("load", ["points": "\(vectors.count)", "seconds": format(loadSeconds), "points_per_second": format(Double(vectors.count) / loadSeconds)])
        try await settle(node)
        for round in 0..<3 {
            let quiet = try await search(queries, node: node, writing: nil, checkpointing: false)
            emit("search-quiet", ["round": "\(round)"].merging(quiet) { $1 })
            let writing = try await search(queries, node: node, writing: vectors, checkpointing: false)
            emit("search-beside-writes", ["round": "\(round)"].merging(writing) { $1 })
            let busy = try await search(queries, node: node, writing: vectors, checkpointing: true)
            emit("search-beside-writes-and-checkpoints", ["round": "\(round)"].merging(busy) { $1 })
        }
        // As after a kill: a copy of the folder while the replica is open, with as many writes behind the checkpoint as there can be.
        try await leaveTail(vectors, node)
        let copy = data + "-killed"
        try? FileManager.default.removeItem(atPath: copy)
        try FileManager.default.copyItem(atPath: data, toPath: copy)
        await node.close()
        try await restart("restart-to-first-answer", spec, queries, directory: data)
        try await restart("restart-after-kill-to-first-answer", spec, queries, directory: copy)
    }

    private func open(_ spec: CollectionSpec, directory: String) async throws -> LocalNode {
        let node = LocalNode(directory: directory, resources: NodeResources(searchThreads: threads, buildThreads: threads))
        try node.start()
        try await node.createReplica(
            ReplicaAssignment(shard: Self.shard, range: HashRange(first: 0, last: .max), epoch: 1, collection: spec), deadline: nil)
        return node
    }

    private func load(_ vectors: VectorFile, into node: LocalNode) async throws -> Double {
        let begin = ContinuousClock.now
        let next = SharedCounter()
        let batches = (vectors.count + batch - 1) / batch
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<8 {
                group.addTask { while let index = next.take(below: batches) { try await write(vectors, index, node) } }
            }
            try await group.waitForAll()
        }
        return begin.duration(to: .now).milliseconds / 1000
    }

    private func write(_ vectors: VectorFile, _ index: Int, _ node: LocalNode) async throws {
        let rows = index * batch..<min(vectors.count, (index + 1) * batch)
        let operations = rows.map { row in
            PointOperation.upsert(Point(id: .number(UInt64(row)), vectors: [FieldVector(field: 0, vector: vectors.vector(row))]))
        }
        _ = try await node.write(ShardWrite(shard: Self.shard, epoch: 1, batch: WriteBatch(operations).encoded))
    }

    /// Writes what a checkpoint would begin after, so that it is all in the log's tail.
    private func leaveTail(_ vectors: VectorFile, _ node: LocalNode) async throws {
        try await settle(node)
        let points = max(ReplicaConfiguration().checkpointPoints, vectors.count / 32) - batch
        for index in 0..<points / batch { try await write(vectors, index, node) }
    }

    private func restart(_ phase: String, _ spec: CollectionSpec, _ queries: VectorFile, directory: String) async throws {
        let begin = ContinuousClock.now
        let node = try await open(spec, directory: directory)
        _ = try await node.search(request(queries.vector(0)))
        emit(phase, ["seconds": format(begin.duration(to: .now).milliseconds / 1000)])
        await node.close()
        try FileManager.default.removeItem(atPath: directory)
    }

    /// Waits for the checkpoint that idleness brings.
    private func settle(_ node: LocalNode) async throws {
        for _ in 0..<50 {
            node.tick()
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private func request(_ vector: DenseVector) -> NodeSearchRequest {
        NodeSearchRequest(shards: [Self.shard], queries: [SearchQuery(field: 0, vector: vector, limit: 10, ef: 64)])
    }

    /// One search after another; with `writing`, single points are rewritten, with `checkpointing` a checkpoint is asked for as soon as
    /// one has ended.
    private func search(_ queries: VectorFile, node: LocalNode, writing: VectorFile?, checkpointing: Bool) async throws -> [String: String] {
        let end = ContinuousClock.now.advanced(by: .seconds(seconds))
        var latencies: [Double] = []
        try await withThrowingTaskGroup(of: [Double].self) { group in
            group.addTask {
                var latencies: [Double] = []
                var index = 0
                while ContinuousClock.now < end {
                    let begin = ContinuousClock.now
                    _ = try await node.search(request(queries.vector(index % queries.count)))
                    latencies.append(begin.duration(to: .now).milliseconds)
                    index += 1
                }
                return latencies
            }
            if let writing {
                group.addTask {
                    var row = 0
                    while ContinuousClock.now < end {
                        let point = Point(id: .number(UInt64(row)), vectors: [FieldVector(field: 0, vector: writing.vector(row))])
                        _ = try await node.write(ShardWrite(shard: Self.shard, epoch: 1, batch: WriteBatch([.upsert(point)]).encoded))
                        if checkpointing { node.checkpointNow() }
                        row = (row + 7919) % writing.count
                        try await Task.sleep(for: .milliseconds(5))
                    }
                    return []
                }
            }
            for try await part in group { latencies += part }
        }
        latencies.sort()
        return [
            "searches": "\(latencies.count)", "p50_ms": format(latencies[latencies.count / 2]),
            "p99_ms": format(latencies[latencies.count * 99 / 100]), "p999_ms": format(latencies[latencies.count * 999 / 1000]),
            "max_ms": format(latencies.last ?? 0),
        ]
    }

    private func format(_ value: Double) -> String { String(format: "%.3f", value) }

    private func emit(_ phase: String, _ values: [String: String]) {
        let pairs = [("phase", "\"\(phase)\"")] + values.sorted { $0.key < $1.key }
        print("{" + pairs.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}")
        fflush(nil)
    }
}
