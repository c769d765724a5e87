import NeedletailCore
import Synchronization

/// A cluster in a dictionary: enough to see that calls arrive as they were made and answers come back.
final class FakeCluster: ClusterOperations {
    struct State {
        var collections: [String: CollectionInfo] = [:]
        var points: [PointID: NamedPoint] = [:]
        var sequence: UInt64 = 0
        var writesInFlight = 0
        var mostWritesInFlight = 0
        var idsInFlight: Set<PointID> = []
        var overlapped = false
        var lastWrite: PointsWrite?
        var lastSearch: PointsSearch?
    }

    let state = Mutex(State())
    let writeDelay: Duration
    /// Writes of this id fail.
    let poison: PointID?

    init(writeDelay: Duration = .zero, poison: PointID? = nil) {
        self.writeDelay = writeDelay
        self.poison = poison
    }

    func createCollection(_ spec: CollectionSpec, deadline: Deadline?) async throws -> CollectionInfo {
        try state.withLock { state in
            guard state.collections[spec.name] == nil else {
                throw NeedletailError(.alreadyExists, "\(spec.name) exists; choose another name")
            }
            let info = CollectionInfo(spec: spec, incarnation: Incarnation(0xabcd))
            state.collections[spec.name] = info
            return info
        }
    }

    func collection(_ name: String, deadline: Deadline?) async throws -> CollectionInfo {
        guard let info = state.withLock({ $0.collections[name] }) else {
            throw NeedletailError(.notFound, "no collection \(name); create it")
        }
        return info
    }

    func collections(deadline: Deadline?) async throws -> [CollectionInfo] {
        state.withLock { $0.collections.values.sorted { $0.spec.name < $1.spec.name } }
    }

    func updateCollection(_ name: String, changes: CollectionChanges, deadline: Deadline?) async throws -> CollectionInfo {
        var info = try await collection(name, deadline: deadline)
        if let durability = changes.durability { info.spec.durability = durability }
        return info
    }

    func train(_ request: CollectionTraining) async throws -> CollectionInfo {
        var info = try await collection(request.collection, deadline: request.deadline)
        info.codecs = [CodecProgress(version: 1, encoded: UInt64(request.queries.count), total: 9)]
        return info
    }

    func deleteCollection(_ name: String, ignoreMissing: Bool, deadline: Deadline?) async throws -> Bool {
        let was = state.withLock { $0.collections.removeValue(forKey: name) }
        guard was != nil || ignoreMissing else { throw NeedletailError(.notFound, "no collection \(name)") }
        return was != nil
    }

    func write(_ request: PointsWrite) async throws -> WriteSummary {
        let ids = Set(request.operations.map(\.id))
        if let poison, ids.contains(poison) { throw NeedletailError(.resourceExhausted, "the disk is full; make room") }
        state.withLock { state in
            state.lastWrite = request
            state.writesInFlight += 1
            state.mostWritesInFlight = max(state.mostWritesInFlight, state.writesInFlight)
            if !state.idsInFlight.isDisjoint(with: ids) { state.overlapped = true }
            state.idsInFlight.formUnion(ids)
        }
        if writeDelay > .zero { try await Task.sleep(for: writeDelay) }
        return try state.withLock { state in
            state.writesInFlight -= 1
            state.idsInFlight.subtract(ids)
            state.sequence += 1
            var summary = WriteSummary(sequences: [0: state.sequence])
            for operation in request.operations {
                if try Self.apply(operation, &state) { summary.applied += 1 } else { summary.notFound += 1 }
            }
            return summary
        }
    }

    private static func apply(_ operation: NamedOperation, _ state: inout State) throws -> Bool {
        if case .upsert(let id, let vectors, let payload) = operation {
            state.points[id] = NamedPoint(id: id, vectors: vectors, payload: payload, sequence: state.sequence)
            return true
        }
        guard var point = state.points[operation.id] else { return false }
        var payload = try PayloadCoding.decode(point.payload)
        switch operation {
        case .setPayload(_, let change): payload.merge(change) { _, new in new }
        case .overwritePayload(_, let change): payload = change
        case .deletePayloadKeys(_, let keys): for key in keys { payload[key] = nil }
        default:
            state.points[operation.id] = nil
            return true
        }
        point.payload = PayloadCoding.encode(payload)
        state.points[operation.id] = point
        return true
    }

