import NeedletailCore
import NeedletailStorage
import NeedletailTestSupport
import Synchronization
import Testing

@testable import NeedletailShard

/// Two shards of one collection on a node, and what is merged of them there.
private struct Pair {
    static let border: UInt64 = .max / 3
    static let ranges = [HashRange(first: 0, last: border), HashRange(first: border + 1, last: .max)]
    static let parents = [1, 2].map { ShardID(incarnation: Incarnation(7), number: $0) }
    static let merged = ShardID(incarnation: Incarnation(7), number: 3)

    var directory = TemporaryDirectory()
    var node: LocalNode

    init() async throws {
        node = Self.node(directory)
        try node.start()
        for (shard, range) in zip(Self.parents, Self.ranges) {
            try await node.createReplica(ReplicaAssignment(shard: shard, range: range, epoch: 1, collection: TestShard.spec()), deadline: nil)
        }
    }

    private static func node(_ directory: TemporaryDirectory) -> LocalNode {
        LocalNode(directory: directory.path, resources: NodeResources(searchThreads: 2, buildThreads: 2, configuration: TestShard.small()))
    }

    mutating func reopen(afterCrash: Bool) async throws {
        if afterCrash {
            let copy = try TemporaryDirectory(copyOf: directory)
            await node.close()
            directory = copy
        } else {
            await node.close()
        }
        node = Self.node(directory)
        try node.start()
        try await eventually { node.isLoaded }
    }

    static func assignment(epoch: UInt64) -> ReplicaAssignment {
        ReplicaAssignment(shard: merged, range: HashRange(first: 0, last: .max), epoch: epoch, collection: TestShard.spec())
    }

    /// Writes to whichever parents the operations are of.
    func write(_ operations: [PointOperation], as name: OperationID? = nil, only: Int? = nil) async throws {
        for (index, shard) in Self.parents.enumerated() where only == nil || only == index {
            let own = operations.filter { Self.ranges[index].contains($0.id.placementHash) }
            if own.isEmpty { continue }
            _ = try await node.write(ShardWrite(shard: shard, epoch: 1, batch: WriteBatch(own).encoded, operation: name))
        }
    }

    func make() async throws { try await node.makeMerged(Self.assignment(epoch: 0), of: try Self.parents.map { try node.hosted($0) }) }

    /// Takes over at most so many records of one parent.
    func follow(_ parent: Int, atMost count: Int = .max) async throws {
        let (merged, whole) = (try node.hosted(Self.merged), try node.hosted(Self.parents[parent]))
        let (taken, end) = (merged.lineage.parents[parent].sequence, whole.logEnd.committed)
        guard taken < end else { return }
        let records = try await whole.records(from: taken + 1, maximumBytes: 1 << 24).prefix(count)
        try await merged.follow(Array(records), of: Self.parents[parent].number)
    }

    func catchUp() async throws {
        for parent in 0..<2 {
            while try node.hosted(Self.merged).lineage.parents[parent].sequence < node.hosted(Self.parents[parent]).logEnd.committed { try await follow(parent) }
        }
        try await node.hosted(Self.merged).waitUntilApplied(node.hosted(Self.merged).lineage.end, deadline: .after(.seconds(30)))
    }

    var replica: Replica { get throws { try node.replica(Self.merged) } }

    func contents() throws -> [UInt64] {
        let contents = try replica.contents
        contents.mark(.max)
        return contents.sums(at: .max) ?? []
    }

    func points() async throws -> [PointID: ModelShard.Entry] {
        var points: [PointID: ModelShard.Entry] = [:]
        var last: PointID?
        while true {
            let page = try await node.scroll(ShardScroll(shard: Self.merged, after: last, limit: 500, parts: PointParts(payload: true, vectors: true)))
            for point in page.points { points[point.id] = ModelShard.Entry(vectors: point.vectors, payload: try PayloadCoding.decode(point.payload)) }
            last = page.points.last?.id
            if !page.hasMore { return points }
        }
    }
}

@Suite(.watchedForHangs) struct MergeTests {
    private static func operation(_ generator: inout SeededGenerator, ids: UInt64) -> PointOperation {
        let id = PointID.number(generator.next() % ids)
        switch generator.next() % 10 {
        case 0: return .delete(id)
        case 1: return .setPayload(id, ["m": .integer(Int64(generator.next() % 100))])
        default:
            // Fields in an order of their own: the checksum of a point is by that.
            let vectors = [FieldVector(field: 1, vector: DenseVector([1, 2, 3, Float(generator.next() % 9)])), FieldVector(field: 0, vector: DenseVector(generator.gaussians(8)))]
            return .upsert(Point(id: id, vectors: generator.next() % 2 == 0 ? vectors : [vectors[1]], payload: PayloadCoding.encode(["n": .integer(3)])))
        }
    }

