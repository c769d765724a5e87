import NeedletailCore
import NeedletailScale
import NeedletailTestSupport
import Testing

extension MachineProfile {
    /// Round numbers: a walk of 100 µs in a shard of any size, 50 µs a request.
    static func simple(walk: Double = 100, spread: Quantiles = Quantiles(constant: 1)) -> MachineProfile {
        MachineProfile(
            machine: "a test", dimensions: 100, spec: "lvq8", limit: 10, ef: 50, recall: 0.95,
            walk: Walk(cost: GrowingCost(base: walk, slope: 0, least: 1, from: 1, to: 1e9), spread: spread),
            insert: GrowingCost(base: 200, slope: 0, least: 1, from: 1, to: 1e9),
            rpc: RPCCost(coordinator: 40, coordinatorNode: 10, worker: 50, workerShard: 0, client: 30),
            sync: Quantiles(constant: 1), memoryBytes: 500, diskBytes: 1000)
    }
}

@Suite struct PlanTests {
    @Test func memoryAsksForNodes() throws {
        var workload = Workload(points: 1e9)
        workload.replicas = 2
        workload.searches = 10
        let plan = try ScalePlan.smallest(for: workload, on: .simple())
        // 10^9 × 2 × 500 bytes in nodes of 64 GB of which 0.7 may be used.
        #expect(plan.nodes == 23 && plan.limitedBy == .memory)
        #expect(plan.memoryBytes * 23 == 1e12)
        #expect(abs(plan.vectorsPerShard * Double(plan.shards) - 1e9) < 1)
    }

    @Test func workAsksForNodes() throws {
        var writes = Workload(points: 1e5)
        (writes.searches, writes.writes) = (10, 100_000)
        // 20 cores for the graphs, in nodes of 16 of which half may be used.
        let plan = try ScalePlan.smallest(for: writes, on: .simple())
        #expect(plan.nodes == 3 && plan.limitedBy == .processors && plan.coreUse <= 0.5)
    }

    /// A search asks every shard, so each node has all searches: only copies share them.
    @Test func searchesAskForCopies() throws {
        var workload = Workload(points: 1e5)
        workload.searches = 500_000
        let error = #expect(throws: NeedletailError.self) { try ScalePlan.smallest(for: workload, on: .simple()) }
        #expect(error?.message.contains("take more replicas") == true)
        workload.replicas = 16
        let plan = try ScalePlan.smallest(for: workload, on: .simple())
        #expect(plan.nodes >= 16 && plan.coreUse <= 0.5)
    }

    @Test func whatCannotBeIsSaid() {
        var workload = Workload(points: 1e6)
        workload.searches = 10
        workload.milliseconds = 0.2
        workload.roundTripMilliseconds = 1
        let error = #expect(throws: NeedletailError.self) { try ScalePlan.smallest(for: workload, on: .simple()) }
        #expect(error?.code == .failedPrecondition && error?.message.contains("allow more time") == true)
        workload.points = 0
        #expect(throws: NeedletailError.self) { try ScalePlan.smallest(for: workload, on: .simple()) }
        var damaged = MachineProfile.simple()
        damaged.memoryBytes = .nan
        #expect(throws: NeedletailError.self) { try ScalePlan.smallest(for: Workload(points: 1e6), on: damaged) }
        damaged = .simple()
        damaged.format += 1
        let newer = #expect(throws: NeedletailError.self) { try ScalePlan.smallest(for: Workload(points: 1e6), on: damaged) }
        #expect(newer?.message.contains("calibrate again") == true)
    }

    @Test func costsAreFitted() {
        let fitted = GrowingCost(fitting: [(100, 10), (1_000, 20), (10_000, 30)])
        #expect(abs(fitted.microseconds(size: 100_000) - 40) < 1e-9)
        #expect(GrowingCost(fitting: [(100, 30), (1_000, 10)]).slope == 0)
        #expect(GrowingCost(fitting: [(50, 7)]).microseconds(size: 1e9) == 7)
    }

    @Test func quantilesKeepTheDistribution() {
        let even = Quantiles(of: (0...1000).map(Double.init))
        #expect(abs(even.value(at: 0.25) - 250) < 1e-9 && abs(even.mean - 500) < 1e-9)
        #expect(abs(even.relative.mean - 1) < 1e-12)
        #expect(even.value(at: 2) == 1000 && even.value(at: -1) == 0)
    }
}
