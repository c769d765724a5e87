internal import NeedletailCore

/// What small clusters on one machine were measured to take for a search, and the costs with which their simulation takes the same.
///
/// The processor time of a search has the turns of event loops in it, calls to workers, and the waking of idle cores, and how many those are depends on how
/// much waits: one of each for every message of a search that is alone, shared ones where there are many. So costs are found in rounds: the simulation says
/// how many turns, calls and wakes there were in each situation, and least squares, with them, what one of each takes, none less than nothing.
public struct RequestCostFit: Sendable {
    /// Microseconds of processor time for one search, in each part of the cluster.
    public struct Spent: Sendable {
        public var coordinator: Double
        public var workers: Double
        public var client: Double

        public init(coordinator: Double, workers: Double, client: Double) {
            (self.coordinator, self.workers, self.client) = (coordinator, workers, client)
        }
    }

    /// One coordinator, some workers with as many shards each, and how they are asked.
    public struct Situation: Sendable {
        public var workers: Int
        public var shardsPerWorker: Int
        public var vectorsPerShard: Double
        /// Searches at a time, each sent when another has ended, or so many microseconds later.
        public var underWay: Int
        public var pause: Double
        public var sharesCalls: Bool
        public var spent: Spent
        /// Searches a second.
        public var rate: Double

        public init(
            workers: Int, shardsPerWorker: Int, vectorsPerShard: Double, underWay: Int, pause: Double, sharesCalls: Bool, spent: Spent, rate: Double
        ) {
            (self.workers, self.shardsPerWorker, self.vectorsPerShard) = (workers, shardsPerWorker, vectorsPerShard)
            (self.underWay, self.pause, self.sharesCalls, self.spent, self.rate) = (underWay, pause, sharesCalls, spent, rate)
        }

        /// Shards that a search asks.
        var shards: Double { Double(workers * shardsPerWorker) }
    }

    /// The first is of searches that are alone.
    public var situations: [Situation]
    /// How long a search of the first situation takes from end to end, in microseconds: the median.
    public var latency: Double
    public var cores: Int

    public init(_ situations: [Situation], latency: Double, cores: Int) {
        precondition(situations.first?.underWay == 1, "the first situation is of searches that are alone")
        (self.situations, self.latency, self.cores) = (situations, latency, cores)
    }

    private static let (rounds, searches) = (16, 2_000)

    /// The machine's profile with costs of requests that fit; its own are not looked at.
    ///
    /// - Throws: `failedPrecondition` when what was measured is no such thing: nothing was answered, or took no time.
    public func fitted(_ profile: MachineProfile) throws -> MachineProfile {
        var best: (profile: MachineProfile, error: Double)?
        for stir in stride(from: 0, through: Self.longestStir, by: Self.stirStep) {
            let candidate = try fitted(profile, stir: stir)
            // How quick searches are when some are under way tells how long cores do nothing in between.
            let error = try situations.reduce(0) { sum, situation in
                let miss = Transcendental.log(try simulated(situation, candidate).rate / situation.rate)
                return sum + miss * miss
            }
            if error < best?.error ?? .infinity { best = (candidate, error) }
        }
        guard let best else {
            throw NeedletailError(.failedPrecondition, "no costs explain what was measured; calibrate again while the machine does nothing else")
        }
        return best.profile
    }

    private static let (longestStir, stirStep) = (100.0, 10.0)

    private func fitted(_ profile: MachineProfile, stir: Double) throws -> MachineProfile {
        let walk = profile.walk.cost
        let smallest = situations.map(\.vectorsPerShard).min() ?? 1
        var fitted = profile
        fitted.rpc = MachineProfile.RPCCost()
        var costs = Costs(values: Array(repeating: 1, count: Costs.Name.allCases.count))
        var rest = 0.0
        func apply() {
            fitted.rpc = costs.rpc
            fitted.rpc.stir = stir
            // If a search that is alone takes less than all that, then turns end after their messages have left.
            rest = min(fitted.rpc.turn, rest)
            fitted.rpc.rest = rest
            // In a cluster walks find less in the caches than in the process that measured them, the more so the larger the graph.
            fitted.walk.cost = walk.growing(1 + costs[.growth], timesFrom: smallest)
        }
        for _ in 0..<Self.rounds {
            apply()
            var equations: [Costs.Row] = []
            for (number, situation) in situations.enumerated() {
                let outcome = try simulated(situation, fitted)
                equations += rows(of: situation, outcome, walk, smallest)
                if number == 0 { rest = max(0, rest + (outcome.median * 1000 - latency) / outcome.turns.sum / 2) }
            }
            // Half of the way: with shorter messages there are more turns.
            costs = costs.mean(with: Costs(fitting: equations))
        }
        apply()
        return fitted
    }

