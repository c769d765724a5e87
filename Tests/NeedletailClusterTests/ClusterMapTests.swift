import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct ClusterMapTests {
    private func entry(shards: Int) throws -> CollectionEntry {
        let spec = CollectionSpec(
            name: "c", fields: [VectorField(name: "v", dimensions: 4, metric: .dot, element: .f16)], shardCount: shards,
            durability: .interval(milliseconds: 5))
        let places = try Placement.place(shards: shards, replicas: 2, on: [NodeID(1), NodeID(2), NodeID(3)], load: [:])
        return CollectionEntry(spec: spec, incarnation: Incarnation(9), state: .creating, shards: places)
    }

    @Test(arguments: [1, 2, 5, 64, 256]) func entriesRoundTripAndRoute(shards: Int) throws {
        var generator = SeededGenerator.fresh()
        let entry = try entry(shards: shards)
        #expect(try CollectionEntry(encoded: entry.encoded) == entry)
        for _ in 0..<500 {
            let id = PointID.number(generator.next())
            #expect(entry.place(of: id).range.contains(id.placementHash))
        }
    }

    /// A coordinator of the version before splits reads it, while a cluster is upgraded.
    @Test func onlyACollectionThatWasSplitHasTheNewestFormat() throws {
        var entry = try entry(shards: 3)
        #expect(entry.encoded.first == 3)
        entry.shards[1].ancestors = [7]
        entry.nextNumber = 9
        #expect(entry.encoded.first == 4)
        #expect(try CollectionEntry(encoded: entry.encoded) == entry)
        entry.shards[1].ancestors = []
        #expect(try CollectionEntry(encoded: entry.encoded) == entry, "the number of a part that never came is not given again")
    }

    @Test func damagedEntriesAreRefused() throws {
        var generator = SeededGenerator.fresh()
        let bytes = try entry(shards: 5).encoded
        for length in 0..<bytes.count { #expect(throws: NeedletailError.self) { try CollectionEntry(encoded: Array(bytes.prefix(length))) } }
        for _ in 0..<5_000 {
            var mutated = bytes
            mutated[Int.random(in: 0..<bytes.count, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            // Whatever is accepted tiles the hash space, or routing would trap.
            if let entry = try? CollectionEntry(encoded: mutated) { #expect(entry.shards.last?.range.last == .max) }
        }
    }

    @Test func placementIsEvenWithinAndOverCollections() throws {
        let nodes = (1...3).map { NodeID(UInt64($0)) }
        var load: [NodeID: Int] = [:]
        for shards in [1, 1, 1, 2, 7, 4] {
            let places = try Placement.place(shards: shards, replicas: 1, on: nodes, load: load)
            var here: [NodeID: Int] = [:]
            for place in places {
                here[place.primary, default: 0] += 1
                load[place.primary, default: 0] += 1
            }
            let counts = nodes.map { here[$0, default: 0] }
            #expect(counts.max()! - counts.min()! <= 1)
        }
        let totals = nodes.map { load[$0, default: 0] }
        #expect(totals.max()! - totals.min()! <= 1)
        #expect(throws: NeedletailError.self) { try Placement.place(shards: 1, replicas: 1, on: [], load: [:]) }
    }

    @Test(arguments: 1...4, [1, 3, 8, 30]) func replicasAreOnNodesOfTheirOwnAndRolesAreEven(replicas: Int, shards: Int) throws {
        let nodes = (1...4).map { NodeID(UInt64($0)) }
        let places = try Placement.place(shards: shards, replicas: replicas, on: nodes, load: [:])
        #expect(places.allSatisfy { Set($0.replicas).count == replicas && $0.inSync == $0.replicas && $0.replicas.contains($0.primary) })
        func spread(_ count: (NodeID) -> Int) -> Int { nodes.map(count).max()! - nodes.map(count).min()! }
        #expect(spread { node in places.count { $0.replicas.contains(node) } } <= 1)
        #expect(spread { node in places.count { $0.primary == node } } <= 2)
        #expect(throws: NeedletailError.self) { try Placement.place(shards: 1, replicas: 5, on: nodes, load: [:]) }
    }

    @Test func aScatterAsksEachNodeOnceAndEachShardOnce() throws {
        let entry = try entry(shards: 8)
        let plan = ScatterPlan(entry.shards.map { (shard: entry.shardID($0), node: $0.primary) })
        #expect(Set(plan.parts.map(\.node)).count == plan.parts.count)
        #expect(plan.parts.flatMap(\.shards).sorted() == entry.shards.map(entry.shardID).sorted())
    }
}

@Suite struct CoverageVerdictTests {
    private func reports(_ outcomes: ShardReport.Outcome...) -> [ShardReport] {
        outcomes.enumerated().map { ShardReport(shard: ShardID(incarnation: Incarnation(1), number: UInt32($0)), outcome: $1, appliedSequence: 0) }
    }

    private func error(_ reports: [ShardReport], allowPartial: Bool = false) -> NeedletailError? {
        do { try CoverageVerdict.check(reports, allowPartial: allowPartial) } catch { return error }
        return nil
    }

    private let wrong = ShardReport.Outcome.failed(NeedletailError(.invalidArgument, "3 dimensions where 4 are wanted"))
    private let away = ShardReport.Outcome.failed(NeedletailError(.unavailable, "not there"))

    @Test func aWrongRequestIsToldSoInTheWordsOfTheShards() {
        for (reports, allowPartial) in [(reports(wrong, wrong), false), (reports(wrong, wrong), true), (reports(.complete, wrong), false)] {
            let error = error(reports, allowPartial: allowPartial)
            #expect(error?.code == .invalidArgument && error?.message == "3 dimensions where 4 are wanted")
        }
    }

    @Test func missingShardsAreCounted() {
        #expect(error(reports(.complete, .complete)) == nil)
        #expect(error(reports(.complete, away), allowPartial: true) == nil)
        #expect(error(reports(.complete, wrong), allowPartial: true) == nil)
        #expect(error(reports(.complete, away))?.message == "1 of 2 shards did not answer: not there")
        #expect(error(reports(away, away), allowPartial: true)?.message == "2 of 2 shards did not answer: not there")
        #expect(error(reports(away, wrong))?.message == "2 of 2 shards did not answer: not there")
        #expect(error(reports(.complete, .truncated))?.code == .deadlineExceeded)
        #expect(error(reports(.complete, .truncated), allowPartial: true) == nil)
    }
}

@Suite struct MembershipTests {
    private let shard = ShardID(incarnation: Incarnation(1), number: 0)

    private func beat(_ membership: inout Membership, _ replicas: [ReplicaStatus], address: String = "a") {
        _ = membership.heartbeat(from: NodeID(1), address: address, status: NodeStatus(replicas: replicas), isDraining: false, now: .now)
    }

    /// The heartbeat that was on its way when a replica was made does not know of it, or saw it loading.
    @Test(arguments: [[], [ReplicaStatus.State.loading]]) func aReplicaJustMadeServesThroughOneHeartbeat(reported: [ReplicaStatus.State]) {
        var membership = Membership(lease: .seconds(5))
        let status = reported.map { ReplicaStatus(shard: shard, state: $0) }
        beat(&membership, status)
        membership.serves(shard, epoch: 3, on: NodeID(1))
        #expect(membership.replica(shard, on: NodeID(1))?.state == .ready)
        beat(&membership, status)
        #expect(membership.replica(shard, on: NodeID(1))?.state == .ready)
        beat(&membership, status)
        #expect(membership.replica(shard, on: NodeID(1))?.state == reported.first, "then the node's word counts")
    }

    @Test func aReplicaThatIsThereKeepsWhatItsNodeSaid() {
        var membership = Membership(lease: .seconds(5))
        beat(&membership, [ReplicaStatus(shard: shard, state: .readOnly, reason: "full", pointCount: 7)])
        membership.serves(shard, epoch: 1, on: NodeID(1))
        #expect(membership.replica(shard, on: NodeID(1))?.state == .readOnly)
        #expect(membership.replica(shard, on: NodeID(1))?.pointCount == 7)
    }

    @Test func aReplicaJustMadeIsForgottenWithItsProcessOrWhenDropped() {
        var membership = Membership(lease: .seconds(5))
        beat(&membership, [])
        membership.serves(shard, epoch: 1, on: NodeID(1))
        beat(&membership, [], address: "b")
        #expect(membership.replica(shard, on: NodeID(1)) == nil)
        membership.serves(shard, epoch: 1, on: NodeID(1))
        membership.dropped(shard, by: NodeID(1))
        beat(&membership, [], address: "b")
        #expect(membership.replica(shard, on: NodeID(1)) == nil)
        membership.serves(shard, epoch: 1, on: NodeID(2))
        #expect(membership.nodes[NodeID(2)] == nil, "a node that never said a word")
    }

    @Test func nodesLiveAsLongAsTheirLease() {
        var membership = Membership(lease: .seconds(5))
        let start = ContinuousClock.now
        let ready = NodeStatus(replicas: [ReplicaStatus(shard: shard, state: .ready)])
        #expect(membership.heartbeat(from: NodeID(1), address: "a", status: ready, isDraining: false, now: start) == [.connect(NodeID(1), address: "a")])
        #expect(membership.heartbeat(from: NodeID(1), address: "a", status: ready, isDraining: false, now: start) == [])
        #expect(membership.isAlive(NodeID(1), now: start.advanced(by: .seconds(5))))
        #expect(!membership.isAlive(NodeID(1), now: start.advanced(by: .seconds(6))))
        #expect(!membership.isAlive(NodeID(2), now: start))
        #expect(membership.placeable(now: start) == [NodeID(1)])
        _ = membership.heartbeat(from: NodeID(1), address: "b", status: ready, isDraining: true, now: start)
        #expect(membership.placeable(now: start) == [], "nothing is placed on a node that drains")
    }

    @Test func sizesCanBeAddedUpWhateverANodeSays() {
        var membership = Membership(lease: .seconds(5))
        let huge = (0..<1_000).map {
            ReplicaStatus(
                shard: ShardID(incarnation: Incarnation(1), number: $0), state: .ready, pointCount: .max, memoryBytes: .max, diskBytes: .max,
                dataBytes: .max)
        }
        for node in UInt64(1)...100 {
            _ = membership.heartbeat(from: NodeID(node), address: "\(node)", status: NodeStatus(replicas: huge), isDraining: false, now: .now)
        }
        let replicas = membership.nodes.values.flatMap(\.replicas.values)
        #expect(replicas.reduce(0) { $0 + $1.pointCount + $1.memoryBytes + $1.diskBytes + $1.dataBytes } > 0)
    }

    @Test func aShardThatDoesNotAnswerCountsAsLoadingUntilTheNextHeartbeat() {
        var membership = Membership(lease: .seconds(5))
        let now = ContinuousClock.now
        let ready = NodeStatus(replicas: [ReplicaStatus(shard: shard, state: .ready)])
        _ = membership.heartbeat(from: NodeID(1), address: "a", status: ready, isDraining: false, now: now)
        membership.unanswered([shard], by: NodeID(1))
        #expect(membership.replica(shard, on: NodeID(1))?.state == .loading)
        #expect(membership.heartbeat(from: NodeID(1), address: "a", status: ready, isDraining: false, now: now) == [.retry(NodeID(1))])
        #expect(membership.replica(shard, on: NodeID(1))?.state == .ready)
    }
}
