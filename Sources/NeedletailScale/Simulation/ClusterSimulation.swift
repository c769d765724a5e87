internal import HeapModule
internal import NeedletailCluster
public import NeedletailCore

/// A cluster under open load as a discrete-event simulation: machines with cores and lines before them, a network, walks that take as long as
/// they were measured to; and the cluster's own rules for choosing replicas and hedging (`NodeLoad`, `Hedging`).
///
/// One request a node, as the coordinators send them; here every node of a shard's replicas holds the same shards, in groups, so a search asks
/// one node of each group. Nothing is lost and nothing is retried. The same seed gives the same run.
public struct ClusterSimulation: Sendable {
    /// How the cluster is laid out.
    public struct Layout: Sendable, Equatable {
        /// Groups of `replicas` nodes; each group holds shards of its own.
        public var groups: Int
        public var replicas: Int
        public var shardsPerNode: Int
        public var vectorsPerShard: Double
        public var coordinators: Int
        public var cores: Int
        public var roundTripMilliseconds: Double
        public var hedges = true
        /// Coordinator, workers and load generator all on one machine with so many cores.
        public var isOneMachine = false
        /// Share of the nodes that is slow, and how slow.
        public var slowShare = 0.0
        public var slowness = 10.0

        public init(
            groups: Int, replicas: Int, shardsPerNode: Int, vectorsPerShard: Double, coordinators: Int, cores: Int, roundTripMilliseconds: Double
        ) {
            (self.groups, self.replicas, self.shardsPerNode, self.vectorsPerShard) = (groups, replicas, shardsPerNode, vectorsPerShard)
            (self.coordinators, self.cores, self.roundTripMilliseconds) = (coordinators, cores, roundTripMilliseconds)
        }

        /// Processor time of one search that is asked once, in all processes together.
        public func microseconds(on profile: MachineProfile) -> Double {
            let (nodes, rpc) = (Double(groups), profile.rpc)
            let walks = Double(shardsPerNode) * (rpc.workerShard + profile.walk.cost.microseconds(size: max(1, vectorsPerShard)))
            return rpc.client + rpc.coordinator + nodes * (rpc.coordinatorNode + rpc.worker + walks)
        }

        /// That of a plan.
        public init(_ plan: ScalePlan, _ workload: Workload) {
            let groups = max(1, plan.nodes / workload.replicas)
            self.init(
                groups: groups, replicas: workload.replicas, shardsPerNode: plan.shards / groups, vectorsPerShard: plan.vectorsPerShard,
                coordinators: plan.coordinators, cores: workload.cores, roundTripMilliseconds: workload.roundTripMilliseconds)
        }
    }

    /// What came out. Milliseconds, from the moment a client meant to send until it had the answer.
    public struct Outcome: Sendable, Equatable {
        public var searches: Int
        public var median: Double
        public var p95: Double
        public var p99: Double
        public var p999: Double
        /// Searches answered a second of simulated time.
        public var rate: Double
        /// Share of the requests to nodes that were sent a second time.
        public var hedged: Double
        /// Of the busiest machine.
        public var coreUse: Double
    }

    private struct Query {
        var began: Double
        var coordinator: Int
        var missing: Int
    }

    private struct Part {
        var query: Int
        var group: Int
        var node: Int
        var sent: Double
        var walksLeft: Int
        /// The request that this one was sent beside; its own number when it was sent first.
        var first: Int
        /// Whether it, or one that was sent beside it, is answered.
        var isAnswered = false
    }

    private struct Event: Comparable {
        var time: Double
        var order: Int
        var step: SimulatedStep
        /// The machine whose core becomes free; -1 for none.
        var machine: Int

        static func == (left: Event, right: Event) -> Bool { left.order == right.order }
        static func < (left: Event, right: Event) -> Bool { (left.time, left.order) < (right.time, right.order) }
    }

