import Foundation
import NeedletailClient
import NeedletailCore
import NeedletailScale
import NeedletailSyntheticSets
import NeedletailVectors

/// What requests cost beside walks, from collections that differ in shards and nodes; and what a point takes of memory and disk.
struct RequestCosts {
    var fit: RequestCostFit
    var memoryBytes: Double
    var diskBytes: Double

    private static let smallRows = 2_000
    private static let largeShards = 2
    private static let seconds = 3.0
    private static let streams = 32

    static func measure(
        _ data: VectorFile, _ queries: [DenseVector], field: VectorField, limit: Int, ef: Int
    ) async throws -> RequestCosts {
        let local = try LocalCluster()
        defer { local.stop() }
        try local.start(shardWorkers: 2)
        let cluster = try NeedletailCluster.connect(local.endpoint)
        while try await cluster.operations.clusterStatus(deadline: .after(.seconds(20))).nodesAlive < 2 { try await Task.sleep(for: .milliseconds(20)) }
        let bytes = try await footprint(data, field, cluster)
        let large = try await sample("footprint", queries, limit: limit, ef: ef, local, cluster)
        _ = try await cluster.operations.deleteCollection("footprint", ignoreMissing: true, deadline: nil)
        var costs: [Int: Sample] = [:]
        for shards in [1, 2, 4] {
            let name = "calibrate-\(shards)"
            try await fill(name, data, rows: min(smallRows * shards, data.count), field, shards: shards, cluster)
            costs[shards] = try await sample(name, queries, limit: limit, ef: ef, local, cluster)
        }
        guard let one = costs[1], let two = costs[2], let four = costs[4] else { preconditionFailure("each was measured") }
        await cluster.close()
        let fit = RequestCostFit(
            one: one.full, two: two.full, four: four.full, large: .init(large.full, vectorsPerShard: Double(data.count / largeShards)), alone: one.alone,
            latency: one.latency, vectorsPerShard: Double(smallRows), underWay: streams, cores: ProcessInfo.processInfo.activeProcessorCount)
        return RequestCosts(fit: fit, memoryBytes: bytes.memory, diskBytes: bytes.disk)
    }

    /// What a search takes when there are many and when it is alone, and how long the latter takes from end to end, in microseconds.
    private struct Sample {
        var full: RequestCostFit.Spent
        var alone: RequestCostFit.Spent
        var latency: Quantiles
    }

    private static func sample(
        _ name: String, _ queries: [DenseVector], limit: Int, ef: Int, _ local: LocalCluster, _ cluster: NeedletailCluster
    ) async throws -> Sample {
        let requests = queries.map { PointsSearch(collection: name, queries: [NamedQuery(vector: $0, limit: limit, ef: ef)]) }
        func spent() -> RequestCostFit.Spent {
            func of(_ name: String) -> Double { local.processID(of: name).flatMap { CPUTime.process($0) } ?? 0 }
            return RequestCostFit.Spent(coordinator: of("coordinator"), workers: of("shard-1") + of("shard-2"), client: CPUTime.process)
        }
        func each(of count: Int, from earlier: RequestCostFit.Spent, to later: RequestCostFit.Spent) -> RequestCostFit.Spent {
            func each(_ difference: Double) -> Double { difference * 1e6 / Double(count) }
            return RequestCostFit.Spent(
                coordinator: each(later.coordinator - earlier.coordinator), workers: each(later.workers - earlier.workers),
                client: each(later.client - earlier.client))
        }
        var latency: [Double] = []
        let quiet = spent()
        for request in Array(repeating: requests, count: max(1, 4_000 / requests.count)).joined() {
            let begin = ContinuousClock.now
            _ = try await cluster.operations.search(request)
            latency.append(begin.duration(to: .now).milliseconds * 1000)
        }
        let before = spent()
        let end = ContinuousClock.now.advanced(by: .seconds(seconds))
        let count = try await withThrowingTaskGroup(of: Int.self) { group in
            for stream in 0..<streams {
                group.addTask {
                    var sent = 0
                    while ContinuousClock.now < end {
                        _ = try await cluster.operations.search(requests[(stream + sent * streams) % requests.count])
                        sent += 1
                    }
                    return sent
                }
            }
            return try await group.reduce(0, +)
        }
        return Sample(
            full: each(of: count, from: before, to: spent()), alone: each(of: latency.count, from: quiet, to: before), latency: Quantiles(of: latency))
    }

    /// Bytes of replicas for each vector, once all is encoded and checkpoints written.
    private static func footprint(_ data: VectorFile, _ field: VectorField, _ cluster: NeedletailCluster) async throws -> (memory: Double, disk: Double) {
        let rows = data.count
        try await fill("footprint", data, rows: rows, field, shards: largeShards, cluster)
        var last = (memory: UInt64(0), disk: UInt64(0))
        var since = ContinuousClock.now
        // A checkpoint of what is idle follows within seconds; then the figures stand still.
        while since.duration(to: .now) < .seconds(5) {
            try await Task.sleep(for: .milliseconds(250))
            let replicas = try await cluster.operations.shards(of: "footprint", deadline: nil).flatMap(\.replicas).compactMap(\.status)
            let sizes = (memory: replicas.reduce(0) { $0 + $1.memoryBytes }, disk: replicas.reduce(0) { $0 + $1.diskBytes })
            if sizes != last { (last, since) = (sizes, .now) }
        }
        guard last.memory > 0, last.disk > 0 else { throw NeedletailError(.unavailable, "the workers do not say how large their replicas are") }
        return (Double(last.memory) / Double(rows), Double(last.disk) / Double(rows))
    }

    private static func fill(
        _ name: String, _ data: VectorFile, rows: Int, _ field: VectorField, shards: Int, _ cluster: NeedletailCluster
    ) async throws {
        _ = try await cluster.operations.createCollection(CollectionSpec(name: name, fields: [field], shardCount: shards), deadline: nil)
        let writer = try await cluster.bulkWriter(collection: name)
        for start in stride(from: 0, to: rows, by: 1000) {
            let end = min(rows, start + 1000)
            let values = Array(data.values[start * data.dimensions..<end * data.dimensions])
            try await writer.send(PackedRows(ids: (start..<end).map { UInt64($0) }, field: "", element: .f32, rows: DenseVector(values).bytes))
        }
        _ = try await writer.finish()
        guard field.index.needsTraining else { return }
        _ = try await cluster.operations.train(CollectionTraining(collection: name))
        let deadline = Deadline.after(.seconds(300))
        while !deadline.isPast {
            let codec = try await cluster.operations.collection(name, deadline: nil).codecs.first
            if let codec, codec.version > 0, codec.encoded == codec.total, codec.total > 0 { return }
            try await Task.sleep(for: .milliseconds(50))
        }
        throw NeedletailError(.deadlineExceeded, "\(rows) vectors were not encoded within 300 s")
    }
}