    private static let coverage = Coverage(shards: [
        ShardReport(shard: ShardID(incarnation: Incarnation(0), number: 0), outcome: .complete, appliedSequence: 7)
    ])

    func get(_ request: PointsGet) async throws -> PointsAnswer {
        PointsAnswer(points: state.withLock { state in request.ids.compactMap { state.points[$0] } }, coverage: Self.coverage)
    }

    func scroll(_ request: PointsScroll) async throws -> NamedScrollPage {
        state.withLock { state in
            let ids = state.points.keys.sorted().filter { id in request.after.map { $0 < id } ?? true }
            return NamedScrollPage(points: ids.prefix(request.limit).map { state.points[$0]! }, hasMore: ids.count > request.limit)
        }
    }

    func count(_ collection: String, within filter: PayloadFilter?, read: ReadOptions, deadline: Deadline?) async throws -> CountAnswer {
        CountAnswer(count: UInt64(state.withLock { $0.points.count }), coverage: Self.coverage)
    }

    func search(_ request: PointsSearch) async throws -> SearchAnswer {
        let ids = state.withLock { state in
            state.lastSearch = request
            return state.points.keys.sorted()
        }
        let results = request.queries.map { query in
            ids.prefix(query.limit).enumerated().map { NamedScoredPoint(id: $1, score: -Float($0), distance: Float($0)) }
        }
        return SearchAnswer(results: results, coverage: Self.coverage, work: SearchWork(distances: 11, hops: 3))
    }

    func clusterStatus(deadline: Deadline?) async throws -> ClusterStatus {
        ClusterStatus(
            clusterID: 5, version: "test", nodesTotal: 2, nodesAlive: 1, collections: 1, shardsTotal: 2, shardsReady: 1, points: 3)
    }

    func nodes(deadline: Deadline?) async throws -> [NodeInfo] {
        [
            NodeInfo(
                id: 9, address: "h:1", isAlive: true, replicas: 2, points: 3, memoryBytes: 4, diskBytes: 5,
                heartbeatAge: .milliseconds(6))
        ]
    }

    func shards(of collection: String?, deadline: Deadline?) async throws -> [ShardInfo] {
        [ShardInfo(collection: collection ?? "all", number: 0, range: HashRange(first: 0, last: .max), epoch: 1, replicas: [])]
    }

    private func echo(_ order: MoveOrder) -> OperationInfo {
        let info = MoveInfo(order: order, bytes: 12, cause: "by hand", reason: "asked for")
        return OperationInfo(id: 0xfe, move: info, step: "adding", problem: "", createdMilliseconds: -5, changedMilliseconds: 6)
    }

    func plan(deadline: Deadline?) async throws -> MovePlan {
        MovePlan(moves: [echo(MoveOrder(collection: "c", shard: 3, to: 4)).move], held: "paused")
    }
    func move(_ order: MoveOrder, deadline: Deadline?) async throws -> OperationInfo { echo(order) }
    func split(_ order: ShardSplitOrder, deadline: Deadline?) async throws -> OperationInfo {
        echo(MoveOrder(collection: order.collection, shard: order.shard, from: order.at))
    }
    func merge(_ order: ShardMergeOrder, deadline: Deadline?) async throws -> OperationInfo {
        echo(MoveOrder(collection: order.collection, shard: order.shard, from: UInt64(order.other)))
    }
    func cancelMove(_ id: UInt64, deadline: Deadline?) async throws -> OperationInfo { echo(MoveOrder(collection: "\(id)", shard: 0)) }
    func drain(_ node: UInt64, isDrained: Bool, deadline: Deadline?) async throws -> NodeInfo {
        NodeInfo(
            id: node, address: "a:1", isAlive: true, replicas: 0, points: 0, memoryBytes: 0, diskBytes: 0, heartbeatAge: .zero,
            facts: NodeFacts(zone: "z", weight: 2, memoryLimitBytes: 3, diskLimitBytes: 4, diskFreeBytes: 5), isDrained: isDrained)
    }
    func forget(_ node: UInt64, deadline: Deadline?) async throws -> NodeInfo {
        NodeInfo(id: node, address: "", isAlive: false, replicas: 0, points: 0, memoryBytes: 0, diskBytes: 0, heartbeatAge: .seconds(1))
    }
    func pauseMoves(_ isPaused: Bool, deadline: Deadline?) async throws -> OperationList { OperationList(isPaused: isPaused, operations: []) }
    func operations(deadline: Deadline?) async throws -> OperationList {
        OperationList(isPaused: true, operations: [echo(MoveOrder(collection: "c", shard: 1, from: 2, to: 3, isLeadOnly: true))])
    }
    func events(after number: UInt64, deadline: Deadline?) async throws -> [EventInfo] {
        [EventInfo(number: number + 1, milliseconds: 7, kind: "move", message: "hello")]
    }
}