    private let layout: Layout
    private let profile: MachineProfile
    private let walk: Double
    private let epoch = ContinuousClock.now
    private var generator: SplitMix
    private var now = 0.0
    private var order = 0
    private var events = Heap<Event>()
    private var machines: [SimulatedMachine]
    private var queries: [Query] = []
    private var parts: [Part] = []
    /// What each coordinator knows of each node's speed.
    private var loads: [[NodeLoad]]
    private var hedging: [Hedging]
    private var latencies: [Double] = []
    private var hedges = 0
    private var firstRequests = 0

    public init(_ layout: Layout, on profile: MachineProfile, seed: UInt64) throws(NeedletailError) {
        try profile.validate()
        guard layout.groups > 0, layout.replicas > 0, layout.shardsPerNode > 0, layout.coordinators > 0, layout.cores > 0 else {
            throw NeedletailError(.invalidArgument, "a cluster has at least one of everything")
        }
        self.layout = layout
        self.profile = profile
        walk = profile.walk.cost.microseconds(size: max(1, layout.vectorsPerShard))
        generator = SplitMix(state: seed)
        let nodes = layout.groups * layout.replicas
        machines = Array(repeating: SimulatedMachine(cores: layout.cores), count: layout.isOneMachine ? 1 : layout.coordinators + nodes)
        loads = Array(repeating: Array(repeating: NodeLoad(), count: nodes), count: layout.coordinators)
        hedging = Array(repeating: Hedging(), count: layout.coordinators)
        guard !layout.isOneMachine, layout.slowShare > 0 else { return }
        for node in 0..<nodes where generator.fraction() < layout.slowShare { machines[layout.coordinators + node].slowness = layout.slowness }
    }

    /// Sends `searches` at random moments, `rate` a second on average, and returns when all are answered.
    public mutating func run(searches: Int, rate: Double) -> Outcome {
        precondition(searches > 0 && rate > 0)
        var time = 0.0
        for query in 0..<searches {
            time += -Transcendental.log(1 - generator.fraction()) / rate * 1e6
            queries.append(Query(began: time, coordinator: query % layout.coordinators, missing: layout.groups))
            // The load generator's work lies on the way only where it shares the machine.
            after(time + network, .arrives(query: query))
        }
        while let event = events.popMin() {
            now = event.time
            if event.machine >= 0, let next = machines[event.machine].release() { schedule(next, on: event.machine) }
            take(event.step)
        }
        return outcome(searches)
    }

    private mutating func take(_ step: SimulatedStep) {
        let rpc = profile.rpc
        switch step {
        case .arrives(let query):
            let client = layout.isOneMachine ? rpc.client / 2 : 0
            work(coordinator(query), client + rpc.coordinator / 2 + Double(layout.groups) * rpc.coordinatorNode / 2, .scattered(query: query))
        case .scattered(let query):
            for group in 0..<layout.groups { ask(query, group) }
        case .reached(let part):
            work(machine(parts[part].node), rpc.worker / 2, .opened(part: part))
        case .opened(let part):
            for _ in 0..<layout.shardsPerNode {
                let length = rpc.workerShard + walk * profile.walk.spread.value(at: generator.fraction())
                work(machine(parts[part].node), length, isWalk: true, .walked(part: part))
            }
        case .walked(let part):
            parts[part].walksLeft -= 1
            if parts[part].walksLeft == 0 { work(machine(parts[part].node), rpc.worker / 2, .answered(part: part)) }
        case .answered(let part):
            after(now + network, .gathered(part: part))
        case .gathered(let part): gathered(part)
        case .isLate(let part): late(part)
        case .merged(let query):
            after(now + network, .done(query: query))
        case .done(let query):
            latencies.append((now - queries[query].began) / 1000)
        }
    }

