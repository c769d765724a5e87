import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct PlacementPlannerTests {
    static func shard(_ number: Int, _ replicas: [UInt64], bytes: UInt64 = 100, factor: Int? = nil, primary: UInt64? = nil, work: Double = 0) -> ClusterPicture.Shard {
        let place = ShardPlace(
            number: UInt32(number), range: HashRange.dividing(into: 1)[0], primary: NodeID(primary ?? replicas[0]), epoch: 1, replicas: replicas.map { NodeID($0) })
        return ClusterPicture.Shard(
            id: ShardID(incarnation: Incarnation(7), number: UInt32(number)), collection: "c", replicationFactor: factor ?? replicas.count, place: place,
            memoryBytes: bytes, bytes: bytes, work: work)
    }

    static func nodes(_ count: Int) -> [ClusterPicture.Node] { (1...UInt64(count)).map { ClusterPicture.Node(id: NodeID($0)) } }

    /// The picture once a plan has been carried out.
    static func carriedOut(_ moves: [PlannedMove], _ picture: ClusterPicture) -> ClusterPicture {
        var picture = picture
        for move in moves {
            guard let index = picture.shards.firstIndex(where: { $0.id == move.shard }) else { continue }
            var place = picture.shards[index].place
            if move.isLeadOnly {
                if let to = move.to { place.primary = to }
            } else {
                var replicas = place.replicas.filter { $0 != move.from }
                if let to = move.to { replicas = (replicas + [to]).sorted() }
                if place.primary == move.from { place.primary = move.to ?? replicas[0] }
                (place.replicas, place.inSync) = (replicas, replicas)
            }
            picture.shards[index].place = place
        }
        return picture
    }

    /// Whether only primaries are to be changed, and then nothing.
    static func settles(_ picture: ClusterPicture) -> Bool {
        let leads = PlacementPlanner.plan(picture)
        return leads.allSatisfy(\.isLeadOnly) && PlacementPlanner.plan(carriedOut(leads, picture)).isEmpty
    }

    private func held(_ picture: ClusterPicture) -> [NodeID: UInt64] {
        picture.shards.reduce(into: [:]) { sum, shard in for node in shard.place.replicas { sum[node, default: 0] += shard.bytes } }
    }

    /// Balance may hold on for as long as it likes; what is one too many goes at once, wherever balance would have what stays.
    @Test func aReplicaTooManyDoesNotWaitForBalance() throws {
        let shards = [Self.shard(0, [1, 2], factor: 1, primary: 1), Self.shard(1, [1]), Self.shard(2, [1])]
        let plan = PlacementPlanner.plan(ClusterPicture(nodes: Self.nodes(2), shards: shards))
        let fewer = try #require(plan.first)
        #expect(fewer.shard.number == 0 && fewer.to == nil && fewer.cause == .replicas && fewer.reason == "the collection wants 1 replicas, and there are 2")
        #expect(plan.dropFirst().allSatisfy { $0.cause == .balance && $0.to != nil })
    }

    @Test func aNodeThatJoinsThreeEqualOnesGetsAQuarter() {
        let shards = (0..<48).map { Self.shard($0, [UInt64($0 % 3 + 1)], bytes: 1000) }
        let picture = ClusterPicture(nodes: Self.nodes(4), shards: shards)
        let plan = PlacementPlanner.plan(picture)
        #expect(plan.allSatisfy { $0.to == NodeID(4) && $0.cause == .balance && !$0.reason.isEmpty })
        let moved = plan.reduce(0) { $0 + $1.bytes }
        #expect(moved <= 12 * 1000 * 11 / 10 && moved >= 10 * 1000)
        let after = Self.carriedOut(plan, picture)
        #expect(Self.settles(after))
    }

    /// The same with shards of many sizes and two replicas: at most a tenth more moves than the new node's share.
    @Test func littleMoreIsMovedThanTheShareOfTheNewNode() {
        var generator = SeededGenerator.fresh()
        for _ in 0..<100 {
            let sizes = (0..<60).map { _ in UInt64.random(in: 500...1500, using: &generator) }
            var picture = ClusterPicture(nodes: Self.nodes(3), shards: sizes.enumerated().map { Self.shard($0, [UInt64($0 % 3 + 1), UInt64(($0 + 1) % 3 + 1)], bytes: $1) })
            picture = Self.carriedOut(PlacementPlanner.plan(picture), picture)
            picture.nodes = Self.nodes(4)
            let plan = PlacementPlanner.plan(picture)
            let share = Double(2 * sizes.reduce(0, +)) / 4
            let moved = Double(plan.reduce(0) { $0 + $1.bytes })
            #expect(moved <= share * 1.1, "\(moved) of \(share)")
            let after = Self.carriedOut(plan, picture)
            let fills = held(after).values
            #expect(Double(fills.max() ?? 0) <= Double(fills.min() ?? 0) * 1.2)
        }
    }

    @Test func aDrainedNodeIsEmptiedAndStaysEmpty() {
        var nodes = Self.nodes(4)
        nodes[1].isDrained = true
        let picture = ClusterPicture(nodes: nodes, shards: (0..<12).map { Self.shard($0, [UInt64($0 % 4 + 1), UInt64(($0 + 1) % 4 + 1)]) })
        let plan = PlacementPlanner.plan(picture)
        let after = Self.carriedOut(plan, picture)
        #expect(after.shards.allSatisfy { !$0.place.replicas.contains(NodeID(2)) && Set($0.place.replicas).count == 2 })
        #expect(plan.first?.cause == .drain)
        #expect(Self.settles(after))
    }

    @Test func replicasGoToOtherZonesAndMissingOnesAreMade() {
        var nodes = Self.nodes(4)
        for index in nodes.indices { nodes[index].zone = index < 2 ? "a" : "b" }
        nodes[3].isLost = true
        nodes[3].isUsable = false
        let picture = ClusterPicture(
            nodes: nodes, shards: [Self.shard(0, [1, 2]), Self.shard(1, [1], factor: 2), Self.shard(2, [1, 4]), Self.shard(3, [1, 2, 3], factor: 2)])
        let after = Self.carriedOut(PlacementPlanner.plan(picture), picture)
        #expect(after.shards.allSatisfy { $0.place.replicas.count == 2 && $0.place.replicas.contains(NodeID(3)) && !$0.place.replicas.contains(NodeID(4)) })
        #expect(Self.settles(after))
    }

    @Test func limitsAreObeyed() {
        var nodes = Self.nodes(3)
        nodes[0].memoryLimitBytes = 250
        nodes[1].memoryLimitBytes = 210
        let picture = ClusterPicture(nodes: nodes, shards: (0..<6).map { Self.shard($0, [1]) })
        let after = Self.carriedOut(PlacementPlanner.plan(picture), picture)
        let held = held(after)
        #expect(held[NodeID(1), default: 0] <= 250 && held[NodeID(2), default: 0] <= 189 && held[NodeID(3), default: 0] >= 200)
    }

    @Test func weightsShareTheBytes() {
        var nodes = Self.nodes(2)
        nodes[1].weight = 3
        let picture = ClusterPicture(nodes: nodes, shards: (0..<40).map { Self.shard($0, [1]) })
        let after = Self.carriedOut(PlacementPlanner.plan(picture), picture)
        #expect((29...31).contains(held(after)[NodeID(2), default: 0] / 100))
    }

    @Test func primariesAreSpread() {
        let picture = ClusterPicture(nodes: Self.nodes(3), shards: (0..<9).map { Self.shard($0, [1, 2, 3]) })
        let plan = PlacementPlanner.plan(picture)
        #expect(plan.count == 6 && plan.allSatisfy { $0.isLeadOnly && $0.bytes == 0 })
        #expect(PlacementPlanner.plan(Self.carriedOut(plan, picture)).isEmpty)
    }

    /// Whatever the cluster: replicas of a shard are on distinct nodes, as many as can be; drained and lost nodes give up what they can; a plan is
    /// the same every time; and once it has been carried out there is nothing to do.
    @Test func plansAreSoundAndSettle() {
        var generator = SeededGenerator.fresh()
        for round in 0..<400 {
            let picture = Self.random(&generator)
            let plan = PlacementPlanner.plan(picture)
            #expect(plan == PlacementPlanner.plan(picture))
            let after = Self.carriedOut(plan, picture)
            for (before, shard) in zip(picture.shards, after.shards) {
                let replicas = shard.place.replicas
                #expect(Set(replicas).count == replicas.count && !replicas.isEmpty, "round \(round)")
                let usable = picture.nodes.filter { $0.isUsable && !$0.isDrained && !$0.isLost }
                if usable.count >= before.replicationFactor {
                    #expect(replicas.count == before.replicationFactor, "round \(round): \(before.place.replicas) became \(replicas)")
                    #expect(replicas.allSatisfy { node in usable.contains { $0.id == node } }, "round \(round)")
                    let zones = Set(replicas.map { node in usable.first { $0.id == node }?.zone })
                    #expect(zones.count >= min(before.replicationFactor, Set(usable.map(\.zone)).count), "round \(round)")
                }
            }
            guard Self.settles(after) else {
                Issue.record("round \(round): \(PlacementPlanner.plan(after))")
                return
            }
        }
    }

    private static func random(_ generator: inout SeededGenerator) -> ClusterPicture {
        let count = Int.random(in: 1...8, using: &generator)
        let zones = Int.random(in: 1...3, using: &generator)
        var nodes = Self.nodes(count)
        for index in nodes.indices {
            nodes[index].zone = "\(Int.random(in: 0..<zones, using: &generator))"
            nodes[index].weight = [1, 1, 1, 2, 0.5].randomElement(using: &generator) ?? 1
            nodes[index].isDrained = Int.random(in: 0..<8, using: &generator) == 0
            nodes[index].isLost = Int.random(in: 0..<12, using: &generator) == 0
            nodes[index].isUsable = !nodes[index].isLost
        }
        let shards = (0..<Int.random(in: 0...40, using: &generator)).map { number -> ClusterPicture.Shard in
            let replicas = nodes.map(\.id.value).shuffled(using: &generator).prefix(Int.random(in: 1...min(3, count), using: &generator))
            return shard(
                number, Array(replicas), bytes: UInt64.random(in: 0...1000, using: &generator), factor: Int.random(in: 1...3, using: &generator))
        }
        return ClusterPicture(nodes: nodes, shards: shards)
    }

    // MARK: Work

    private func work(_ picture: ClusterPicture, on node: UInt64) -> Double {
        picture.shards.filter { $0.place.replicas.contains(NodeID(node)) }.reduce(0) { $0 + $1.work / Double($1.replicationFactor) }
    }

    @Test func busyShardsSpreadAlthoughTheBytesAreEven() {
        let shards = (0..<8).map { Self.shard($0, [UInt64($0 / 4 + 1)], work: $0 < 4 ? 0.4 : 0.02) }
        let picture = ClusterPicture(nodes: Self.nodes(2), shards: shards)
        let plan = PlacementPlanner.plan(picture)
        #expect(plan.first?.reason == "node \(NodeID(1)) holds 190 % of its share of the work, node \(NodeID(2)) 10 %")
        let after = Self.carriedOut(plan, picture)
        #expect(abs(work(after, on: 1) - work(after, on: 2)) < 0.1)
        #expect(held(after)[NodeID(1)] == held(after)[NodeID(2)])
        #expect(Self.settles(after))
    }

    /// Where one shard more would be too much, a busy one and an idle one change places.
    @Test func shardsChangePlaces() {
        let shards = [(1, 0.7), (1, 0.7), (2, 0.3), (2, 0.3)].enumerated().map { Self.shard($0, [UInt64($1.0)], work: $1.1) }
        let picture = ClusterPicture(nodes: Self.nodes(2), shards: shards)
        let plan = PlacementPlanner.plan(picture)
        #expect(plan.count == 2 && Set(plan.map(\.to)) == [NodeID(1), NodeID(2)])
        let after = Self.carriedOut(plan, picture)
        #expect(abs(work(after, on: 1) - work(after, on: 2)) < 1e-9)
        #expect(Self.settles(after))
    }

    /// Whatever the first of the two did, the second follows of itself.
    @Test func anExchangeIsCompletedByTheNextPlan() throws {
        let shards = [(1, 0.7), (1, 0.7), (2, 0.3), (2, 0.3)].enumerated().map { Self.shard($0, [UInt64($1.0)], work: $1.1) }
        var picture = ClusterPicture(nodes: Self.nodes(2), shards: shards)
        let first = try #require(PlacementPlanner.plan(picture).first)
        picture = Self.carriedOut([first], picture)
        if let moved = picture.shards.firstIndex(where: { $0.id == first.shard }) { picture.shards[moved].isResting = true }
        let second = PlacementPlanner.plan(picture)
        #expect(second.count == 1 && second.first?.from == first.to && second.first?.to == first.from)
        #expect(abs(work(Self.carriedOut(second, picture), on: 1) - 1) < 1e-9)
    }

    @Test func littleWorkMovesNothing() {
        let shards = (0..<8).map { Self.shard($0, [UInt64($0 / 4 + 1)], work: $0 < 4 ? 0.04 : 0) }
        #expect(PlacementPlanner.plan(ClusterPicture(nodes: Self.nodes(2), shards: shards)).isEmpty)
    }

    /// Measured again and again, little work is never twice the same: neither it nor what was moved for the bytes is moved for that.
    @Test func littleWorkThatVariesMovesNothing() {
        var generator = SeededGenerator.fresh()
        let start = (0..<12).map { Self.shard($0, [UInt64($0 % 3 + 1)]) }
        var picture = ClusterPicture(nodes: Self.nodes(4), shards: start)
        picture = Self.carriedOut(PlacementPlanner.plan(picture), picture)
        for _ in 0..<500 {
            for index in picture.shards.indices { picture.shards[index].work = .random(in: 0.02...0.06, using: &generator) }
            #expect(PlacementPlanner.plan(picture).isEmpty)
        }
    }

    /// One shard that is all the work cannot be spread by moving it about.
    @Test func aSingleBusyShardStays() {
        let shards = (0..<6).map { Self.shard($0, [UInt64($0 / 2 + 1)], work: $0 == 0 ? 0.9 : 0) }
        #expect(PlacementPlanner.plan(ClusterPicture(nodes: Self.nodes(3), shards: shards)).isEmpty)
    }

    /// Plans end, settle, lose no replica, and never leave bytes and work together further from their balance than they were.
    @Test func randomClustersSettle() {
        var generator = SeededGenerator.fresh()
        for _ in 0..<200 {
            let nodes = Int.random(in: 2...6, using: &generator)
            let shards = (0..<Int.random(in: 4...40, using: &generator)).map { number -> ClusterPicture.Shard in
                let replicas = (1...UInt64(nodes)).shuffled(using: &generator).prefix(Int.random(in: 1...2, using: &generator)).sorted()
                let work = Double.random(in: 0...1, using: &generator)
                return Self.shard(number, replicas, bytes: .random(in: 100...1000, using: &generator), work: work * work * work)
            }
            var picture = ClusterPicture(nodes: Self.nodes(nodes), shards: shards)
            let before = unevenness(picture, nodes)
            let plan = PlacementPlanner.plan(picture)
            picture = Self.carriedOut(plan, picture)
            #expect(picture.shards.map(\.place.replicas.count) == shards.sorted { $0.id < $1.id }.map(\.place.replicas.count))
            #expect(picture.shards.allSatisfy { Set($0.place.replicas).count == $0.place.replicas.count })
            #expect(unevenness(picture, nodes) <= before + 1e-9)
            #expect(Self.settles(picture))
        }
    }

    /// Squared distances from equal shares, of bytes and of work, relative to the shares, or to a least one.
    private func unevenness(_ picture: ClusterPicture, _ nodes: Int) -> Double {
        func distance(_ amounts: [Double], least: Double) -> Double {
            let mean = amounts.reduce(0, +) / Double(amounts.count)
            let scale = max(mean, least)
            return scale == 0 ? 0 : amounts.reduce(0) { $0 + ($1 - mean) * ($1 - mean) / (scale * scale) }
        }
        return distance((1...UInt64(nodes)).map { Double(held(picture)[NodeID($0)] ?? 0) }, least: 0)
            + distance((1...UInt64(nodes)).map { work(picture, on: $0) }, least: PlacementPlanner.leastWork)
    }
}
