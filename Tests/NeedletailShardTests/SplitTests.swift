import NeedletailCore
import NeedletailShard
import NeedletailStorage
import NeedletailTestSupport
import Testing

/// What a replica does while its shard is cut in two.
@Suite(.watchedForHangs) struct SplitTests {
    private static func point(_ id: UInt64) -> PointOperation {
        .upsert(Point(id: .number(id), vectors: [FieldVector(field: 0, vector: DenseVector((0..<8).map { Float(id) + Float($0) }))]))
    }

    private static func assignment(epoch: UInt64) -> ReplicaAssignment {
        ReplicaAssignment(shard: TestShard.id, range: HashRange(first: 0, last: .max), epoch: epoch, collection: TestShard.spec())
    }

    /// Every kind of read, without a condition and of the primary.
    private static func reads(_ shard: TestShard) -> [@Sendable (ReadCondition) async throws -> Void] {
        let (node, id) = (shard.node, TestShard.id)
        return [
            { _ = try await node.get(ShardGet(shard: id, ids: [.number(1)], parts: PointParts(), condition: $0)) },
            { _ = try await node.scroll(ShardScroll(shard: id, after: nil, limit: 5, parts: PointParts(), condition: $0)) },
            { _ = try await node.count(id, condition: $0, deadline: nil) },
            { condition in
                let query = SearchQuery(field: 0, vector: DenseVector([1, 2, 3, 4, 5, 6, 7, 8]), limit: 3)
                let request = NodeSearchRequest(shards: [id], queries: [query], conditions: [condition])
                for case .failed(let error) in try await node.search(request).reports.map(\.outcome) { throw error }
            },
        ]
    }

    private static func refused(_ shard: TestShard) async -> [NeedletailError.Code?] {
        var codes: [NeedletailError.Code?] = []
        for condition in [ReadCondition(), ReadCondition(isPrimary: true)] {
            for read in reads(shard) {
                do {
                    try await read(condition)
                    codes.append(nil)
                } catch {
                    codes.append((error as? NeedletailError)?.code)
                }
            }
        }
        return codes
    }

    @Test func aReplicaThatIsSealedReadsOnAndOneThatIsClosedDoesNothingUntilAnotherEpoch() async throws {
        let directory = TemporaryDirectory()
        var shard = try await TestShard.open(directory)
        for id in 1...10 { try await shard.write([Self.point(UInt64(id))]) }
        #expect(try await shard.node.hosted(TestShard.id).seal(before: 2) == 10)
        await #expect { try await shard.write([Self.point(11)]) } throws: { ($0 as? NeedletailError)?.code == .aborted }
        #expect(await Self.refused(shard) == Array(repeating: nil, count: 8))
        #expect(try !shard.node.hosted(TestShard.id).isClosed(before: 2))
        try await shard.node.hosted(TestShard.id).close(before: 2)
        for _ in 0..<2 {
            #expect(try shard.node.hosted(TestShard.id).isClosed(before: 2))
            #expect(await Self.refused(shard) == Array(repeating: .aborted, count: 8))
            await #expect { try await shard.write([Self.point(11)]) } throws: { ($0 as? NeedletailError)?.code == .aborted }
            // And after a restart.
            await shard.node.close()
            shard = try await TestShard.open(directory)
        }
        // The split was given up.
        try await shard.node.updateReplica(Self.assignment(epoch: 2), deadline: nil)
        #expect(await Self.refused(shard) == Array(repeating: nil, count: 8))
        _ = try await shard.node.write(ShardWrite(shard: TestShard.id, epoch: 2, batch: WriteBatch([Self.point(11)]).encoded))
        #expect(try await shard.node.count(TestShard.id, condition: ReadCondition(), deadline: nil).count == 11)
        // A late order of the split that is over.
        try await shard.node.hosted(TestShard.id).close(before: 2)
        #expect(await Self.refused(shard) == Array(repeating: nil, count: 8))
        await shard.node.close()
    }
}