    /// - Parameter first: the request that takes too long, if this is the second one.
    private mutating func ask(_ query: Int, _ group: Int, beside first: Int? = nil) {
        let coordinator = queries[query].coordinator
        let instant = instant
        let nodes = group * layout.replicas..<(group + 1) * layout.replicas
        // Equals in random order.
        let start = Int(generator.fraction() * Double(nodes.count))
        var best: (node: Int, estimate: Double)?
        for offset in 0..<nodes.count {
            let node = nodes.lowerBound + (start + offset) % nodes.count
            if let first, parts[first].node == node { continue }
            let estimate = loads[coordinator][node].estimate(now: instant)
            if estimate < best?.estimate ?? .infinity { best = (node, estimate) }
        }
        guard let node = best?.node else { return }
        loads[coordinator][node].begin()
        let part = parts.count
        parts.append(Part(query: query, group: group, node: node, sent: now, walksLeft: layout.shardsPerNode, first: first ?? part))
        after(now + network, .reached(part: part))
        guard first == nil else { return }
        firstRequests += 1
        guard layout.hedges, layout.replicas > 1 else { return }
        hedging[coordinator].begin()
        if let delay = hedging[coordinator].delay { after(now + Double(delay.nanoseconds) / 1000, .isLate(part: part)) }
    }

    private mutating func late(_ part: Int) {
        let (query, group) = (parts[part].query, parts[part].group)
        guard !parts[part].isAnswered, hedging[queries[query].coordinator].allow() else { return }
        hedges += 1
        ask(query, group, beside: part)
    }

    private mutating func gathered(_ index: Int) {
        let part = parts[index]
        let coordinator = queries[part.query].coordinator
        let took = Duration.nanoseconds(Int64((now - part.sent) * 1000))
        loads[coordinator][part.node].end(after: took, now: instant)
        guard !parts[part.first].isAnswered else { return }
        parts[part.first].isAnswered = true
        if layout.replicas > 1 { hedging[coordinator].answered(after: .nanoseconds(Int64((now - parts[part.first].sent) * 1000))) }
        queries[part.query].missing -= 1
        guard queries[part.query].missing == 0 else { return }
        let client = layout.isOneMachine ? profile.rpc.client / 2 : 0
        let cost = profile.rpc.coordinator / 2 + Double(layout.groups) * profile.rpc.coordinatorNode / 2 + client
        work(self.coordinator(part.query), cost, .merged(query: part.query))
    }

    private mutating func outcome(_ searches: Int) -> Outcome {
        latencies.sort()
        func at(_ share: Double) -> Double { latencies[min(latencies.count - 1, Int(share * Double(latencies.count)))] }
        let length = now / 1e6
        return Outcome(
            searches: searches, median: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), rate: Double(searches) / length,
            hedged: firstRequests == 0 ? 0 : Double(hedges) / Double(firstRequests),
            coreUse: machines.map { $0.busyTime / 1e6 / length / Double($0.cores) }.max() ?? 0)
    }

    // MARK: Time and place

    private var instant: ContinuousClock.Instant { epoch.advanced(by: .nanoseconds(Int64(now * 1000))) }

    /// One way, in microseconds, with the wake of whoever waits at its end.
    private var network: Double { layout.roundTripMilliseconds * 500 + profile.rpc.wake }

    private func coordinator(_ query: Int) -> Int { layout.isOneMachine ? 0 : queries[query].coordinator }

    private func machine(_ node: Int) -> Int { layout.isOneMachine ? 0 : layout.coordinators + node }

    private mutating func work(_ machine: Int, _ length: Double, isWalk: Bool = false, _ then: SimulatedStep) {
        guard length > 0 else { return after(now, then) }
        if let begun = machines[machine].submit(SimulatedMachine.Burst(length: length, isWalk: isWalk, then: then)) { schedule(begun, on: machine) }
    }

    private mutating func schedule(_ begun: (takes: Double, then: SimulatedStep), on machine: Int) {
        order += 1
        events.insert(Event(time: now + begun.takes, order: order, step: begun.then, machine: machine))
    }

    private mutating func after(_ time: Double, _ step: SimulatedStep) {
        order += 1
        events.insert(Event(time: time, order: order, step: step, machine: -1))
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
private struct SplitMix: Sendable {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// 0 up to, not including, 1.
    mutating func fraction() -> Double { Double(next() >> 11) * 0x1p-53 }
}
