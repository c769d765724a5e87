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
    private static let (streams, someStreams) = (32, 8)
    /// Situations take turns, so that seconds in which the machine is slow spoil none of them.
    private static let (rounds, seconds) = (7, 0.5)
    /// A search with less than 50 ms left shares no call.
    private static let (littleTime, ampleTime) = (Duration.milliseconds(49), Duration.seconds(10))

    static func measure(
        _ data: VectorFile, _ queries: [DenseVector], field: VectorField, limit: Int, ef: Int
    ) async throws -> RequestCosts {
        let local = try LocalCluster()
        defer { local.stop() }
        try local.start(shardWorkers: 2)
        let cluster = try NeedletailCluster.connect(local.endpoint)
        while try await cluster.operations.clusterStatus(deadline: .after(.seconds(20))).nodesAlive < 2 { try await Task.sleep(for: .milliseconds(20)) }
        let bytes = try await footprint(data, field, cluster)
        for shards in [1, 2, 4] {
            try await fill("calibrate-\(shards)", data, rows: min(smallRows * shards, data.count), field, shards: shards, cluster)
        }
        func few(_ workers: Int, _ shards: Int, _ streams: Int, pause: Double = 0, sharesCalls: Bool = true) -> AskedCollection {
            let all = workers * shards
            let rows = Double(min(smallRows * all, data.count) / all)
            return AskedCollection("calibrate-\(all)", workers, shards, rows, streams: streams, pause: pause, sharesCalls: sharesCalls)
        }
        let large = Double(data.count / largeShards)
        var asked = [
            few(1, 1, 1), few(1, 1, someStreams), few(1, 1, streams), few(1, 1, streams, sharesCalls: false), few(2, 1, 1), few(2, 1, 1, pause: 1000),
            few(2, 1, 1, pause: 5000), few(2, 1, 3), few(2, 1, someStreams), few(2, 1, streams), few(2, 1, streams, sharesCalls: false),
            few(2, 2, 1), few(2, 2, streams), few(2, 2, streams, sharesCalls: false),
            AskedCollection("footprint", largeShards, 1, large, streams: someStreams), AskedCollection("footprint", largeShards, 1, large, streams: streams),
        ]
        for _ in 0...rounds {
            for index in asked.indices { try await asked[index].ask(queries, limit: limit, ef: ef, local, cluster) }
        }
        await cluster.close()
        let fit = RequestCostFit(
            asked.map(\.measured), latency: median(asked[0].latencies), cores: ProcessInfo.processInfo.activeProcessorCount)
        return RequestCosts(fit: fit, memoryBytes: bytes.memory, diskBytes: bytes.disk)
    }

    /// A collection, and how it is asked.
    private struct AskedCollection {
        let name: String
        let workers: Int
        let shardsPerWorker: Int
        let vectorsPerShard: Double
        let streams: Int
        /// Microseconds after each search.
        let pause: Double
        /// Whether searches travel to the workers together, as they do. To tell what that saves they are sent with so little time left that each travels alone.
        let sharesCalls: Bool
        /// By round, microseconds of processor time for one search.
        var spent: [RequestCostFit.Spent] = []
        /// By round, searches a second.
        var rates: [Double] = []
        /// By round, microseconds from end to end that half of them took at most.
        var latencies: [Double] = []

        init(_ name: String, _ workers: Int, _ shardsPerWorker: Int, _ vectorsPerShard: Double, streams: Int, pause: Double = 0, sharesCalls: Bool = true) {
            (self.name, self.workers, self.shardsPerWorker, self.vectorsPerShard) = (name, workers, shardsPerWorker, vectorsPerShard)
            (self.streams, self.pause, self.sharesCalls) = (streams, pause, sharesCalls)
        }

        var measured: RequestCostFit.Situation {
            // The first round makes connections.
            RequestCostFit.Situation(
                workers: workers, shardsPerWorker: shardsPerWorker, vectorsPerShard: vectorsPerShard, underWay: streams, pause: pause,
                sharesCalls: sharesCalls, spent: RequestCostFit.Spent(medianOf: spent.dropFirst()), rate: median(rates.dropFirst()))
        }

        mutating func ask(_ queries: [DenseVector], limit: Int, ef: Int, _ local: LocalCluster, _ cluster: NeedletailCluster) async throws {
            let requests = queries.map { PointsSearch(collection: name, queries: [NamedQuery(vector: $0, limit: limit, ef: ef)]) }
            let processes = ["coordinator", "shard-1", "shard-2"]
            func spentNow() throws -> [Double] {
                try processes.map { name in
                    guard local.isRunning(name), let time = local.processID(of: name).flatMap(CPUTime.process) else {
                        throw NeedletailError(.unavailable, "the \(name) that was measured has ended; calibrate again, with more memory free")
                    }
                    return time
                } + [CPUTime.process]
            }
            let (streams, pause, sharesCalls) = (streams, pause, sharesCalls)
            let start = ContinuousClock.now
            let before = try spentNow()
            let end = start.advanced(by: .seconds(RequestCosts.seconds))
            let (took, missed) = try await withThrowingTaskGroup(of: (took: [Double], missed: Int).self, returning: ([Double], Int).self) { group in
                for stream in 0..<streams {
                    group.addTask {
                        var (took, missed, sent) = ([Double](), 0, 0)
                        while ContinuousClock.now < end {
                            var request = requests[(stream + sent * streams) % requests.count]
                            sent += 1
                            request.deadline = .after(sharesCalls ? RequestCosts.ampleTime : RequestCosts.littleTime)
                            let begin = ContinuousClock.now
                            do {
                                _ = try await cluster.operations.search(request)
                                took.append(begin.duration(to: .now).milliseconds * 1000)
                            } catch let error as NeedletailError where error.code == .deadlineExceeded && !sharesCalls {
                                missed += 1
                            }
                            if pause > 0 { try await Task.sleep(for: .microseconds(pause)) }
                        }
                        return (took, missed)
                    }
                }
                return try await group.reduce(into: ([], 0)) { all, part in
                    all.0 += part.took
                    all.1 += part.missed
                }
            }
            // Hiccups cost little; where there is nothing else, nothing is measured.
            guard missed * Self.answersForAMiss < took.count else {
                throw NeedletailError(
                    .deadlineExceeded, "\(missed) searches took longer than 49 ms and \(took.count) did not: this machine is busy, or too slow; calibrate "
                        + "again when it is quiet, or with smaller vectors")
            }
            let each = zip(try spentNow(), before).map { ($0 - $1) * 1e6 / Double(took.count) }
            spent.append(RequestCostFit.Spent(coordinator: each[0], workers: each[1] + each[2], client: each[3]))
            rates.append(Double(took.count) / (start.duration(to: .now).milliseconds / 1000))
            latencies.append(median(took))
        }

        private static let answersForAMiss = 20
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

/// Of at least one value.
private func median(_ values: some Sequence<Double>) -> Double {
    let sorted = values.sorted()
    return sorted[sorted.count / 2]
}

extension RequestCostFit.Spent {
    /// Of each part.
    fileprivate init(medianOf all: some Sequence<RequestCostFit.Spent>) {
        self.init(coordinator: median(all.map(\.coordinator)), workers: median(all.map(\.workers)), client: median(all.map(\.client)))
    }
}
