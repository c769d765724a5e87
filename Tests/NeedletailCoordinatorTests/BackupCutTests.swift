import Logging
import NeedletailBackup
import NeedletailCore
import NeedletailMetadata
import NeedletailTestSupport
import Synchronization
import Testing

@testable import NeedletailCoordinator

/// Workers that hold writes of all shards, remember in which order they were asked, and once lose a hold.
private final class HoldingWorker: ShardOperations, BackupWorker {
    enum Event: Equatable {
        case held(UInt32, token: UInt64)
        case released(UInt32, token: UInt64)
    }

    let events = Mutex<[Event]>([])
    let cuts = Mutex<[UInt32: UInt64]>([:])
    private let sequence = Mutex<UInt64>(100)
    private let losses = Mutex(1)
    private static let notAsked = NeedletailError(.unimplemented, "not part of this test")

    func hold(_ shard: ShardID, epoch: UInt64, token: UInt64, limit: Duration, deadline: Deadline?) async throws -> UInt64 {
        // The last one long after the first.
        try await Task.sleep(for: .milliseconds(20 * Int(shard.number)))
        events.withLock { $0.append(.held(shard.number, token: token)) }
        return sequence.withLock { $0 += 1; return $0 }
    }

    func release(_ shard: ShardID, epoch: UInt64, token: UInt64, deadline: Deadline?) async throws -> Duration {
        events.withLock { $0.append(.released(shard.number, token: token)) }
        let isLost = shard.number == 1 && losses.withLock { left in
            defer { left -= 1 }
            return left > 0
        }
        if isLost { throw NeedletailError(.aborted, "the hold was over") }
        return .milliseconds(Int(shard.number) + 1)
    }

    func beginBackup(_ shard: ShardID, deadline: Deadline?) async throws -> CopyDescription { CopyDescription(id: 1, sequence: 0, epoch: 0, files: []) }

    func store(_ request: ShardStore) async throws -> StoredShard {
        cuts.withLock { $0[request.shard.number] = request.cut }
        return StoredShard(
            index: PieceName(checksum: Checksum256.of([1]).bytes, sizeBytes: 1), epoch: 1, pieces: 1, bytes: 1, newPieces: 1, newBytes: 1)
    }

    func restore(_ request: ShardRestore) async throws { throw Self.notAsked }

    func updateReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {}
    func createReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {}
    func dropReplica(_ shard: ShardID, deadline: Deadline?) async throws {}
    func write(_ request: ShardWrite) async throws -> WriteReceipt { throw Self.notAsked }
    func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse { throw Self.notAsked }
    func get(_ request: ShardGet) async throws -> ShardPoints { throw Self.notAsked }
    func scroll(_ request: ShardScroll) async throws -> ScrollPage { throw Self.notAsked }
    func count(_ shard: ShardID, within filter: PayloadFilter?, condition: ReadCondition, deadline: Deadline?) async throws -> ShardCount { throw Self.notAsked }
    func sample(_ request: ShardSample) async throws -> [UInt8] { throw Self.notAsked }
    func train(_ request: CodecTrainingRequest) async throws -> [UInt8] { throw Self.notAsked }
    func status() async throws -> NodeStatus { NodeStatus(replicas: []) }
}

@Suite(.timeLimit(.minutes(1))) struct BackupCutTests {
    /// There is a moment at which all shards are held; and when one of them was not, the cut is made again and the first one forgotten.
    @Test func allAreHeldAtOneMoment() async throws {
        let (directory, worker) = (TemporaryDirectory(), HoldingWorker())
        let coordinator = try await Coordinator.open(metadata: EmbeddedMetadataStore(directory: directory.path)) { _ in
            Coordinator.WorkerLink(operations: worker, replication: NoFellows(), backups: worker, retryNow: {}, close: {})
        }
        _ = try await coordinator.heartbeat(Heartbeat(node: 1, address: "a:1", cluster: 0, status: NodeStatus(replicas: []), isDraining: false))
        let spec = CollectionSpec(name: "c", fields: [VectorField(name: "v", dimensions: 2, metric: .l2)], shardCount: 3)
        _ = try await coordinator.createCollection(spec, deadline: nil)
        let target = "file://\(directory.path)/backups"
        let runs = Task { await coordinator.runBackups(logger: Logger(label: "test")) }
        _ = try await coordinator.createBackup(BackupOrder(collection: "c", target: target, name: "one"), deadline: nil)
        try await eventually { try await coordinator.backupOperations(deadline: nil).first?.hasEnded == true }
        runs.cancel()
        await runs.value
        let ended = try #require(try await coordinator.backupOperations(deadline: nil).first)
        #expect(ended.step == "done" && ended.heldMicroseconds == 3_000, "\(ended)")
        let events = worker.events.withLock { $0 }
        #expect(events.count == 12)
        for attempt in [events.prefix(6), events.suffix(6)] {
            #expect(attempt.prefix(3).allSatisfy { if case .held = $0 { true } else { false } })
            #expect(attempt.suffix(3).allSatisfy { if case .released = $0 { true } else { false } })
        }
        let manifest = try await BackupSet(FolderStorage(directory.path + "/backups")).manifest("one")
        // Of the second attempt.
        #expect(Set(manifest.shards.map(\.cut)) == [104, 105, 106])
        #expect(worker.cuts.withLock { $0 } == Dictionary(uniqueKeysWithValues: manifest.shards.map { ($0.number, $0.cut) }))
        await coordinator.close()
    }
}