    /// Each node makes its merged replica at another time, of another parent's files, and takes records over in another order; with crashes between.
    @Test func nodesMergeToTheSameInOrdersOfTheirOwn() async throws {
        var generator = SeededGenerator.fresh()
        var pairs = [try await Pair(), try await Pair()]
        var model: [ModelShard] = [ModelShard()]
        for round in 0..<60 {
            let batch = (0..<Int(1 + generator.next() % 20)).map { _ in Self.operation(&generator, ids: 600) }
            for pair in pairs { try await pair.write(batch) }
            for operation in batch { _ = try model[0].apply(operation) }
            for index in pairs.indices {
                if round == 20 + 15 * index { try await pairs[index].make() }
                guard round > 20 + 15 * index else { continue }
                for _ in 0..<3 { try await pairs[index].follow(Int(generator.next() % 2), atMost: Int(1 + generator.next() % 4)) }
                if generator.next() % 12 == 0 { try await pairs[index].reopen(afterCrash: generator.next() % 2 == 0) }
            }
        }
        for pair in pairs { try await pair.catchUp() }
        var ends: [HostedReplica.LogEnd] = []
        for pair in pairs {
            // Nobody is answered before it has a place.
            await #expect { try await pair.points() } throws: { ($0 as? NeedletailError)?.code == .aborted }
            try await pair.node.updateReplica(Pair.assignment(epoch: 2), deadline: nil)
            let end = try Pair.parents.reduce(UInt64(0)) { try $0 + pair.node.hosted($1).logEnd.last }
            let log = try pair.node.hosted(Pair.merged).logEnd
            #expect(log.last == end && log.first == end + 1 && log.epochs.map(\.epoch) == [1] && log.epochs[0].firstSequence == end)
            ends.append(log)
        }
        #expect(ends[0].last == ends[1].last)
        #expect(try pairs[0].contents() == pairs[1].contents())
        // And after another write, in the next epoch, and a restart, and on a copy.
        let last = Self.operation(&generator, ids: 600)
        _ = try model[0].apply(last)
        for index in pairs.indices {
            let write = ShardWrite(shard: Pair.merged, epoch: 2, batch: WriteBatch([last]).encoded)
            #expect(try await pairs[index].node.write(write).sequence == ends[0].last + 1)
            let copy = try await pairs[index].node.hosted(Pair.merged).copy()
            #expect(copy.sequence >= ends[0].last)
            copy.end()
            try await pairs[index].reopen(afterCrash: index == 0)
            let found = try await pairs[index].points()
            #expect(found.keys == model[0].points.keys)
            #expect(try pairs[index].node.hosted(Pair.merged).logEnd.last == ends[0].last + 1)
        }
        #expect(try pairs[0].contents() == pairs[1].contents())
        for pair in pairs { await pair.node.close() }
    }

    /// A replica that was not whole when the process ended is not there afterwards.
    @Test func whatWasNotWholeIsMadeAnew() async throws {
        var pair = try await Pair()
        var generator = SeededGenerator.fresh()
        try await pair.write((0..<300).map { _ in Self.operation(&generator, ids: 1000) })
        try await pair.make()
        let folder = pair.directory.path + "/replicas/\(Pair.merged.incarnation)-\(Pair.merged.number)"
        let disk = pair.node.resources.disk
        let stored = StoredMerge(lineage: Lineage(), operations: OperationCells(range: Pair.ranges[0]), kept: Pair.ranges[0])
        #expect(!disk.exists(folder + "/" + StoredMerge.fileName))
        try disk.replaceChecked(folder + "/" + StoredMerge.fileName, with: stored.encoded)
        try await pair.reopen(afterCrash: false)
        #expect(throws: NeedletailError.self) { try pair.node.hosted(Pair.merged) }
        try await pair.make()
        try await pair.catchUp()
        await pair.node.close()
    }

    private static func name(_ number: UInt64) -> OperationID { OperationID(high: 9, low: number) }

    private static func version(_ ids: [UInt64], _ version: Float) -> [PointOperation] {
        ids.map { .upsert(Point(id: .number($0), vectors: [FieldVector(field: 0, vector: DenseVector([Float](repeating: version, count: 8)))])) }
    }

