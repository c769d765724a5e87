import ArgumentParser
import Foundation
import NeedletailAPI
import NeedletailClient
import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailVectors

/// What the cluster adds to the engine: bulk load and search through a coordinator and a shard worker, against the same graph in this
/// process, in turns.
struct ClusterBenchmark: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "cluster", abstract: "Bulk load and search latency through real processes, against the same in this process.")

    @Option(help: "Base vectors: .fbin, .f16bin, .u8bin or .i8bin.") var base: String
    @Option(help: "Query vectors, same formats.") var query: String
    @Option(help: "Threads that build in this process; the shard worker uses as many.") var threads = 2
    @Option(help: "Search breadth.") var ef = 64
    @Option(help: "Passes over all queries, each both ways.") var rounds = 5
    @Option(help: "Times that both load, in turns.") var loads = 1

    func run() async throws {
        let vectors = try VectorFile(path: base)
        let queries = try VectorFile(path: query)
        let field = VectorField(name: "v", dimensions: vectors.dimensions, metric: .l2)
        let local = try LocalCluster()
        defer { local.stop() }
        try local.start(shardWorkers: 1)
        let cluster = try NeedletailCluster.connect(local.endpoint)
        let deadline = Deadline.after(.seconds(20))
        while try await cluster.operations.clusterStatus(deadline: deadline).nodesAlive < 1 { try await Task.sleep(for: .milliseconds(20)) }
        var graph: HNSWIndex?
        for _ in 0..<loads {
            _ = try await cluster.operations.deleteCollection("bench", ignoreMissing: true, deadline: nil)
            _ = try await cluster.operations.createCollection(CollectionSpec(name: "bench", fields: [field]), deadline: nil)
            let remote = try await load(vectors, cluster)
            graph = nil
            let begin = ContinuousClock.now
            graph = try await GraphBuild.build(vectors, field: field, threads: threads)
            let inProcess = begin.duration(to: .now).milliseconds / 1000
            emit("bulk-load", [
                "cluster_seconds": format(remote), "in_process_seconds": format(inProcess), "rate_ratio": format(inProcess / remote),
            ])
        }
        // The checkpoints that the load set off come to an end before latencies are taken.
        try await Task.sleep(for: .seconds(6))
        if let graph { try await search(queries, cluster, graph) }
        await cluster.close()
    }

    private func load(_ vectors: VectorFile, _ cluster: NeedletailCluster) async throws -> Double {
        let begin = ContinuousClock.now
        let writer = try await cluster.bulkWriter(collection: "bench")
        let batch = 1000
        for start in stride(from: 0, to: vectors.count, by: batch) {
            let end = min(vectors.count, start + batch)
            let values = Array(vectors.values[start * vectors.dimensions..<end * vectors.dimensions])
            try await writer.send(
                PackedRows(ids: (start..<end).map { UInt64($0) }, field: "", element: .f32, rows: DenseVector(values).bytes))
        }
        let summary = try await writer.finish()
        precondition(Int(summary.applied) == vectors.count, "every point is acknowledged")
        return begin.duration(to: .now).milliseconds / 1000
    }

    private func search(_ queries: VectorFile, _ cluster: NeedletailCluster, _ graph: HNSWIndex) async throws {
        let vectors = (0..<queries.count).map(queries.vector)
        var scratch = SearchScratch()
        for round in 0..<rounds {
            var (remote, inProcess): ([Double], [Double]) = ([], [])
            for vector in vectors {
                let request = PointsSearch(collection: "bench", queries: [NamedQuery(vector: vector, limit: 10, ef: ef)])
                let begin = ContinuousClock.now
                _ = try await cluster.operations.search(request)
                remote.append(begin.duration(to: .now).milliseconds * 1000)
            }
            for vector in vectors {
                let begin = ContinuousClock.now
                _ = try graph.search(vector, limit: 10, ef: ef, deadline: nil, scratch: &scratch)
                inProcess.append(begin.duration(to: .now).milliseconds * 1000)
            }
            remote.sort()
            inProcess.sort()
            let middle = vectors.count / 2
            emit("search", [
                "round": "\(round)", "cluster_p50_us": format(remote[middle]), "cluster_p99_us": format(remote[vectors.count * 99 / 100]),
                "in_process_p50_us": format(inProcess[middle]), "added_p50_us": format(remote[middle] - inProcess[middle]),
            ])
        }
    }

    private func format(_ value: Double) -> String { String(format: "%.3f", value) }

    private func emit(_ phase: String, _ values: [String: String]) {
        let pairs = [("phase", "\"\(phase)\"")] + values.sorted { $0.key < $1.key }
        print("{" + pairs.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}")
        fflush(nil)
    }
}
