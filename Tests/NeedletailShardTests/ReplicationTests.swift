import NeedletailCore
@testable import NeedletailShard
import NeedletailStorage
import NeedletailTestSupport
import Synchronization
import Testing

/// Lets a replica that has fellows be written to; what is committed the test decides.
private final class Witness: ReplicationObserver {
    let durable = Mutex<UInt64>(0)

    func admit(_ write: ShardWrite) throws(NeedletailError) {}
    func admitMark(epoch: UInt64) throws(NeedletailError) {}
    func admitPrimaryRead() throws(NeedletailError) -> UInt64 { 0 }
    func appended(through sequence: UInt64) {}
    func durable(through sequence: UInt64) { durable.withLock { $0 = sequence } }
    func failed(keeping lastKept: UInt64) {}
}

/// A replica as the machines of replication see it: its log, its gate, what it holds.
@Suite(.watchedForHangs) struct ReplicationTests {
    private static func members(_ count: Int) -> [ReplicaAssignment.Member] {
        (1...count).map { .init(node: NodeID(UInt64($0)), address: "", isInSync: true) }
    }

    private static func open(_ directory: TemporaryDirectory, replicas: Int = 2) async throws -> TestShard {
        let node = LocalNode(directory: directory.path, resources: NodeResources(searchThreads: 2, buildThreads: 2, configuration: TestShard.small()))
        try node.start()
        let assignment = ReplicaAssignment(
            shard: TestShard.id, range: HashRange(first: 0, last: .max), epoch: 1, collection: TestShard.spec(), primary: NodeID(1),
            members: members(replicas), version: 1)
        try await node.createReplica(assignment, deadline: nil)
        return TestShard(node: node)
    }

    private static func point(_ id: UInt64, _ generator: inout SeededGenerator, payload: Int64 = 0) -> PointOperation {
        .upsert(
            Point(
                id: .number(id), vectors: [FieldVector(field: 0, vector: DenseVector(generator.gaussians(8)))],
                payload: PayloadCoding.encode(["n": .integer(payload)])))
    }

    private static func write(_ shard: TestShard, _ operations: [PointOperation], operation: OperationID? = nil) -> Task<WriteReceipt, any Error> {
        let request = ShardWrite(shard: TestShard.id, epoch: 1, batch: WriteBatch(operations).encoded, operation: operation)
        return Task { try await shard.node.write(request) }
    }

    private static func count(_ shard: TestShard) async throws -> UInt64 {
        try await shard.node.count(TestShard.id, condition: ReadCondition(), deadline: nil).count
    }

    @Test func nothingIsSeenBeforeItIsCommittedAlsoAfterARestart() async throws {
        var generator = SeededGenerator.fresh()
        var directory = TemporaryDirectory()
        var shard = try await Self.open(directory)
        let witness = Witness()
        try shard.node.hosted(TestShard.id).observe(witness)
        let first = Self.write(shard, [Self.point(1, &generator)])
        try await eventually { witness.durable.withLock { $0 } == 1 }
        let second = Self.write(shard, [Self.point(2, &generator)])
        try await eventually { witness.durable.withLock { $0 } == 2 }
        #expect(try await Self.count(shard) == 0)
        try shard.node.hosted(TestShard.id).commit(through: 1)
        #expect(try await first.value.sequence == 1)
        #expect(try await Self.count(shard) == 1)
        // The third record says that the first was committed when it was written, and no more.
        let third = Self.write(shard, [Self.point(3, &generator)])
        try await eventually { witness.durable.withLock { $0 } == 3 }
        shard.node.resources.close()
        directory = try TemporaryDirectory(copyOf: directory)
        let reopened = try await Self.open(directory)
        #expect(try await Self.count(reopened) == 1)
        let end = try reopened.node.hosted(TestShard.id).logEnd
        #expect((end.last, end.durable, end.committed) == (3, 3, 1))
        // Cut at what is committed, the rest is gone; below that nothing is.
        try await reopened.node.hosted(TestShard.id).cut(after: 2)
        await #expect(throws: NeedletailError.self) { try await reopened.node.hosted(TestShard.id).cut(after: 0) }
        try reopened.node.hosted(TestShard.id).commit(through: 2)
        try await reopened.node.hosted(TestShard.id).waitUntilApplied(2, deadline: nil)
        #expect(try await Self.count(reopened) == 2)
        shard = reopened
        await shard.node.close()
        second.cancel()
        third.cancel()
    }

