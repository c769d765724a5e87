import NeedletailCoordinator
import NeedletailCore
import NeedletailMetadata
import NeedletailTestSupport
import Synchronization
import Testing

/// A worker whose shards have so many vectors each, and which learns from a sample how large it was.
private final class TrainingWorker: ShardOperations {
    struct State {
        var points: UInt64 = 0
        var samples: [ShardSample] = []
        var trainings: [CodecTrainingRequest] = []
        var isRefusing = false
    }

    let state = Mutex(State())
    private static let notAsked = NeedletailError(.unimplemented, "not part of this test")

    func sample(_ request: ShardSample) async throws -> [UInt8] {
        state.withLock { $0.samples.append(request) }
        // Two dimensions of float32; the shard's number tells where a vector is from.
        return [UInt8](repeating: UInt8(request.shard.number), count: request.count * 8)
    }

    func train(_ request: CodecTrainingRequest) async throws -> [UInt8] {
        try state.withLock { state in
            state.trainings.append(request)
            if state.isRefusing { throw NeedletailError(.internal, "cannot learn") }
            return [1, 2, 3]
        }
    }

    func count(_ shard: ShardID, within filter: PayloadFilter?, condition: ReadCondition, deadline: Deadline?) async throws -> ShardCount {
        ShardCount(count: state.withLock { $0.points }, appliedSequence: 1)
    }

    func updateReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        try await createReplica(assignment, deadline: deadline)
    }

    func createReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {}
    func dropReplica(_ shard: ShardID, deadline: Deadline?) async throws {}
    func write(_ request: ShardWrite) async throws -> WriteReceipt { throw Self.notAsked }
    func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse { throw Self.notAsked }
    func get(_ request: ShardGet) async throws -> ShardPoints { throw Self.notAsked }
    func scroll(_ request: ShardScroll) async throws -> ScrollPage { throw Self.notAsked }
    func status() async throws -> NodeStatus { NodeStatus(replicas: []) }
}

