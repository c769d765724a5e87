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

    /// Short searches that leave in one turn travel in one call, and long ones do not.
    @Test func callsAreShared() throws {
        var profile = MachineProfile.simple(walk: 10)
        profile.rpc = .init(coordinator: 10, coordinatorCall: 50, workerCall: 50, turn: 10)
        var calls: [Double: Double] = [:]
        for walk in [10.0, 200] {
            profile.walk.cost.base = walk
            var idle = try ClusterSimulation(layout(groups: 2, coordinators: 1), on: profile, seed: 1)
            #expect(idle.run(searches: 200, underWay: 1).calls == 2)
            var full = try ClusterSimulation(layout(groups: 2, coordinators: 1), on: profile, seed: 1)
            calls[walk] = full.run(searches: 20_000, underWay: 64).calls
        }
        #expect(try #require(calls[10]) < 0.5 && calls[200] == 2)
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
        truth.rpc = .init(
            coordinator: 9, coordinatorNode: 5, coordinatorCall: 7, worker: 4, workerShard: 4, workerCall: 9, client: 10, turn: 30, rest: 6,
            wake: 12, deepWake: 40, stir: 20)
        func layout(_ groups: Int, _ shards: Int, replicas: Int = 1, vectors: Double = 2000) -> ClusterSimulation.Layout {
            var layout = ClusterSimulation.Layout(
                groups: groups, replicas: replicas, shardsPerNode: shards, vectorsPerShard: vectors, coordinators: 1, cores: 2, roundTripMilliseconds: 0)
            layout.isOneMachine = true
            return layout
        }
        // Processor time is what is counted, each at its cost.
        func measured(
            _ workers: Int, _ shards: Int, underWay: Int, pause: Double = 0, vectors: Double = 2000, sharesCalls: Bool = false
        ) throws -> RequestCostFit.Situation {
            var some = layout(workers, shards, vectors: vectors)
            some.sharesCalls = sharesCalls
            var simulation = try ClusterSimulation(some, on: truth, seed: 5)
            let outcome = simulation.run(searches: 20_000, underWay: underWay, pause: pause)
            let (rpc, turns, wakes, depth, asked) = (truth.rpc, outcome.turns, outcome.wakes, outcome.depth, Double(workers))
            let walks = Double(workers * shards) * (rpc.workerShard + truth.walk.cost.microseconds(size: vectors))
            let spent = RequestCostFit.Spent(
                coordinator: rpc.coordinator + asked * rpc.coordinatorNode + outcome.calls * rpc.coordinatorCall + turns.coordinators * rpc.turn
                    + wakes.coordinators * rpc.wake + depth.coordinators * rpc.deepWake,
                workers: walks + asked * rpc.worker + outcome.calls * rpc.workerCall + turns.workers * rpc.turn
                    + wakes.workers * rpc.wake + depth.workers * rpc.deepWake,
                client: rpc.client + turns.client * rpc.turn + wakes.client * rpc.wake + depth.client * rpc.deepWake)
            return .init(
                workers: workers, shardsPerWorker: shards, vectorsPerShard: vectors, underWay: underWay, pause: pause, sharesCalls: sharesCalls,
                spent: spent, rate: outcome.rate)
        }
        var lonely = try ClusterSimulation(layout(1, 1), on: truth, seed: 5)
        let fit = RequestCostFit(
            [
                try measured(1, 1, underWay: 1), try measured(2, 1, underWay: 1, pause: 1000), try measured(2, 1, underWay: 1, pause: 5000),
                try measured(1, 1, underWay: 8), try measured(2, 1, underWay: 3), try measured(1, 1, underWay: 32), try measured(2, 1, underWay: 1),
                try measured(2, 1, underWay: 32), try measured(2, 2, underWay: 32), try measured(2, 2, underWay: 1),
                try measured(2, 1, underWay: 32, vectors: 100_000), try measured(2, 1, underWay: 32, sharesCalls: true),
                try measured(1, 1, underWay: 32, sharesCalls: true), try measured(2, 1, underWay: 8, sharesCalls: true),
            ], latency: lonely.run(searches: 100, underWay: 1).median * 1000, cores: 2)
        var blank = truth
        blank.rpc = .init()
        blank.walk.cost = cheap
        let found = try fit.fitted(blank)
        // Most turns of loops that have little to do wake a core, so both together are known better than each.
        #expect(abs(found.rpc.turn + found.rpc.wake - 42) < 3 && abs(found.rpc.turn - 30) < 6)
        #expect(abs(found.rpc.coordinatorCall - 7) < 2 && abs(found.rpc.workerCall - 9) < 2)
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
