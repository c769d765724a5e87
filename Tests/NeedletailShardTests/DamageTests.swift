import Foundation
import NeedletailCore
@testable import NeedletailShard
import NeedletailStorage
import NeedletailTestSupport
import Testing

/// What becomes of a replica whose files are damaged.
@Suite(.watchedForHangs) struct DamageTests {
    private static let node = NodeID(2)

    private static func assignment(inSync: Set<UInt64>, primary: UInt64) -> ReplicaAssignment {
        ReplicaAssignment(
            shard: TestShard.id, range: HashRange(first: 0, last: .max), epoch: 1, collection: TestShard.spec(), primary: NodeID(primary),
            members: (1...2).map { .init(node: NodeID($0), address: "", isInSync: inSync.contains($0)) }, version: 1)
    }

    private static func start(_ directory: TemporaryDirectory) async throws -> LocalNode {
        let node = LocalNode(directory: directory.path, resources: NodeResources(searchThreads: 2, buildThreads: 2, configuration: TestShard.small()))
        try node.start()
        try await eventually { node.isLoaded }
        return node
    }

    /// A node with a replica that has promised something and cannot be opened.
    private static func damaged(_ directory: TemporaryDirectory) async throws -> LocalNode {
        let node = try await start(directory)
        try await node.createReplica(assignment(inSync: [1, 2], primary: 1), deadline: nil)
        try await node.hosted(TestShard.id).storePromise([7])
        await node.close()
        try spoil(node)
        let again = try await start(directory)
        #expect(again.currentStatus().map(\.state) == [.failed])
        return again
    }

    private static func spoil(_ node: LocalNode) throws {
        let manifest = node.path(TestShard.id) + "/checkpoint/MANIFEST"
        try #require(FileManager.default.createFile(atPath: manifest, contents: Data(repeating: 1, count: 4096)))
    }

    @Test func filesThatAreCountedOnStayWhereTheyAre() async throws {
        let directory = TemporaryDirectory()
        let node = try await Self.damaged(directory)
        for assignment in [
            Self.assignment(inSync: [1, 2], primary: 1), Self.assignment(inSync: [2], primary: 2), Self.assignment(inSync: [], primary: 1),
            Self.assignment(inSync: [1], primary: 2),
        ] {
            #expect(try await node.setAsideDamaged(assignment, on: Self.node) == nil)
        }
        #expect(node.currentStatus().map(\.state) == [.failed] && FileManager.default.fileExists(atPath: node.path(TestShard.id) + "/log"))
        await node.close()
    }

    @Test func soundFilesStayWhereTheyAre() async throws {
        let directory = TemporaryDirectory()
        let node = try await Self.start(directory)
        let assignment = Self.assignment(inSync: [1], primary: 1)
        try await node.createReplica(assignment, deadline: nil)
        #expect(try await node.setAsideDamaged(assignment, on: Self.node) == nil)
        #expect(node.currentStatus().map(\.state) == [.ready])
        await node.close()
    }

    @Test func oneThatTheShardCanDoWithoutMakesRoomOnceAndKeepsItsPromise() async throws {
        let directory = TemporaryDirectory()
        var node = try await Self.damaged(directory)
        let assignment = Self.assignment(inSync: [1], primary: 1)
        let aside = try #require(try await node.setAsideDamaged(assignment, on: Self.node))
        #expect(FileManager.default.fileExists(atPath: aside + "/log"))
        #expect(node.currentStatus().isEmpty)
        // Also when the process ends between the two.
        await node.close()
        node = try await Self.start(directory)
        try await node.createReplica(assignment, isUnfilled: true, deadline: nil)
        let hosted = try node.hosted(TestShard.id)
        #expect(try hosted.isUnfilled && hosted.storedPromise() == [7])
        await node.close()
        // Damaged again, it waits for somebody to look at the disk.
        try Self.spoil(node)
        node = try await Self.start(directory)
        await #expect(throws: NeedletailError.self) { try await node.setAsideDamaged(assignment, on: Self.node) }
        #expect(node.currentStatus().map(\.state) == [.failed])
        try FileManager.default.removeItem(atPath: aside)
        #expect(try await node.setAsideDamaged(assignment, on: Self.node) == aside)
        await node.close()
    }

    @Test func damagedFilesGoWithTheReplica() async throws {
        let directory = TemporaryDirectory()
        let node = try await Self.damaged(directory)
        let assignment = Self.assignment(inSync: [1], primary: 1)
        let aside = try #require(try await node.setAsideDamaged(assignment, on: Self.node))
        try await node.createReplica(assignment, isUnfilled: true, deadline: nil)
        try await node.dropReplica(TestShard.id, deadline: nil)
        #expect(!FileManager.default.fileExists(atPath: aside) && !FileManager.default.fileExists(atPath: node.path(TestShard.id)))
        await node.close()
    }

    @Test func aCreationThatWasCutShortLeavesNothingThatIsServed() async throws {
        let directory = TemporaryDirectory()
        var node = try await Self.start(directory)
        try await node.createReplica(Self.assignment(inSync: [1], primary: 1), isUnfilled: true, deadline: nil)
        await node.close()
        for name in ["assignment", "log", "checkpoint", "payloads.lmdb", "payloads.lmdb-lock"] {
            try? FileManager.default.removeItem(atPath: node.path(TestShard.id) + "/" + name)
        }
        node = try await Self.start(directory)
        #expect(node.currentStatus().isEmpty && node.recoveryNotes().isEmpty)
        #expect(!FileManager.default.fileExists(atPath: node.path(TestShard.id)))
        await node.close()
    }
}