    @Test func aNamedWriteIsCarriedOutOnceAlsoAfterRestarts() async throws {
        var generator = SeededGenerator.fresh()
        var directory = TemporaryDirectory()
        var shard = try await Self.open(directory, replicas: 1)
        let name = OperationID(high: 1, low: 2)
        let receipt = try await Self.write(shard, [Self.point(1, &generator), .delete(.number(9))], operation: name).value
        #expect(receipt.outcomes == [.applied, .notFound])
        try await shard.write([.delete(.number(1))])
        for round in 0..<3 {
            let again = try await Self.write(shard, [Self.point(1, &generator), .delete(.number(9))], operation: name).value
            #expect((again.sequence, again.outcomes) == (receipt.sequence, receipt.outcomes))
            #expect(try await Self.count(shard) == 0)
            // From the log; then, the log being gone, from the checkpoint.
            if round == 1 { await shard.node.close() } else { shard.node.resources.close() }
            directory = try TemporaryDirectory(copyOf: directory)
            shard = try await Self.open(directory, replicas: 1)
        }
        await shard.node.close()
    }

    /// The same writes, in batches of the same kind but at other paces and with a restart between, give the same digest; one other byte does not.
    @Test func digestsAreThoseOfTheContent() async throws {
        var generator = SeededGenerator.fresh()
        var batches: [[PointOperation]] = []
        for round in 0..<40 {
            let ids = (0..<10).map { _ in UInt64.random(in: 0..<60, using: &generator) }
            batches.append(
                ids.map { id in
                    switch Int.random(in: 0..<6, using: &generator) {
                    case 0: .delete(.number(id))
                    case 1: .setPayload(.number(id), ["x": .integer(Int64(round))])
                    default: Self.point(id, &generator, payload: Int64(round))
                    }
                })
        }
        func digest(_ batches: [[PointOperation]], restarting: Bool) async throws -> ReplicaDigest {
            var directory = TemporaryDirectory()
            var shard = try await Self.open(directory)
            try shard.node.hosted(TestShard.id).observe(Witness())
            for (index, batch) in batches.enumerated() {
                let written = Self.write(shard, batch)
                let hosted = try shard.node.hosted(TestShard.id)
                try await eventually { hosted.logEnd.durable == UInt64(index + 1) }
                hosted.commit(through: UInt64(index + 1))
                _ = try await written.value
                if restarting, index % 15 == 14 {
                    await shard.node.close()
                    directory = try TemporaryDirectory(copyOf: directory)
                    shard = try await Self.open(directory)
                    try shard.node.hosted(TestShard.id).observe(Witness())
                }
            }
            let hosted = try shard.node.hosted(TestShard.id)
            async let mark = hosted.mark()
            try await eventually { hosted.logEnd.durable == UInt64(batches.count + 1) }
            hosted.commit(through: .max)
            var digest = try await hosted.digest(at: mark, .recall(20), deadline: nil)
            #expect(digest.answers == 0 && !digest.answers(like: digest), "they were not asked for")
            digest.answers = try await hosted.digest(at: mark, .answers(20), deadline: nil).answers
            #expect(try await hosted.digest(at: mark, .answers(20), deadline: nil).answers(like: digest))
            await shard.node.close()
            return digest
        }
        let plain = try await digest(batches, restarting: false)
        #expect(plain.sums.contains { $0 != 0 })
        #expect(plain.recall > 0.9)
        #expect(try await digest(batches, restarting: true).agrees(with: plain))
        var other = batches
        other[39].append(.setPayload(.number(1_000), ["x": .integer(1)]))
        #expect(try await digest(other, restarting: false).sums == plain.sums, "nothing was changed")
        other[39].append(Self.point(1_000, &generator))
        let changed = try await digest(other, restarting: false)
        #expect(zip(changed.sums, plain.sums).count { $0 != $1 } == 1, "one point lies in one part")
        #expect(!changed.agrees(with: plain) && !changed.answers(like: plain))
        // The same content, of which something else is found.
        var lame = plain
        lame.answers ^= 1
        #expect(!lame.answers(like: plain) && lame.agrees(with: plain))
        lame.recall -= 0.02
        #expect(!lame.agrees(with: plain))
    }

