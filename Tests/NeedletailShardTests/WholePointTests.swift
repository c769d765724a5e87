import NeedletailCore
import NeedletailShard
import NeedletailStorage
import NeedletailTestSupport
import Synchronization
import Testing

/// A point is read as one write left it, while it is written again and again.
@Suite(.timeLimit(.minutes(2))) struct WholePointTests {
    private final class End: Sendable {
        let isOver = Atomic<Bool>(false)
    }

    private static let ids: [PointID] = [.number(1), .number(2)]

    private static func points(_ version: Int) -> [PointOperation] {
        ids.map { id in
            .upsert(
                Point(
                    id: id, vectors: [FieldVector(field: 0, vector: DenseVector([Float](repeating: Float(version), count: 8)))],
                    payload: PayloadCoding.encode(["n": .integer(Int64(version))])))
        }
    }

    @Test func aReadIsOfOneVersion() async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        try await shard.write(Self.points(0))
        let end = End()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var reads = 0
                    while !end.isOver.load(ordering: .relaxed) {
                        for point in try await shard.get(Self.ids) {
                            let bits = point.vectors[0].vector.bytes.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                            let version = Float(bitPattern: bits)
                            #expect(point.payload == PayloadCoding.encode(["n": .integer(Int64(version))]))
                        }
                        reads += 1
                    }
                    return reads
                }
            }
            for version in 1...3000 { try await shard.write(Self.points(version)) }
            end.isOver.store(true, ordering: .relaxed)
            for try await reads in group { #expect(reads > 0) }
        }
        await shard.node.close()
    }
}
