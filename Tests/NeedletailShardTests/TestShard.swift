import NeedletailCore
import NeedletailShard
import NeedletailStorage
import NeedletailTestSupport

/// One shard over the whole hash space on a node of its own.
struct TestShard {
    static let id = ShardID(incarnation: Incarnation(7), number: 0)
    let node: LocalNode

    static func spec(dimensions: Int = 8, metric: Metric = .l2) -> CollectionSpec {
        CollectionSpec(
            name: "test",
            fields: [
                VectorField(name: "a", dimensions: dimensions, metric: metric),
                VectorField(name: "b", dimensions: 4, metric: .cosine, element: .f16),
            ])
    }

    /// Opens the node in `directory` and waits until its replica serves; makes the replica when there is none.
    static func open(
        _ directory: TemporaryDirectory, spec: CollectionSpec = spec(), configuration: ReplicaConfiguration = small(), disk: Disk = .real
    ) async throws -> TestShard {
        let resources = NodeResources(searchThreads: 2, buildThreads: 2, configuration: configuration, disk: disk)
        let node = LocalNode(directory: directory.path, resources: resources)
        try node.start()
        try await node.createReplica(
            ReplicaAssignment(shard: id, range: HashRange(first: 0, last: .max), epoch: 1, collection: spec), deadline: nil)
        return TestShard(node: node)
    }

    /// Everything happens early: checkpoints every 100 points, repairs every 50.
    static func small() -> ReplicaConfiguration {
        var configuration = ReplicaConfiguration()
        configuration.capacity = 1 << 18
        configuration.checkpointPoints = 100
        configuration.repairPoints = 50
        configuration.groupPoints = 64
        configuration.repairStep = 100
        configuration.log.segmentBytes = 64 << 10
        return configuration
    }

    @discardableResult func write(_ operations: [PointOperation]) async throws -> WriteReceipt {
        try await node.write(ShardWrite(shard: Self.id, epoch: 1, batch: WriteBatch(operations).encoded))
    }

    func search(_ query: [Float], limit: Int = 10, exact: Bool = false, parts: PointParts = PointParts()) async throws -> [ScoredPoint] {
        let query = SearchQuery(field: 0, vector: DenseVector(query), limit: limit, exact: exact, parts: parts)
        let response = try await node.search(NodeSearchRequest(shards: [Self.id], queries: [query]))
        for report in response.reports { if case .failed(let error) = report.outcome { throw error } }
        return response.results[0]
    }

    func get(_ ids: [PointID]) async throws -> [StoredPoint] {
        try await node.get(ShardGet(shard: Self.id, ids: ids, parts: PointParts(payload: true, vectors: true))).points
    }

    func scrollAll(page: Int) async throws -> [StoredPoint] {
        var points: [StoredPoint] = []
        while true {
            let next = try await node.scroll(
                ShardScroll(shard: Self.id, after: points.last?.id, limit: page, parts: PointParts(payload: true, vectors: true)))
            points += next.points
            if !next.hasMore { return points }
        }
    }
}

/// What the shard ought to hold.
struct ModelShard {
    struct Entry: Equatable {
        var vectors: [FieldVector]
        var payload: Payload
    }

    var points: [PointID: Entry] = [:]

    /// Tried on a copy, and kept only if it touched nothing outside and left nothing there.
    private mutating func apply(_ operation: PointOperation, within filter: PayloadFilter) throws -> OperationOutcome {
        if let present = points[operation.id], !filter.matches(present.payload) { return operation.upserted == nil ? .notFound : .outside }
        var changed = self
        let outcome = try changed.apply(operation)
        if outcome == .applied, let after = changed.points[operation.id], !filter.matches(after.payload) { return .outside }
        self = changed
        return outcome
    }

    mutating func apply(_ operation: PointOperation) throws -> OperationOutcome {
        switch operation {
        case .upsert(let point):
            points[point.id] = Entry(vectors: point.vectors, payload: try PayloadCoding.decode(point.payload))
            return .applied
        case .delete(let id): return points.removeValue(forKey: id) == nil ? .notFound : .applied
        case .setPayload(let id, let values):
            guard points[id] != nil else { return .notFound }
            points[id]?.payload.merge(values) { $1 }
        case .overwritePayload(let id, let values):
            guard points[id] != nil else { return .notFound }
            points[id]?.payload = values
        case .deletePayloadKeys(let id, let keys):
            guard points[id] != nil else { return .notFound }
            for key in keys { points[id]?.payload[key] = nil }
        case .guarded(let filter, let inner): return try apply(inner, within: filter)
        }
        return .applied
    }
}
