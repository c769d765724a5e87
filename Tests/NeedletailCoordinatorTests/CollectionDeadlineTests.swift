import NeedletailCoordinator
import NeedletailCore
import NeedletailMetadata
import NeedletailTestSupport
import Synchronization
import Testing

/// A worker that makes and drops replicas at once, or hangs until the deadline it is given.
private final class ControlledWorker: ShardOperations {
    struct State {
        var isStuck = false
        var replicas: Set<ShardID> = []
        var deadlines: [Deadline?] = []
    }

    let state = Mutex(State())
    private static let notAsked = NeedletailError(.unimplemented, "not part of this test")

    private func control(_ deadline: Deadline?, _ change: (inout Set<ShardID>) -> Void) async throws {
        let isStuck = state.withLock { state in
            state.deadlines.append(deadline)
            if !state.isStuck { change(&state.replicas) }
            return state.isStuck
        }
        guard isStuck else { return }
        // The suite's time limit stands for "for ever".
        try await Task.sleep(for: deadline?.remaining ?? .seconds(3600))
        throw NeedletailError(.deadlineExceeded, "the worker hangs")
    }

    func updateReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        try await createReplica(assignment, deadline: deadline)
    }

    func createReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        try await control(deadline) { $0.insert(assignment.shard) }
    }

    func dropReplica(_ shard: ShardID, deadline: Deadline?) async throws { try await control(deadline) { $0.remove(shard) } }

    func write(_ request: ShardWrite) async throws -> WriteReceipt { throw Self.notAsked }
    func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse { throw Self.notAsked }
    func get(_ request: ShardGet) async throws -> ShardPoints { throw Self.notAsked }
    func scroll(_ request: ShardScroll) async throws -> ScrollPage { throw Self.notAsked }
    func count(_ shard: ShardID, within filter: PayloadFilter?, condition: ReadCondition, deadline: Deadline?) async throws -> ShardCount { throw Self.notAsked }
    func sample(_ request: ShardSample) async throws -> [UInt8] { throw Self.notAsked }
    func train(_ request: CodecTrainingRequest) async throws -> [UInt8] { throw Self.notAsked }
    func status() async throws -> NodeStatus { NodeStatus(replicas: []) }
}

/// Making, changing and deleting collections ends with the caller's patience and leaves nothing half done.
@Suite(.timeLimit(.minutes(1))) struct CollectionDeadlineTests {
    private let directory = TemporaryDirectory()
    private let worker = ControlledWorker()
    private let spec = CollectionSpec(name: "c", fields: [VectorField(name: "v", dimensions: 2, metric: .l2)], shardCount: 3)

    private func coordinator() async throws -> Coordinator {
        let worker = worker
        let coordinator = try await Coordinator.open(metadata: EmbeddedMetadataStore(directory: directory.path)) { _ in
            Coordinator.WorkerLink(operations: worker, replication: NoFellows(), retryNow: {}, close: {})
        }
        _ = try await coordinator.heartbeat(
            Heartbeat(node: 1, address: "a:1", cluster: 0, status: NodeStatus(replicas: []), isDraining: false))
        return coordinator
    }

    private func code(_ body: () async throws -> Void) async -> NeedletailError.Code? {
        do { try await body() } catch { return (error as? NeedletailError)?.code }
        return nil
    }

    @Test func aCreationThatHangsEndsAndItsNameBecomesFree() async throws {
        let coordinator = try await coordinator()
        worker.state.withLock { $0.isStuck = true }
        #expect(await code { _ = try await coordinator.createCollection(spec, deadline: .after(.milliseconds(50))) } == .deadlineExceeded)
        #expect(try await coordinator.collections(deadline: nil).isEmpty)
        worker.state.withLock { $0.isStuck = false }
        await coordinator.cleanUp()
        _ = try await coordinator.createCollection(spec, deadline: .after(.seconds(30)))
        #expect(worker.state.withLock { $0.replicas.count } == 3)
    }

    @Test func workersAreGivenTheDeadline() async throws {
        let coordinator = try await coordinator()
        let deadline = Deadline.after(.seconds(30))
        _ = try await coordinator.createCollection(spec, deadline: deadline)
        #expect(try await coordinator.deleteCollection("c", ignoreMissing: false, deadline: deadline))
        #expect(worker.state.withLock { $0.replicas.isEmpty && $0.deadlines == Array(repeating: deadline, count: 6) })
    }

    @Test func aDeletionDoesNotWaitForAWorkerThatHangs() async throws {
        let coordinator = try await coordinator()
        _ = try await coordinator.createCollection(spec, deadline: nil)
        worker.state.withLock { $0.isStuck = true }
        #expect(try await coordinator.deleteCollection("c", ignoreMissing: false, deadline: .after(.milliseconds(50))))
        #expect(try await coordinator.collections(deadline: nil).isEmpty)
    }

    @Test func aChangeThatAWorkerDoesNotTakeInTimeIsStored() async throws {
        let coordinator = try await coordinator()
        _ = try await coordinator.createCollection(spec, deadline: nil)
        worker.state.withLock { $0.isStuck = true }
        let change: () async throws -> Void = {
            _ = try await coordinator.updateCollection("c", changes: CollectionChanges(durability: .interval(milliseconds: 5)), deadline: .after(.milliseconds(50)))
        }
        #expect(await code(change) == .deadlineExceeded)
        #expect(try await coordinator.collection("c", deadline: nil).spec.durability == .interval(milliseconds: 5))
    }

    @Test func nothingBeginsAfterTheDeadline() async throws {
        let coordinator = try await coordinator()
        let past = Deadline.after(.seconds(-1))
        #expect(await code { _ = try await coordinator.createCollection(spec, deadline: past) } == .deadlineExceeded)
        #expect(worker.state.withLock { $0.deadlines.isEmpty })
        _ = try await coordinator.createCollection(spec, deadline: nil)
        #expect(await code { _ = try await coordinator.deleteCollection("c", ignoreMissing: false, deadline: past) } == .deadlineExceeded)
        #expect(await code { _ = try await coordinator.updateCollection("c", changes: CollectionChanges(durability: .interval(milliseconds: 5)), deadline: past) } == .deadlineExceeded)
        #expect(try await coordinator.collection("c", deadline: nil).spec == spec)
        #expect(worker.state.withLock { $0.deadlines.count } == 3)
    }

    @Test func aNewCollectionIsReadyBeforeAnyHeartbeat() async throws {
        let coordinator = try await coordinator()
        _ = try await coordinator.createCollection(spec, deadline: nil)
        let status = try await coordinator.clusterStatus(deadline: nil)
        #expect(status.shardsReady == 3 && status.shardsTotal == 3)
        #expect(try await coordinator.shards(of: "c", deadline: nil).allSatisfy { $0.replicas[0].status?.state == .ready })
        #expect(coordinator.isReady)
        _ = try await coordinator.deleteCollection("c", ignoreMissing: false, deadline: nil)
        #expect(try await coordinator.nodes(deadline: nil)[0].replicas == 0)
    }
}
