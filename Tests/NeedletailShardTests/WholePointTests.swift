import NeedletailCore
import NeedletailShard
import NeedletailStorage
import NeedletailTestSupport
import Synchronization
import Testing

/// A point is read as one write left it, while it is written again and again.
@Suite(.watchedForHangs) struct WholePointTests {
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

    /// Reads over and over, several at a time, while the points are written 3,000 times.
    private static func read(_ shard: TestShard, readers: Int, _ read: @escaping @Sendable () async throws -> Void) async throws {
        try await shard.write(points(0))
        let end = End()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<readers {
                group.addTask {
                    var reads = 0
                    while !end.isOver.load(ordering: .relaxed) {
                        try await read()
                        reads += 1
                    }
                    return reads
                }
            }
            for version in 1...3000 {
                try await shard.write(points(version))
                if group.isCancelled { break }
            }
            end.isOver.store(true, ordering: .relaxed)
            for try await reads in group { #expect(reads > 0) }
        }
        await shard.node.close()
    }

    @Test func aReadIsOfOneVersion() async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        try await Self.read(shard, readers: 4) {
            for point in try await shard.get(Self.ids) {
                let bits = point.vectors[0].vector.bytes.prefix(4).reversed().reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
                let version = Float(bitPattern: bits)
                #expect(point.payload == PayloadCoding.encode(["n": .integer(Int64(version))]))
            }
        }
    }

    /// What is read of a point that a search found may be newer than the vector that it was found by.
    @Test(arguments: [false, true], [1, 2]) func whatASearchBringsIsOfOneVersion(exact: Bool, limit: Int) async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        try await Self.read(shard, readers: 3) {
            let parts = PointParts(payload: true, vectors: true)
            let found = try await shard.search([Float](repeating: 0, count: 8), limit: limit, exact: exact, parts: parts)
            try #require(found.count == limit && Set(found.map(\.id)).isSubset(of: Self.ids))
            for point in found {
                guard case .integer(let version)? = try PayloadCoding.decode(point.payload)["n"] else { throw NeedletailError(.dataLoss, "no payload") }
                try #require(point.vectors.first?.vector == DenseVector([Float](repeating: Float(version), count: 8)))
                try #require(point.score == Metric.l2.score(ofDistance: Float(8 * version * version)), "of version \(version)")
            }
        }
    }

    /// The nearest points are deleted one by one: what is gone before its payload is read makes room for the next.
    @Test func aSearchIsNotShortOfWhatIsDeletedMeanwhile() async throws {
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        let ids = (0..<1500).map { PointID.number(UInt64($0)) }
        try await shard.write(
            ids.enumerated().map { number, id in
                .upsert(Point(id: id, vectors: [FieldVector(field: 0, vector: DenseVector([Float](repeating: Float(number), count: 8)))], payload: []))
            })
        let end = End()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<3 {
                group.addTask {
                    var searches = 0
                    while !end.isOver.load(ordering: .relaxed) {
                        let found = try await shard.search([Float](repeating: 0, count: 8), limit: 100, exact: true, parts: PointParts(payload: true))
                        try #require(found.count == 100)
                        searches += 1
                    }
                    return searches
                }
            }
            for id in ids.prefix(1300) {
                try await shard.write([.delete(id)])
                if group.isCancelled { break }
            }
            end.isOver.store(true, ordering: .relaxed)
            for try await searches in group { #expect(searches > 0) }
        }
        await shard.node.close()
    }

    /// A search goes through many slots, while points move from one to another: it may not pass by where a point will be, and come to where it was.
    @Test func anExactSearchMissesNoPointThatIsReplaced() async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        var configuration = TestShard.small()
        (configuration.checkpointPoints, configuration.groupPoints) = (5_000, 1_000)
        let shard = try await TestShard.open(directory, configuration: configuration)
        let near: [PointID] = (1...40).map { .number($0) }
        func upsert(_ id: PointID, around center: Float) -> PointOperation {
            let vector = (0..<8).map { _ in center + Float.random(in: -1...1, using: &generator) }
            return .upsert(Point(id: id, vectors: [FieldVector(field: 0, vector: DenseVector(vector))], payload: []))
        }
        // All over the table: what is replaced goes to where another was, far away.
        for part in 0..<20 {
            try await shard.write((1000 * part + 1000..<1000 * part + 2000).map { upsert(.number(UInt64($0)), around: 50) })
            try await shard.write(near[2 * part..<2 * part + 2].map { upsert($0, around: 0) })
        }
        let end = End()
        try await withThrowingTaskGroup(of: Int.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    var searches = 0
                    while !end.isOver.load(ordering: .relaxed) {
                        let found = try await shard.search([Float](repeating: 0, count: 8), limit: near.count, exact: true)
                        let ids = Set(found.map(\.id))
                        // As one Bool: the lists would fill pages of the report.
                        let isWhole = found.count == near.count && ids == Set(near)
                        try #require(isWhole, "\(found.count) found, missing \(Set(near).subtracting(ids))")
                        searches += 1
                    }
                    return searches
                }
            }
            for _ in 1...600 {
                try await shard.write([upsert(near.randomElement(using: &generator) ?? near[0], around: 0)])
                if group.isCancelled { break }
            }
            end.isOver.store(true, ordering: .relaxed)
            for try await searches in group { #expect(searches > 0) }
        }
        await shard.node.close()
    }
}
