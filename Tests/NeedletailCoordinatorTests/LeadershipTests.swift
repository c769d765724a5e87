import NeedletailAdmin
import NeedletailCore
import NeedletailMetadata
import NeedletailTestSupport
import Synchronization
import Testing

@testable import NeedletailCoordinator

/// One store as several coordinators see it, each through a link of its own that can be cut.
private final class SharedStore: MetadataStore {
    let isExclusive = false
    private let store: EmbeddedMetadataStore
    /// What every call waits for first; as a process stopped for a while would.
    let isCut = Mutex(false)

    init(_ store: EmbeddedMetadataStore) { self.store = store }

    private func check() throws {
        if isCut.withLock({ $0 }) { throw NeedletailError(.unavailable, "cut off") }
    }

    func get(_ key: String) async throws -> MetadataEntry? {
        try check()
        return try await store.get(key)
    }

    func entries(prefix: String) async throws -> MetadataSnapshot {
        try check()
        return try await store.entries(prefix: prefix)
    }

    func transact(_ transaction: MetadataTransaction) async throws -> MetadataOutcome {
        try check()
        return try await store.transact(transaction)
    }

    func watch(prefix: String, after revision: UInt64) -> MetadataWatch {
        let place = Mutex(revision)
        let source = Source(place)
        return AsyncThrowingStream { [self] in
            while true {
                try Task.checkCancellation()
                guard !isCut.withLock({ $0 }) else {
                    await Task.yield()
                    continue
                }
                let news = try await store.watch(prefix: prefix, after: source.revision).first { _ in true }
                if case .changes(_, let revision)? = news { source.revision = revision }
                return news
            }
        }
    }

    private final class Source: Sendable {
        private let place: Mutex<UInt64>
        init(_ place: consuming Mutex<UInt64>) { self.place = place }
        var revision: UInt64 {
            get { place.withLock { $0 } }
            set { place.withLock { $0 = newValue } }
        }
    }

    func grantLease(_ length: Duration) async throws -> MetadataLease {
        try check()
        return try await store.grantLease(length)
    }

    func keepAlive(_ lease: MetadataLease) async throws {
        try check()
        try await store.keepAlive(lease)
    }

    func revoke(_ lease: MetadataLease) async throws {
        try check()
        try await store.revoke(lease)
    }

    func close() async {}
}

/// Makes and drops whatever it is told to.
private final class WillingWorker: ShardOperations {
    private static let notAsked = NeedletailError(.unimplemented, "not part of this test")
    func updateReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        try await createReplica(assignment, deadline: deadline)
    }

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

