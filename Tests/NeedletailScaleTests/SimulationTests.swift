import NeedletailScale
import NeedletailTestSupport
import Testing

@Suite struct SimulationTests {
    private func layout(groups: Int, replicas: Int = 1, cores: Int = 4, coordinators: Int = 2) -> ClusterSimulation.Layout {
        ClusterSimulation.Layout(
            groups: groups, replicas: replicas, shardsPerNode: 1, vectorsPerShard: 1e6, coordinators: coordinators, cores: cores, roundTripMilliseconds: 1)
    }

    @Test func anIdleClusterTakesTheSumOfItsParts() throws {
        var simulation = try ClusterSimulation(layout(groups: 3), on: .simple(), seed: 1)
        let outcome = simulation.run(searches: 100, rate: 0.001)
        // Two round trips of 1 ms, coordinator 40 + 3 × 10, worker 50 + 100 µs.
        #expect(abs(outcome.median - 2.22) < 1e-6 && abs(outcome.p99 - 2.22) < 1e-6)
    }

    /// Messages that wait together share a turn, so a full loop does more a second than an idle one would.
    @Test func turnsAreShared() throws {
        var profile = MachineProfile.simple(walk: 1)
        profile.rpc = .init(coordinator: 10, turn: 90)
        var one = layout(groups: 1, cores: 8, coordinators: 1)
        one.roundTripMilliseconds = 0
        var idle = try ClusterSimulation(one, on: profile, seed: 1)
        #expect(idle.run(searches: 200, underWay: 1).rate < 4_000)
        var full = try ClusterSimulation(one, on: profile, seed: 1)
        #expect(full.run(searches: 20_000, underWay: 64).rate > 10_000)
    }

    /// One core, random arrivals, walks of one length: M/D/1.
    @Test func aLineIsAsLongAsQueueingTheorySays() throws {
        var profile = MachineProfile.simple(walk: 1000)
        profile.rpc = .init()
        var one = layout(groups: 1, cores: 1, coordinators: 1)
        one.roundTripMilliseconds = 0
        let seed = UInt64.random(in: 0..<1 << 32)
        print("seed \(seed)")
        var simulation = try ClusterSimulation(one, on: profile, seed: seed)
        let outcome = simulation.run(searches: 200_000, rate: 700)
        #expect(abs(outcome.coreUse - 0.7) < 0.02)
        // The share that waits at most t < 1 is (1 − ρ)e^(ρt) (Erlang), so half wait up to 0.73 service times.
        #expect(abs(outcome.median - 1.73) < 0.1)
    }

    @Test func aWiderFanOutHasALongerTail() throws {
        let spread = Quantiles(of: (0..<1000).map { $0 < 990 ? 0.9 : 10.9 })
        var tails: [Double] = []
        for groups in [1, 10, 100] {
            var simulation = try ClusterSimulation(layout(groups: groups), on: .simple(spread: spread.relative), seed: 3)
            tails.append(simulation.run(searches: 4_000, rate: 50).median)
        }
        // With a hundred shards most searches meet one of the slow walks.
        #expect(tails[0] < tails[1] && tails[2] > tails[0] + 0.8)
    }

