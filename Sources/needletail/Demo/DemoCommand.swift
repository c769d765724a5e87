import ArgumentParser
import Foundation
import NeedletailAPI
import NeedletailClient
import NeedletailCore
import UnixSignals

struct DemoCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo",
        abstract: "Starts a cluster on this machine, loads real data, searches it, measures it, and stops it.",
        discussion: """
            One coordinator and three shard workers run as processes of their own on loopback. The data are 5,000 definitions from
            WordNet with their embeddings; the queries are 200 example sentences whose definition is known.
            """)

    @Option(help: "Shard workers to start.") var workers = 3
    @Option(help: "Shards of the collection.") var shards = 6

    func validate() throws {
        guard (1...64).contains(workers) else { throw ValidationError("--workers must be 1 to 64") }
        guard (1...Limits.shardsPerCollection).contains(shards) else { throw ValidationError("--shards must be 1 to \(Limits.shardsPerCollection)") }
    }

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await signal in signals { throw NeedletailError(.cancelled, "stopped by \(signal)") }
            }
            group.addTask { try await demonstrate() }
            // Whichever ends first; the other is waited for, so that nothing is left running.
            try await group.next()
            group.cancelAll()
        }
    }

    private func demonstrate() async throws {
        let data = try SampleData()
        let local = try LocalCluster()
        defer { local.stop() }
        print("Starting 1 coordinator and \(workers) shard workers on loopback …")
        try local.start(shardWorkers: workers)
        let cluster = try NeedletailCluster.connect(local.endpoint)
        do {
            try await waitForWorkers(cluster)
            try await show(cluster, data)
        } catch {
            await cluster.close()
            throw error
        }
        await cluster.close()
        print("\nStopping …")
    }

    private func waitForWorkers(_ cluster: NeedletailCluster) async throws {
        let deadline = Deadline.after(.seconds(20))
        while try await cluster.operations.clusterStatus(deadline: deadline).nodesAlive < workers {
            guard !deadline.isPast else { throw NeedletailError(.unavailable, "the shard workers did not register within 20 s") }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    private func show(_ cluster: NeedletailCluster, _ data: SampleData) async throws {
        let name = "wordnet"
        let field = VectorField(name: "text", dimensions: data.dimensions, metric: .cosine)
        _ = try await cluster.operations.createCollection(CollectionSpec(name: name, fields: [field], shardCount: shards), deadline: nil)
        let loaded = try await load(cluster, data, into: name)
        let size = "\(data.documents.count) points × \(data.dimensions) dimensions"
        print("Collection \"\(name)\": \(shards) shards, \(size), loaded at \(Int(loaded)) points per second.\n")
        for query in data.queries.prefix(5) { try await answer(query, cluster, data, in: name) }
        try await measure(cluster, data, in: name, pointsPerSecond: loaded)
    }

    /// Returns points per second.
    private func load(_ cluster: NeedletailCluster, _ data: SampleData, into name: String) async throws -> Double {
        let begin = ContinuousClock.now
        let writer = try await cluster.bulkWriter(collection: name)
        for start in stride(from: 0, to: data.documents.count, by: 500) {
            let batch = data.documents[start..<min(data.documents.count, start + 500)]
            try await writer.send(
                batch.map { document in
                    let payload: Payload = [
                        "text": .string(document.text), "pos": .string(document.pos), "lemmas": .list(document.lemmas.map { .string($0) }),
                    ]
                    return .upsert(
                        id: .number(document.id), vectors: [NamedVector(field: "text", vector: data.vector(of: document))],
                        payload: PayloadCoding.encode(payload))
                })
        }
        _ = try await writer.finish()
        return Double(data.documents.count) / (begin.duration(to: .now).milliseconds / 1000)
    }

    private func answer(_ query: SampleData.Query, _ cluster: NeedletailCluster, _ data: SampleData, in name: String) async throws {
        let search = NamedQuery(vector: data.vector(of: query), limit: 3, parts: PointParts(payload: true))
        let answer = try await cluster.operations.search(PointsSearch(collection: name, queries: [search]))
        print("“\(query.text)”")
        for (rank, point) in answer.results[0].enumerated() {
            let payload = try PayloadCoding.decode(point.payload)
            let mark = point.id == .number(query.relevant) ? "✓" : " "
            let words = Self.strings(payload["lemmas"]).joined(separator: ", ")
            let text = Self.strings(payload["text"]).joined()
            let column = words.padding(toLength: max(24, words.count), withPad: " ", startingAt: 0)
            print("  \(rank + 1) \(mark) \(String(format: "%.3f", point.score))  \(column)  \(text.prefix(72))")
        }
        print("")
    }

    private static func strings(_ value: PayloadValue?) -> [String] {
        switch value {
        case .string(let text): [text]
        case .list(let values): values.flatMap { strings($0) }
        default: []
        }
    }

    private func measure(_ cluster: NeedletailCluster, _ data: SampleData, in name: String, pointsPerSecond: Double) async throws {
        var latencies: [Double] = []
        var (agreeing, hits) = (0, 0)
        for query in data.queries {
            let vector = data.vector(of: query)
            let begin = ContinuousClock.now
            let walk = PointsSearch(collection: name, queries: [NamedQuery(vector: vector)])
            let found = try await cluster.operations.search(walk).results[0].map(\.id)
            latencies.append(begin.duration(to: .now).milliseconds)
            let truth = PointsSearch(collection: name, queries: [NamedQuery(vector: vector, exact: true)])
            let exact = try await cluster.operations.search(truth).results[0].map(\.id)
            agreeing += Set(found).intersection(exact).count
            hits += found.contains(.number(query.relevant)) ? 1 : 0
        }
        latencies.sort()
        let count = data.queries.count
        print("\(count) queries, one at a time:")
        print(String(format: "  recall@10 against exact search   %.4f", Double(agreeing) / Double(10 * count)))
        print(String(format: "  labelled definition in top ten   %.1f %%", 100 * Double(hits) / Double(count)))
        print(String(format: "  latency                          p50 %.2f ms, p99 %.2f ms", latencies[count / 2], latencies[count * 99 / 100]))
        print(String(format: "  load rate                        %.0f points per second", pointsPerSecond))
    }
}
