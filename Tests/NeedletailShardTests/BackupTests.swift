import NeedletailCore
import NeedletailShard
import NeedletailStorage
import NeedletailTestSupport
import Synchronization
import Testing

/// What a replica does for backups: holding writes, being copied, being put together.
@Suite(.watchedForHangs) struct BackupTests {
    private static func point(_ id: UInt64, _ generator: inout SeededGenerator) -> PointOperation {
        .upsert(
            Point(
                id: .number(id), vectors: [FieldVector(field: 0, vector: DenseVector(generator.gaussians(8)))],
                payload: PayloadCoding.encode(["n": .integer(Int64(id))])))
    }

    @Test func heldWritesWaitAndAreNotLost() async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        let hosted = try shard.node.hosted(TestShard.id)
        try await shard.write([Self.point(1, &generator)])
        let cut = try await hosted.holdWrites(7, epoch: 1, atMost: .seconds(30))
        #expect(cut == 1)
        let operation = Self.point(2, &generator)
        let held = Task { try await shard.write([operation]) }
        // Somebody else cannot, and whoever asks again can.
        await #expect(throws: NeedletailError.self) { _ = try await hosted.holdWrites(8, epoch: 1, atMost: .seconds(30)) }
        #expect(try await hosted.holdWrites(7, epoch: 1, atMost: .seconds(30)) == 1)
        // Reads go on, and nothing is logged.
        #expect(try await shard.get([.number(1)]).count == 1)
        #expect(hosted.logEnd.last == 1)
        _ = try hosted.releaseWrites(7, epoch: 1)
        #expect(try await held.value.sequence == 2)
        let error = #expect(throws: NeedletailError.self) { _ = try hosted.releaseWrites(7, epoch: 1) }
        #expect(error?.code == .aborted)
        await shard.node.close()
    }

    @Test func aHoldEndsByItselfAndIsNoCutThen() async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        let hosted = try shard.node.hosted(TestShard.id)
        await #expect(throws: NeedletailError.self) { _ = try await hosted.holdWrites(7, epoch: 2, atMost: .seconds(30)) }
        _ = try await hosted.holdWrites(7, epoch: 1, atMost: .milliseconds(20))
        // Waits for the end of the hold.
        #expect(try await shard.write([Self.point(1, &generator)]).sequence == 1)
        let error = #expect(throws: NeedletailError.self) { _ = try hosted.releaseWrites(7, epoch: 1) }
        #expect(error?.code == .aborted)
        await shard.node.close()
    }

    private final class Writers: Sendable {
        let acknowledged = Mutex<[UInt64]>([])
        let isOver = Atomic<Bool>(false)
    }

    /// Of every writer's points, which it writes one after the other, a prefix is before the cut.
    @Test func everythingBeforeTheCutIsInTheLogBefore() async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        let hosted = try shard.node.hosted(TestShard.id)
        let writers = Writers()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for writer in 0..<4 {
                group.addTask {
                    var generator = SeededGenerator(seed: UInt64(writer))
                    var number: UInt64 = 0
                    while !writers.isOver.load(ordering: .relaxed) {
                        let receipt = try await shard.write([Self.point(UInt64(writer) << 32 | number, &generator)])
                        writers.acknowledged.withLock { $0.append(receipt.sequence) }
                        number += 1
                    }
                }
            }
            for token in 1...20 as ClosedRange<UInt64> {
                try await eventually { writers.acknowledged.withLock { $0.count } > Int(token) * 10 }
                let before = writers.acknowledged.withLock { $0.max() ?? 0 }
                let cut = try await hosted.holdWrites(token, epoch: 1, atMost: .seconds(30))
                #expect(cut >= before && hosted.logEnd.last == cut && hosted.logEnd.committed == cut)
                _ = try hosted.releaseWrites(token, epoch: 1)
            }
            writers.isOver.store(true, ordering: .relaxed)
            try await group.waitForAll()
        }
        await shard.node.close()
    }

    @Test func aReplicaPutTogetherHoldsTheSame() async throws {
        var generator = SeededGenerator.fresh()
        let (directory, other) = (TemporaryDirectory(), TemporaryDirectory())
        let shard = try await TestShard.open(directory)
        for id in 0..<500 as Range<UInt64> { try await shard.write([Self.point(id, &generator)]) }
        let hosted = try shard.node.hosted(TestShard.id)
        let copy = try await hosted.copy(mayBeEmpty: true)
        for id in 500..<520 as Range<UInt64> { try await shard.write([Self.point(id, &generator)]) }
        let cut = try await hosted.holdWrites(1, epoch: 1, atMost: .seconds(30))
        _ = try hosted.releaseWrites(1, epoch: 1)
        let checkpoint = try #require(try await copy.checkpoint())
        let records = try await hosted.records(from: copy.sequence + 1, maximumBytes: 1 << 30).filter { $0.sequence <= cut }

        let target = LocalNode(directory: other.path, resources: NodeResources(searchThreads: 1, buildThreads: 1, configuration: TestShard.small()))
        try target.start()
        let assignment = ReplicaAssignment(shard: TestShard.id, range: HashRange(first: 0, last: .max), epoch: 2, collection: TestShard.spec())
        // What fails leaves nothing.
        await #expect(throws: NeedletailError.self) {
            try await target.restoreReplica(assignment) { replica in
                try await replica.beginLog(after: 0, epoch: 0)
                throw NeedletailError(.dataLoss, "damaged")
            }
        }
        #expect(try Disk.real.list(other.path + "/replicas").isEmpty)
        for _ in 0..<2 {
            try await target.restoreReplica(assignment) { replica in
                try await replica.writeCheckpoint(checkpoint.description) { array, slabs in try slabs.map { try checkpoint.image(slab: $0, of: array) } }
                let payloads = copy.payloadStore()
                defer { payloads.close() }
                var (chunks, last): ([[UInt8]], [UInt8]?) = ([], nil)
                while let chunk = try payloads.chunk(after: last) { (chunks, last) = (chunks + [chunk.bytes], chunk.last) }
                try await replica.writePayloads(chunks, sequence: try payloads.sequence() ?? 0)
                try await replica.beginLog(after: copy.sequence, epoch: copy.epoch)
                try await replica.writeLog(records)
            }
        }
        let restored = TestShard(node: target)
        #expect(try await restored.scrollAll(page: 100) == shard.scrollAll(page: 100))
        let query = generator.gaussians(8)
        #expect(try await restored.search(query, exact: true) == shard.search(query, exact: true))
        copy.end()
        await shard.node.close()
        await target.close()
    }
}