    @Test func hedgingCutsTheTailAndKeepsItsBudget() throws {
        var slow = layout(groups: 20, replicas: 2)
        let spread = Quantiles(of: (0..<1000).map { $0 < 985 ? 1 + Double($0) / 5000 : 200 })
        var tails: [Bool: ClusterSimulation.Outcome] = [:]
        for hedges in [false, true] {
            slow.hedges = hedges
            var simulation = try ClusterSimulation(slow, on: .simple(spread: spread.relative), seed: 4)
            tails[hedges] = simulation.run(searches: 5_000, rate: 100)
        }
        let (without, with) = (try #require(tails[false]), try #require(tails[true]))
        #expect(with.p95 < 0.8 * without.p95)
        #expect(without.hedged == 0 && with.hedged > 0 && with.hedged <= 0.051)
    }

    /// The choice of replicas leaves a slow node alone.
    @Test func slowNodesAreAvoided() throws {
        var slow = layout(groups: 10, replicas: 3)
        slow.slowShare = 0.2
        slow.slowness = 20
        slow.hedges = false
        var simulation = try ClusterSimulation(slow, on: .simple(walk: 1000), seed: 8)
        let chosen = simulation.run(searches: 5_000, rate: 100)
        slow.replicas = 1
        var alone = try ClusterSimulation(slow, on: .simple(walk: 1000), seed: 8)
        let forced = alone.run(searches: 5_000, rate: 100)
        #expect(chosen.median < forced.median / 2)
    }

    @Test func theSameSeedGivesTheSameRun() throws {
        let outcomes = try [7, 7, 8].map { seed in
            var simulation = try ClusterSimulation(layout(groups: 5, replicas: 2), on: .simple(), seed: UInt64(seed))
            return simulation.run(searches: 500, rate: 5_000)
        }
        #expect(outcomes[0] == outcomes[1] && outcomes[0] != outcomes[2])
    }

    /// What is measured of one machine is explained by its own costs again: taken apart, they predict another layout.
    @Test func costsAreFoundFromWhatClustersTake() throws {
        var truth = MachineProfile.simple(walk: 15)
        truth.walk.cost = GrowingCost(fitting: [(2000, 15), (200_000, 45)])
        // As it was measured in one process.
        let cheap = GrowingCost(fitting: [(2000, 15), (200_000, 30)])
        truth.rpc = .init(coordinator: 9, coordinatorNode: 12, worker: 11, workerShard: 4, client: 10, turn: 30, rest: 6)
        func layout(_ groups: Int, _ shards: Int, replicas: Int = 1, vectors: Double = 2000) -> ClusterSimulation.Layout {
            var layout = ClusterSimulation.Layout(
                groups: groups, replicas: replicas, shardsPerNode: shards, vectorsPerShard: vectors, coordinators: 1, cores: 2, roundTripMilliseconds: 0)
            layout.isOneMachine = true
            return layout
        }
        func spent(
            _ groups: Int, _ shards: Int, underWay: Int, vectors: Double = 2000
        ) throws -> (RequestCostFit.Spent, ClusterSimulation.Outcome) {
            var simulation = try ClusterSimulation(layout(groups, shards, vectors: vectors), on: truth, seed: 5)
            let outcome = simulation.run(searches: 20_000, underWay: underWay)
            let (rpc, turns) = (truth.rpc, outcome.turns)
            return (
                .init(
                    coordinator: rpc.coordinator + Double(groups) * rpc.coordinatorNode + turns.coordinators * rpc.turn,
                    workers: Double(groups) * (rpc.worker + Double(shards) * (rpc.workerShard + truth.walk.cost.microseconds(size: vectors)))
                        + turns.workers * rpc.turn,
                    client: rpc.client + turns.client * rpc.turn), outcome
            )
        }
        let (alone, lonely) = try spent(1, 1, underWay: 1)
        let fit = RequestCostFit(
            one: try spent(1, 1, underWay: 32).0, two: try spent(2, 1, underWay: 32).0, four: try spent(2, 2, underWay: 32).0,
            large: .init(try spent(2, 1, underWay: 32, vectors: 100_000).0, vectorsPerShard: 100_000), alone: alone,
            latency: Quantiles(constant: lonely.median * 1000), vectorsPerShard: 2000, underWay: 32, cores: 2)
        var blank = truth
        blank.rpc = .init()
        blank.walk.cost = cheap
        let found = try fit.fitted(blank)
        #expect(abs(found.rpc.turn - 30) < 2 && abs(found.rpc.rest - 6) < 1)
        #expect(abs(found.walk.cost.microseconds(size: 200_000) - 45) < 2)
        for (underWay, groups, replicas) in [(1, 2, 2), (32, 1, 2), (32, 4, 1)] {
            let rates = try [truth, found].map { profile in
                var simulation = try ClusterSimulation(layout(groups, 2, replicas: replicas, vectors: 50_000), on: profile, seed: 6)
                return simulation.run(searches: 20_000, underWay: underWay).rate
            }
            #expect(abs(rates[1] / rates[0] - 1) < 0.05, "\(underWay) under way, \(groups) groups: \(rates)")
        }
    }
}