@Suite(.timeLimit(.minutes(1))) struct TrainingTests {
    private let directory = TemporaryDirectory()
    private let worker = TrainingWorker()

    private func spec(_ index: String) throws -> CollectionSpec {
        let fields = [
            VectorField(name: "v", dimensions: 2, metric: .l2, index: try IndexSpec(text: index)), VectorField(name: "w", dimensions: 2, metric: .l2),
        ]
        return CollectionSpec(name: "c", fields: fields, shardCount: 3)
    }

    private func coordinator(_ metadata: EmbeddedMetadataStore? = nil) async throws -> Coordinator {
        let worker = worker
        return try await Coordinator.open(metadata: metadata ?? EmbeddedMetadataStore(directory: directory.path)) { _ in
            Coordinator.WorkerLink(operations: worker, replication: NoFellows(), retryNow: {}, close: {})
        }
    }

    /// A heartbeat of a worker that has the shards of the collection, with so many points and this version of the codec.
    private func beat(_ coordinator: Coordinator, points: UInt64 = 0, version: UInt64 = 0) async throws -> HeartbeatAnswer {
        let incarnation = try? await coordinator.collection("c", deadline: nil).incarnation
        let replicas = incarnation.map { incarnation in
            (0..<3).map { number in
                ReplicaStatus(
                    shard: ShardID(incarnation: incarnation, number: number), state: .ready, pointCount: points,
                    codecs: [0: CodecProgress(version: version, encoded: version == 0 ? 0 : points, total: version == 0 ? 0 : points)])
            }
        }
        worker.state.withLock { $0.points = points }
        return try await coordinator.heartbeat(
            Heartbeat(node: 1, address: "a:1", cluster: 0, status: NodeStatus(replicas: replicas ?? []), isDraining: false))
    }

    private func code(_ body: () async throws -> Void) async -> NeedletailError.Code? {
        do { try await body() } catch { return (error as? NeedletailError)?.code }
        return nil
    }

    @Test func aCollectionWithEnoughPointsIsTrainedOnceAndItsWorkersAreTold() async throws {
        let metadata = try EmbeddedMetadataStore(directory: directory.path)
        var coordinator = try await coordinator(metadata)
        _ = try await beat(coordinator)
        _ = try await coordinator.createCollection(try spec("lvq8"), deadline: nil)
        _ = try await beat(coordinator, points: 600)
        await coordinator.trainWhatIsDue()
        #expect(worker.state.withLock { $0.trainings.isEmpty })
        #expect(try await coordinator.collection("c", deadline: nil).codecs == [CodecProgress(), CodecProgress()])

        _ = try await beat(coordinator, points: 700)
        await coordinator.trainWhatIsDue()
        await coordinator.trainWhatIsDue()
        let (samples, trainings) = worker.state.withLock { ($0.samples, $0.trainings) }
        #expect(samples.map(\.count) == [700, 700, 700] && trainings.count == 1)
        #expect(trainings[0].sample == (0..<3).flatMap { [UInt8](repeating: $0, count: 5_600) })
        #expect(try await coordinator.collection("c", deadline: nil).codecs[0] == CodecProgress(version: 1, encoded: 0, total: 2_100))

        let model = FieldModel(field: 0, version: 1, bytes: [1, 2, 3])
        #expect(try await beat(coordinator, points: 700).models.map(\.model) == [model])
        #expect(try await beat(coordinator, points: 700, version: 1).models.isEmpty)
        #expect(try await coordinator.collections(deadline: nil)[0].codecs[0].isDone)

        // The model is in the metadata: another coordinator hands out the same.
        await coordinator.close()
        coordinator = try await self.coordinator(metadata)
        #expect(try await beat(coordinator, points: 700).models.map(\.model) == [model])
        await coordinator.trainWhatIsDue()
        #expect(worker.state.withLock { $0.trainings.count } == 1)
    }

    @Test func askingTrainsAtOnceAndSaysWhyNot() async throws {
        let coordinator = try await coordinator()
        _ = try await beat(coordinator)
        let train = { (field: String, queries: [UInt8]) in
            _ = try await coordinator.train(CollectionTraining(collection: "c", field: field, queries: queries, deadline: .after(.seconds(30))))
        }
        #expect(await code { try await train("", []) } == .notFound)
        _ = try await coordinator.createCollection(try spec("leanvec1(queries),lvq8"), deadline: nil)
        _ = try await beat(coordinator, points: 0)
        #expect(await code { try await train("", []) } == .failedPrecondition)
        _ = try await beat(coordinator, points: 9_999)
        // Nobody but a caller has queries.
        await coordinator.trainWhatIsDue()
        #expect(worker.state.withLock { $0.trainings.isEmpty })
        #expect(await code { try await train("w", []) } == .invalidArgument)
        #expect(await code { try await train("x", []) } == .invalidArgument)
        try await train("v", [7, 7])
        let training = worker.state.withLock { $0.trainings[0] }
        let field = try spec("leanvec1(queries),lvq8").fields[0]
        #expect(training.queries == [7, 7] && training.field == field)
        #expect(training.sample.count >= 20_000 * 8 && training.sample.count <= 20_003 * 8)
        try await train("", [])
        #expect(worker.state.withLock { $0.trainings.count } == 1)
        // A field that is named is trained again, on other vectors.
        let seeds = Set(worker.state.withLock { $0.samples.map(\.seed) })
        try await train("v", [8, 8])
        #expect(worker.state.withLock { $0.trainings.count } == 2)
        #expect(seeds.isDisjoint(with: worker.state.withLock { $0.samples.suffix(3).map(\.seed) }))
        #expect(try await coordinator.collection("c", deadline: nil).codecs[0].version == 2)
        #expect(try await beat(coordinator, points: 9_999, version: 1).models.map(\.model.version) == [2])
        #expect(try await beat(coordinator, points: 9_999, version: 2).models.isEmpty)
        #expect(try await coordinator.collection("c", deadline: nil).codecs[0].isDone)
    }

    @Test func aTrainingThatFailsChangesNothingAndRests() async throws {
        let coordinator = try await coordinator()
        _ = try await beat(coordinator)
        _ = try await coordinator.createCollection(try spec("lvq8"), deadline: nil)
        _ = try await beat(coordinator, points: 2_000)
        worker.state.withLock { $0.isRefusing = true }
        let failures = await coordinator.trainWhatIsDue()
        #expect(failures.map(\.collection) == ["c"] && failures[0].field == "v" && failures[0].reason == "cannot learn")
        #expect(await coordinator.trainWhatIsDue().isEmpty)
        #expect(worker.state.withLock { $0.trainings.count } == 1)
        let codec = try await coordinator.collection("c", deadline: nil).codecs[0]
        #expect(codec == CodecProgress(version: 0, problem: "training failed: cannot learn"))
        worker.state.withLock { $0.isRefusing = false }
        let info = try await coordinator.train(CollectionTraining(collection: "c", deadline: nil))
        #expect(info.codecs[0].version == 1 && info.codecs[0].problem.isEmpty)
    }

    @Test func aCollectionWithoutCodecsHasNothingToTrain() async throws {
        let coordinator = try await coordinator()
        _ = try await beat(coordinator)
        _ = try await coordinator.createCollection(try spec("none"), deadline: nil)
        #expect(await code { _ = try await coordinator.train(CollectionTraining(collection: "c", deadline: nil)) } == .failedPrecondition)
    }
}