    /// Of each situation, the searches a second that its simulation does.
    public func rates(on profile: MachineProfile) throws -> [Double] { try situations.map { try simulated($0, profile).rate } }

    private func simulated(_ situation: Situation, _ profile: MachineProfile) throws -> ClusterSimulation.Outcome {
        var layout = ClusterSimulation.Layout(
            groups: situation.workers, replicas: 1, shardsPerNode: situation.shardsPerWorker, vectorsPerShard: situation.vectorsPerShard, coordinators: 1,
            cores: cores, roundTripMilliseconds: 0)
        (layout.isOneMachine, layout.sharesCalls) = (true, situation.sharesCalls)
        var simulation = try ClusterSimulation(layout, on: profile, seed: 1)
        return simulation.run(searches: Self.searches, underWay: situation.underWay, pause: situation.pause)
    }

    private func rows(
        of situation: Situation, _ outcome: ClusterSimulation.Outcome, _ walk: GrowingCost, _ smallest: Double
    ) -> [Costs.Row] {
        let walked = walk.microseconds(size: situation.vectorsPerShard)
        let (asked, shards) = (Double(situation.workers), situation.shards)
        return [
            Costs.Row(
                [.coordinator: 1, .coordinatorNode: asked, .coordinatorCall: outcome.calls, .turn: outcome.turns.coordinators,
                 .wake: outcome.wakes.coordinators, .deepWake: outcome.depth.coordinators], situation.spent.coordinator),
            Costs.Row(
                [.worker: asked, .workerShard: shards, .workerCall: outcome.calls, .turn: outcome.turns.workers, .wake: outcome.wakes.workers,
                 .deepWake: outcome.depth.workers, .growth: shards * (walked - walk.microseconds(size: smallest))],
                situation.spent.workers, known: shards * walked),
            Costs.Row([.client: 1, .turn: outcome.turns.client, .wake: outcome.wakes.client, .deepWake: outcome.depth.client], situation.spent.client),
        ]
    }
}

/// What is looked for: microseconds, but for the growth of walks, which is a factor.
private struct Costs {
    enum Name: Int, CaseIterable {
        case coordinator, coordinatorNode, coordinatorCall, worker, workerShard, workerCall, client, turn, wake, deepWake, growth
    }

    /// So many of each make this sum, beside what is known.
    struct Row {
        var counts: [Double]
        var sum: Double
        /// Errors count by the share of the measurement.
        var weight: Double

        init(_ counts: [Name: Double], _ measured: Double, known: Double = 0) {
            self.counts = Name.allCases.map { counts[$0] ?? 0 }
            sum = measured - known
            weight = 1 / max(1, measured * measured)
        }
    }

    var values: [Double]

    subscript(name: Name) -> Double { values[name.rawValue] }

    init(values: [Double]) { self.values = values }

    /// Non-negative least squares, one unknown after the other until nothing moves (Franc, Hlaváč and Navara, "Sequential coordinate-wise algorithm for
    /// the non-negative least squares problem", 2005).
    init(fitting rows: [Row]) {
        values = Array(repeating: 0, count: Name.allCases.count)
        var errors = rows.map { -$0.sum }
        let squares = values.indices.map { index in rows.reduce(0) { $0 + $1.weight * $1.counts[index] * $1.counts[index] } }
        for _ in 0..<Self.sweeps {
            for index in values.indices where squares[index] > 0 {
                let slope = zip(rows, errors).reduce(0) { $0 + $1.0.weight * $1.0.counts[index] * $1.1 }
                let next = max(0, values[index] - slope / squares[index])
                let step = next - values[index]
                guard step != 0 else { continue }
                values[index] = next
                for row in rows.indices { errors[row] += step * rows[row].counts[index] }
            }
        }
    }

    private static let sweeps = 2_000

    /// What has shrunk to next to nothing is nothing.
    func mean(with other: Costs) -> Costs { Costs(values: zip(values, other.values).map { $1 == 0 && $0 < Self.least ? 0 : ($0 + $1) / 2 }) }

    private static let least = 0.01

    var rpc: MachineProfile.RPCCost {
        MachineProfile.RPCCost(
            coordinator: self[.coordinator], coordinatorNode: self[.coordinatorNode], coordinatorCall: self[.coordinatorCall], worker: self[.worker],
            workerShard: self[.workerShard], workerCall: self[.workerCall], client: self[.client], turn: self[.turn], wake: self[.wake],
            deepWake: self[.deepWake])
    }
}
