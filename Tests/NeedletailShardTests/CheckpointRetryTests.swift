import Glibc
import NeedletailCore
import NeedletailShard
import NeedletailStorage
import NeedletailTestSupport
import Synchronization
import Testing

@Suite(.watchedForHangs) struct CheckpointRetryTests {
    private final class Room: Sendable {
        let isFull = Atomic<Bool>(false)
    }

    private static func point(_ number: UInt64) -> PointOperation {
        .upsert(Point(id: .number(number), vectors: [FieldVector(field: 0, vector: DenseVector([Float](repeating: 1, count: 8)))], payload: []))
    }

    /// The disk was full when a checkpoint was due. Once it is not, the replica is well again, although writes leave it no idle moment and are too few
    /// for another checkpoint.
    @Test func aFailedCheckpointIsTriedAgainBesideWrites() async throws {
        let directory = TemporaryDirectory()
        let room = Room()
        let disk = Disk { operation in
            operation.kind == .write && operation.path.contains("/checkpoint/") && room.isFull.load(ordering: .relaxed) ? .error(ENOSPC) : nil
        }
        var configuration = TestShard.small()
        (configuration.checkpointPoints, configuration.checkpointIdle, configuration.checkpointRetry) = (1_000_000, .seconds(86_400), .zero)
        let shard = try await TestShard.open(directory, configuration: configuration, disk: disk)
        room.isFull.store(true, ordering: .relaxed)
        try await shard.write((0..<10).map(Self.point))
        shard.node.checkpointNow()
        try await eventually { shard.node.currentStatus()[0].state == .readOnly }
        room.isFull.store(false, ordering: .relaxed)
        var next: UInt64 = 10
        try await eventually {
            try await shard.write([Self.point(next)])
            next += 1
            shard.node.tick()
            return shard.node.currentStatus()[0].state == .ready
        }
        await shard.node.close()
    }
}
