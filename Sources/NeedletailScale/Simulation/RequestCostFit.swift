/// What small clusters on one machine were measured to take for a search, and the costs with which their simulation takes the same.
///
/// The processor time of a search has the turns of event loops in it, and how many those are depends on how much waits: one for every message of a
/// search that is alone, a shared one where there are many. So costs of messages and of turns are found together, in rounds: the simulation says how
/// many turns there were, what remains of the measurements is the messages', and what a search that is alone takes beyond those are its turns.
public struct RequestCostFit: Sendable {
    /// Microseconds of processor time for one search, in each part of the cluster.
    public struct Spent: Sendable {
        public var coordinator: Double
        public var workers: Double
        public var client: Double

        public init(coordinator: Double, workers: Double, client: Double) {
            (self.coordinator, self.workers, self.client) = (coordinator, workers, client)
        }

        var sum: Double { coordinator + workers + client }
    }

    /// What a search takes where walks are longer, and find less in the caches.
    public struct Large: Sendable {
        public var spent: Spent
        public var vectorsPerShard: Double

        public init(_ spent: Spent, vectorsPerShard: Double) { (self.spent, self.vectorsPerShard) = (spent, vectorsPerShard) }
    }

    /// One shard in one worker, one in each of two workers, and two in each of two.
    public var one: Spent
    public var two: Spent
    public var four: Spent
    /// Of one shard, when a search is alone; and how long it takes from end to end.
    public var alone: Spent
    public var latency: Quantiles
    /// As `two`, of shards with more vectors.
    public var large: Large
    /// Of the other three: vectors in a shard. Searches under way in each.
    public var vectorsPerShard: Double
    public var underWay: Int
    public var cores: Int

    public init(
        one: Spent, two: Spent, four: Spent, large: Large, alone: Spent, latency: Quantiles, vectorsPerShard: Double, underWay: Int, cores: Int
    ) {
        (self.one, self.two, self.four, self.large, self.alone, self.latency) = (one, two, four, large, alone, latency)
        (self.vectorsPerShard, self.underWay, self.cores) = (vectorsPerShard, underWay, cores)
    }

    /// The machine's profile with costs of requests that fit; its own are not looked at.
    public func fitted(_ profile: MachineProfile) throws -> MachineProfile {
        var profile = profile
        profile.rpc = messages(one, two, four, turn: 0, walk: profile.walk)
        let walk = profile.walk.cost
        for _ in 0..<Self.rounds {
            func turns(_ groups: Int, _ shardsPerNode: Int, underWay: Int, vectors: Double? = nil) throws -> ClusterSimulation.Turns {
                try simulation(profile, groups: groups, shardsPerNode: shardsPerNode, vectors: vectors, searches: Self.searches, underWay: underWay).turns
            }
            let turn = profile.rpc.turn
            func without(_ spent: Spent, _ turns: ClusterSimulation.Turns) -> Spent {
                Spent(
                    coordinator: spent.coordinator - turn * turns.coordinators, workers: spent.workers - turn * turns.workers,
                    client: spent.client - turn * turns.client)
            }
            let single = without(one, try turns(1, 1, underWay: underWay))
            let double = without(two, try turns(2, 1, underWay: underWay))
            let broad = without(large.spent, try turns(2, 1, underWay: underWay, vectors: large.vectorsPerShard))
            // In a cluster walks find less in the caches than in the process that measured them, the more so the larger the graph.
            let growth = walk.microseconds(size: large.vectorsPerShard) - walk.microseconds(size: vectorsPerShard)
            let factor = growth > 0 ? max(1, (broad.workers - double.workers) / 2 / growth) : 1
            profile.walk.cost = walk.growing(factor, timesFrom: vectorsPerShard)
            profile.rpc = messages(single, double, without(four, try turns(2, 2, underWay: underWay)), turn: turn, walk: profile.walk)
            let lonely = try turns(1, 1, underWay: 1)
            let found = max(0, alone.sum - single.sum) / (lonely.client + lonely.coordinators + lonely.workers)
            // Half of the way: more turns leave less for messages, and with shorter messages there are more turns.
            profile.rpc.turn = (turn + found) / 2
        }
        // What the turns and messages of a lonely search do not explain of the time that it takes is waking; if it takes less, then turns end after
        // their messages have left.
        var unexplained = 0.0
        for _ in 0..<Self.rounds {
            profile.rpc.wake = max(0, unexplained)
            profile.rpc.rest = min(profile.rpc.turn, max(0, -unexplained))
            let outcome = try simulation(profile, groups: 1, shardsPerNode: 1, searches: 100, underWay: 1)
            let turns = outcome.turns.client + outcome.turns.coordinators + outcome.turns.workers
            unexplained += (latency.value(at: 0.5) - outcome.median * 1000) / turns
        }
        profile.rpc.jitter = latency.above(latency.value(at: 0.5))
        return profile
    }

    private static let (rounds, searches) = (24, 4_000)

    private func simulation(
        _ profile: MachineProfile, groups: Int, shardsPerNode: Int, vectors: Double? = nil, searches: Int, underWay: Int
    ) throws -> ClusterSimulation.Outcome {
        var layout = ClusterSimulation.Layout(
            groups: groups, replicas: 1, shardsPerNode: shardsPerNode, vectorsPerShard: vectors ?? vectorsPerShard, coordinators: 1, cores: cores,
            roundTripMilliseconds: 0)
        layout.isOneMachine = true
        var simulation = try ClusterSimulation(layout, on: profile, seed: 1)
        return simulation.run(searches: searches, underWay: underWay)
    }

    private func messages(_ one: Spent, _ two: Spent, _ four: Spent, turn: Double, walk: MachineProfile.Walk) -> MachineProfile.RPCCost {
        let node = max(0, two.coordinator - one.coordinator)
        // A shard more in the same request is its walk and what is done for it.
        let shard = max(0, (four.workers - two.workers) / 2)
        return MachineProfile.RPCCost(
            coordinator: max(0, one.coordinator - node), coordinatorNode: node, worker: max(0, two.workers / 2 - shard),
            workerShard: max(0, shard - walk.cost.microseconds(size: vectorsPerShard)), client: max(0, (one.client + two.client) / 2), turn: turn)
    }
}