    /// Of a write to both parents under one name each part is done once, however the parts come to the merged shard.
    @Test func aNameCountsForThePointsThatCameUnderIt() async throws {
        var pair = try await Pair()
        let ids = Array(UInt64(1)...40)
        let parts = Pair.ranges.map { range in ids.filter { range.contains(PointID.number($0).placementHash) } }
        #expect(parts.allSatisfy { !$0.isEmpty })
        try await pair.write(Self.version(ids, 0))
        // One before the copy and one after it; each to the first parent only. One to both.
        try await pair.write(Self.version(ids, 1), as: Self.name(1), only: 0)
        try await pair.make()
        try await pair.write(Self.version(ids, 2), as: Self.name(2), only: 0)
        try await pair.write(Self.version(ids, 3), as: Self.name(3))
        try await pair.catchUp()
        try await pair.node.updateReplica(Pair.assignment(epoch: 2), deadline: nil)

        func write(_ node: LocalNode, _ ids: [UInt64], _ version: Float, _ name: UInt64) async throws -> WriteReceipt {
            let batch = WriteBatch(Self.version(ids, version)).encoded
            return try await node.write(ShardWrite(shard: Pair.merged, epoch: 2, batch: batch, operation: Self.name(name)))
        }
        func versions(_ node: LocalNode, _ ids: [UInt64]) async throws -> Set<Float> {
            let points = try await node.get(ShardGet(shard: Pair.merged, ids: ids.map { .number($0) }, parts: PointParts(vectors: true))).points
            #expect(points.count == ids.count)
            return Set(points.map { $0.vectors[0].vector == DenseVector([Float](repeating: 3, count: 8)) ? 3 : $0.vectors[0].vector == DenseVector([Float](repeating: 1, count: 8)) ? 1 : 2 })
        }
        let end = try pair.node.hosted(Pair.merged).logEnd.last
        for name in [UInt64(1), 2, 3] {
            // What was done is answered, and nothing is written.
            #expect(try await write(pair.node, parts[0], Float(name), name).sequence <= end)
        }
        #expect(try pair.node.hosted(Pair.merged).logEnd.last == end)
        #expect(try await versions(pair.node, ids) == [3])
        // The part that did not come is written; all of it together, or by itself.
        #expect(try await write(pair.node, ids, 1, 1).outcomes.count == ids.count)
        #expect(try await versions(pair.node, parts[0]) == [3])
        #expect(try await versions(pair.node, parts[1]) == [1])
        #expect(try await write(pair.node, parts[1], 2, 2).sequence == end + 2)
        #expect(try await versions(pair.node, parts[1]) == [2])
        for isCrash in [false, true] {
            for (part, name) in [(ids, UInt64(1)), (parts[0], 1), (parts[1], 1), (ids, 2), (parts[1], 2), (ids, 3)] {
                #expect(try await write(pair.node, part, Float(name), name).sequence <= end + 2)
            }
            #expect(try pair.node.hosted(Pair.merged).logEnd.last == end + 2)
            #expect(try await versions(pair.node, parts[0]) == [3])
            #expect(try await versions(pair.node, parts[1]) == [2])
            try await pair.reopen(afterCrash: isCrash)
        }
        // A new name, in two parts, as a coordinator with an older map sends them.
        for part in parts { _ = try await write(pair.node, part, 3, 4) }
        #expect(try await versions(pair.node, ids) == [3])
        await pair.node.close()
    }

    @Test func formatsAreThoseOfBeforeWhereNothingWasMerged() throws {
        let batch = WriteBatch([.delete(.number(3))]).encoded
        #expect(LoggedWrite(committed: 1, operation: nil, batch: batch).encoded[0] == 2)
        #expect(LoggedWrite(committed: 1, operation: nil, batch: batch, isPart: true).encoded[0] == 3)
        let merged = LoggedWrite(committed: 1, operation: Self.name(1), batch: batch, source: Lineage.Parent(number: 5, sequence: 77))
        let read = try LoggedWrite(encoded: merged.encoded)
        #expect(merged.encoded[0] == 4 && read.source == merged.source && read.batch == batch && read.isPart && read.operation == Self.name(1))
        for length in 1..<37 { #expect(throws: NeedletailError.self) { try LoggedWrite(encoded: Array(merged.encoded.prefix(length))) } }
        var state = CheckpointState(indexes: [], codecs: [])
        var cells = OperationCells(Pair.ranges.map { OperationCells.Cell(range: $0) })
        state.take(OperationCells(range: Pair.ranges[0]), upTo: 9)
        #expect(state.encoded[0] == 4)
        cells.note(Self.name(1), [.delete(.number(1))], sequence: 4, now: .now)
        state.take(cells, upTo: 9)
        state.lineage = Lineage([Lineage.Parent(number: 1, sequence: 5), Lineage.Parent(number: 2, sequence: 6)])
        let again = try CheckpointState(encoded: state.encoded)
        #expect(state.encoded[0] == 5 && again.lineage == state.lineage)
        let known = try again.operations(in: HashRange(first: 0, last: .max), now: .now)
        #expect(known.cells.map(\.range) == Pair.ranges && known.cells.count { $0.table[Self.name(1)] != nil } == 1)
        #expect(try again.operations(in: HashRange(first: 5, last: 9), now: .now).cells.map(\.range) == [HashRange(first: 5, last: 9)])
        for length in 0..<state.encoded.count { #expect(throws: NeedletailError.self) { try CheckpointState(encoded: Array(state.encoded.prefix(length))) } }
    }
}