    /// A copy of a checkpoint, put where an empty replica was, answers as its source and goes on from there.
    @Test func aCopyTakesTheReplicasPlace() async throws {
        var generator = SeededGenerator.fresh()
        let (there, here) = (TemporaryDirectory(), TemporaryDirectory())
        let source = try await Self.open(there, replicas: 1)
        for start in stride(from: UInt64(0), to: 500, by: 50) {
            try await source.write((start..<start + 50).map { Self.point($0, &generator, payload: Int64($0)) })
        }
        let copy = try await source.node.hosted(TestShard.id).copy()
        let target = try await Self.open(here, replicas: 1)
        let incoming = try target.node.incoming(TestShard.id)
        for file in copy.files {
            var offset: UInt64 = 0
            repeat {
                let bytes = try await copy.read(file.name, at: offset, count: 10_000).bytes
                await #expect(throws: NeedletailError.self) { try await incoming.write("../x", at: 0, bytes, checksum: 0) }
                if !bytes.isEmpty {
                    await #expect(throws: NeedletailError.self, "damaged on its way") {
                        try await incoming.write(file.name, at: offset, bytes, checksum: crc32c(bytes) ^ 1)
                    }
                }
                try await incoming.write(file.name, at: offset, bytes, checksum: crc32c(bytes))
                offset += UInt64(bytes.count)
            } while offset < file.sizeBytes
        }
        // What is written meanwhile is not in it.
        try await source.write([Self.point(10_000, &generator)])
        copy.end()
        try await target.node.install(incoming, sequence: copy.sequence, epoch: copy.epoch)
        let applied = try await target.node.count(TestShard.id, condition: ReadCondition(), deadline: nil)
        #expect(applied.appliedSequence == copy.sequence && applied.count <= 500)
        let ids = try await target.scrollAll(page: 100).map(\.id)
        #expect(try await source.get(ids) == target.get(ids))
        // Its log goes on after the checkpoint.
        let receipt = try await target.write([Self.point(20_000, &generator)])
        #expect(receipt.sequence == copy.sequence + 1)
        await target.node.close()
        let reopened = try await Self.open(here, replicas: 1)
        #expect(try await Self.count(reopened) == applied.count + 1)
        await reopened.node.close()
        await source.node.close()
    }
}

extension ReplicationTests {
    /// A node that is asked by an old map, from when it had the shard, must not answer with the nothing that it has begun again with.
    @Test func aReplicaThatWasNeverFilledAnswersNoReads() async throws {
        var directory = TemporaryDirectory()
        var node = LocalNode(directory: directory.path, resources: NodeResources(searchThreads: 1, buildThreads: 1, configuration: TestShard.small()))
        try node.start()
        let assignment = ReplicaAssignment(shard: TestShard.id, range: HashRange(first: 0, last: .max), epoch: 1, collection: TestShard.spec())
        try await node.createReplica(assignment, isUnfilled: true, deadline: nil)
        for isCrash in [false, true] {
            await #expect { try await node.count(TestShard.id, condition: ReadCondition(), deadline: nil) } throws: {
                ($0 as? NeedletailError)?.code == .unavailable
            }
            if isCrash { directory = try TemporaryDirectory(copyOf: directory) }
            await node.close()
            node = LocalNode(directory: directory.path, resources: NodeResources(searchThreads: 1, buildThreads: 1, configuration: TestShard.small()))
            try node.start()
            let opened = node
            try await eventually { opened.isLoaded }
            #expect(try node.hosted(TestShard.id).isUnfilled)
        }
        try await node.hosted(TestShard.id).noteFilled()
        #expect(try await node.count(TestShard.id, condition: ReadCondition(), deadline: nil).count == 0)
        await node.close()
    }

    /// Its driver may hear of commits when the replica has been opened anew: two that write checkpoints into one folder would remove each other's files.
    @Test func aClosedReplicaLeavesItsFilesAlone() async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let shard = try await Self.open(directory)
        let former = try shard.node.hosted(TestShard.id)
        former.observe(Witness())
        let written = Self.write(shard, (0..<50).map { Self.point($0, &generator) })
        try await eventually { former.logEnd.durable == 1 }
        try await shard.node.reopen(TestShard.id)
        await #expect(throws: NeedletailError.self) { try await written.value }
        former.commit(through: 1)
        former.replica.requestCheckpoint()
        await former.replica.untilIdle()
        await former.replica.applier.untilCheckpointEnds()
        #expect(former.appliedSequence == 0 && former.replica.checkpoints.manifest == nil)
        await #expect(throws: NeedletailError.self) { try await former.copy() }
        await shard.node.close()
    }
}