/// A worker that answers with what it was asked.
final class FakeWorker: ShardOperations, MembershipOperations {
    let assignments = Mutex<[ReplicaAssignment]>([])
    let lastDeadline = Mutex<Deadline?>(nil)

    func write(_ request: ShardWrite) async throws -> WriteReceipt {
        lastDeadline.withLock { $0 = request.deadline }
        guard request.epoch == 1 else { throw NeedletailError(.aborted, "epoch \(request.epoch) is stale; read the map again") }
        return WriteReceipt(sequence: UInt64(request.batch.count), outcomes: [.applied, .notFound])
    }

    func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse {
        let points = request.queries.map { query in
            [
                ScoredPoint(
                    id: .number(UInt64(query.limit)), score: 0.5, vectors: [FieldVector(field: query.field, vector: query.vector)])
            ]
        }
        let reports = request.shards.map {
            ShardReport(shard: $0, outcome: .failed(NeedletailError(.notFound, "not here")), appliedSequence: 0)
        }
        return NodeSearchResponse(results: points, reports: reports, work: SearchWork(distances: 1, hops: 2))
    }

    func get(_ request: ShardGet) async throws -> ShardPoints {
        ShardPoints(points: request.ids.map { StoredPoint(id: $0, vectors: [], payload: [1, 2], sequence: 3) }, appliedSequence: 9)
    }

    func scroll(_ request: ShardScroll) async throws -> ScrollPage {
        ScrollPage(
            points: request.after.map { [StoredPoint(id: $0, vectors: [], payload: [], sequence: UInt64(request.limit))] } ?? [],
            hasMore: true)
    }

    func count(_ shard: ShardID, within filter: PayloadFilter?, condition: ReadCondition, deadline: Deadline?) async throws -> ShardCount {
        ShardCount(count: UInt64(shard.number), appliedSequence: 8)
    }

    func updateReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        try await createReplica(assignment, deadline: deadline)
    }

    func createReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        lastDeadline.withLock { $0 = deadline }
        assignments.withLock { $0.append(assignment) }
    }

    func dropReplica(_ shard: ShardID, deadline: Deadline?) async throws {
        lastDeadline.withLock { $0 = deadline }
        assignments.withLock { $0.removeAll { $0.shard == shard } }
    }

    func sample(_ request: ShardSample) async throws -> [UInt8] { [UInt8](repeating: UInt8(request.field), count: request.count) }

    func train(_ request: CodecTrainingRequest) async throws -> [UInt8] { request.sample + request.queries }

    func status() async throws -> NodeStatus {
        NodeStatus(replicas: assignments.withLock { $0.map { ReplicaStatus(shard: $0.shard, state: .ready) } })
    }

    func heartbeat(_ heartbeat: Heartbeat) async throws -> HeartbeatAnswer {
        HeartbeatAnswer(cluster: heartbeat.node, leadership: nil, assignments: assignments.withLock { $0 })
    }
}