/// Several coordinators on one store: one leads at a time, and all know what it did.
@Suite(.serialized, .timeLimit(.minutes(1))) struct LeadershipTests {
    private let directory = TemporaryDirectory()

    private func spec(_ name: String) -> CollectionSpec {
        CollectionSpec(name: name, fields: [VectorField(name: "v", dimensions: 2, metric: .l2)], shardCount: 2)
    }

    private func beat(_ coordinator: Coordinator) async throws -> HeartbeatAnswer {
        try await coordinator.heartbeat(Heartbeat(node: 1, address: "w:1", cluster: 0, status: NodeStatus(replicas: []), isDraining: false))
    }

    /// Runs `body` with three coordinators and their links to the store, when one of them leads.
    private func withCoordinators(_ body: ([Coordinator], [SharedStore]) async throws -> Void) async throws {
        let store = try EmbeddedMetadataStore(directory: directory.path)
        let links = (0..<3).map { _ in SharedStore(store) }
        let all = Mutex<[String: Coordinator]>([:])
        var coordinators: [Coordinator] = []
        for (number, link) in links.enumerated() {
            let coordinator = try await Coordinator.open(
                metadata: link, leaseLength: .milliseconds(600),
                connectCoordinator: { address in
                    guard let other = all.withLock({ $0[address] }) else { throw NeedletailError(.unavailable, "nobody there") }
                    return Coordinator.CoordinatorLink(operations: other, close: {})
                },
                connect: { _ in Coordinator.WorkerLink(operations: WillingWorker(), replication: NoFellows(), retryNow: {}, close: {}) })
            coordinator.address = "c:\(number)"
            all.withLock { $0["c:\(number)"] = coordinator }
            coordinators.append(coordinator)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for coordinator in coordinators {
                group.addTask { await coordinator.follow { _ in } }
                group.addTask { await coordinator.lead { _ in } }
            }
            try await eventually { coordinators.contains(where: \.isLeader) }
            for coordinator in coordinators { _ = try await beat(coordinator) }
            try await body(coordinators, links)
            group.cancelAll()
        }
        for coordinator in coordinators { await coordinator.close() }
    }

    @Test func oneLeadsAndAnyCanBeAsked() async throws {
        try await withCoordinators { coordinators, _ in
            #expect(coordinators.count(where: \.isLeader) == 1)
            #expect(Set(coordinators.map(\.clusterID)).count == 1)
            for (number, coordinator) in coordinators.enumerated() {
                _ = try await coordinator.createCollection(spec("c\(number)"), deadline: nil)
                #expect(try await coordinator.collection("c\(number)", deadline: nil).spec.name == "c\(number)", "at once where it was made")
                #expect(try await coordinator.updateCollection("c\(number)", changes: CollectionChanges(durability: .interval(milliseconds: 5)), deadline: nil).spec.durability != .everyCommit)
            }
            for coordinator in coordinators { try await eventually { try await coordinator.collections(deadline: nil).count == 3 } }
            #expect(try await coordinators[0].deleteCollection("c1", ignoreMissing: false, deadline: nil))
            for coordinator in coordinators { try await eventually { try await coordinator.collections(deadline: nil).count == 2 } }
            let status = try await coordinators[1].clusterStatus(deadline: nil).coordinators
            #expect(status.map(\.address).sorted() == ["c:0", "c:1", "c:2"] && status.count(where: \.isLeader) == 1)
        }
    }

    @Test func probesSayWhatIsMissing() async throws {
        let store = SharedStore(try EmbeddedMetadataStore(directory: directory.path))
        let alone = try await Coordinator.open(
            metadata: store, connect: { _ in Coordinator.WorkerLink(operations: WillingWorker(), replication: NoFellows(), retryNow: {}, close: {}) })
        #expect(!alone.readiness.isReady && alone.readiness.reasons.contains { $0.hasPrefix("no leader") })
        alone.beginDraining()
        #expect(alone.readiness.reasons.contains { $0.hasPrefix("draining") })
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await alone.follow { _ in } }
            group.addTask { await alone.lead { _ in } }
            try await eventually { !alone.readiness.reasons.contains { $0.hasPrefix("no leader") } }
            store.isCut.withLock { $0 = true }
            try await eventually { alone.readiness.reasons.contains("no metadata store: cut off") }
            store.isCut.withLock { $0 = false }
            try await eventually { !alone.readiness.reasons.contains { $0.hasPrefix("no metadata store") } }
            group.cancelAll()
        }
        await alone.close()
    }

    @Test func onlyTheLeaderDirectsWorkers() async throws {
        try await withCoordinators { coordinators, _ in
            _ = try await coordinators[0].createCollection(spec("c"), deadline: nil)
            for coordinator in coordinators {
                try await eventually { try await coordinator.collections(deadline: nil).count == 1 }
                let answer = try await beat(coordinator)
                #expect((answer.leadership != nil) == coordinator.isLeader)
                #expect(answer.assignments.count == (coordinator.isLeader ? 2 : 0))
                #expect(answer.coordinators == ["c:0", "c:1", "c:2"])
                try await eventually { try await coordinator.nodes(deadline: nil).map(\.address) == ["w:1"] }
            }
        }
    }

    @Test func aLeaderThatIsCutOffStopsAndIsFollowedByAnother() async throws {
        try await withCoordinators { coordinators, links in
            // One that leads still when it is cut off: it cannot have heard of another, to whom it would pass on what it is asked.
            var (old, term) = (0, UInt64(0))
            try await eventually {
                guard let leader = coordinators.firstIndex(where: \.isLeader), let now = try await beat(coordinators[leader]).leadership?.term
                else { return false }
                (old, term) = (leader, now)
                links[leader].isCut.withLock { $0 = true }
                if coordinators[leader].isLeader { return true }
                links[leader].isCut.withLock { $0 = false }
                return false
            }
            try await eventually { coordinators.indices.contains { $0 != old && coordinators[$0].isLeader } }
            #expect(!coordinators[old].isLeader, "it stopped before another began")
            let new = try #require(coordinators.firstIndex { $0.isLeader })
            #expect(try #require(try await beat(coordinators[new]).leadership?.term) > term)
            _ = try await coordinators[new].createCollection(spec("after"), deadline: nil)
            #expect(try await beat(coordinators[old]).leadership == nil)
            await #expect(throws: NeedletailError.self) { try await coordinators[old].createCollection(spec("wrong"), deadline: .after(.seconds(5))) }
            links[old].isCut.withLock { $0 = false }
            try await eventually { try await coordinators[old].collections(deadline: nil).map(\.spec.name) == ["after"] }
            #expect(coordinators.count(where: \.isLeader) <= 1)
        }
    }

    @Test func aLeaderThatStopsIsFollowedBeforeItsLeaseWouldEnd() async throws {
        try await withCoordinators { coordinators, _ in
            let old = try #require(coordinators.first { $0.isLeader })
            let term = try #require(try await beat(old).leadership?.term)
            await old.close()
            #expect(!old.isLeader)
            var terms: [UInt64] = []
            try await eventually {
                for coordinator in coordinators { terms += [try await beat(coordinator).leadership?.term].compactMap { $0 } }
                return !terms.isEmpty
            }
            #expect(terms.allSatisfy { $0 > term })
        }
    }
}
