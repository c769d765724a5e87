internal import DequeModule
internal import HeapModule
internal import NeedletailCluster
public import NeedletailCore

/// A cluster under load as a discrete-event simulation: machines with cores and lines before them, processes with event loops, a network, walks that
/// take as long as they were measured to; and the cluster's own rules for choosing replicas and hedging (`NodeLoad`, `Hedging`).
///
/// Threads take turns on the cores (`SimulatedMachine`). An event loop takes all messages that wait in one turn, so work costs less where there is much
/// of it; a core that was idle takes a while to wake.
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
        /// Turns of event loops for each search.
        public var turns: Turns
    }

    public struct Turns: Sendable, Equatable {
        public var client: Double
        public var coordinators: Double
        public var workers: Double
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
        enum Kind {
            case step(SimulatedStep)
            /// The messages of a turn are dealt with; the turn itself ends a little later.
            case turned([SimulatedThread.Message])
            case walked(part: Int)
            /// A thread has done a turn or a walk.
            case ended(thread: Int)
        }

        var time: Double
        var order: Int
        var kind: Kind

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
    /// The event loops of the load generator, the coordinators and the nodes, then the threads that walk.
    private var threads: [SimulatedThread]
    private var pools: [SimulatedPool]
    /// Searches that may still begin as others end; for a closed loop.
    private var waiting = 0
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
        let processes = 1 + layout.coordinators + nodes
        machines = Array(repeating: SimulatedMachine(cores: layout.cores), count: layout.isOneMachine ? 1 : processes)
        let machine = { process in layout.isOneMachine ? 0 : process }
        let walkers = layout.cores
        threads = (0..<processes).map { SimulatedThread(machine: machine($0), walksFor: nil) }
        pools = []
        for node in 0..<nodes {
            let thread = SimulatedThread(machine: machine(1 + layout.coordinators + node), walksFor: node)
            pools.append(SimulatedPool(threads: threads.count..<threads.count + walkers))
            threads += Array(repeating: thread, count: walkers)
        }
        loads = Array(repeating: Array(repeating: NodeLoad(), count: nodes), count: layout.coordinators)
        hedging = Array(repeating: Hedging(), count: layout.coordinators)
        guard !layout.isOneMachine, layout.slowShare > 0 else { return }
        for node in 0..<nodes where generator.fraction() < layout.slowShare { machines[1 + layout.coordinators + node].slowness = layout.slowness }
    }

    /// Sends `searches` at random moments, `rate` a second on average, and returns when all are answered.
    public mutating func run(searches: Int, rate: Double) -> Outcome {
        precondition(searches > 0 && rate > 0)
        var time = 0.0
        for _ in 0..<searches {
            time += -Transcendental.log(1 - generator.fraction()) / rate * 1e6
            plan(at: time)
        }
        return untilAllEnded()
    }

    /// Keeps so many searches under way, each sent when another has ended.
    public mutating func run(searches: Int, underWay: Int) -> Outcome {
        precondition(searches > 0 && underWay > 0)
        waiting = max(0, searches - underWay)
        for _ in 0..<min(searches, underWay) { plan(at: 0) }
        return untilAllEnded()
    }

    private mutating func plan(at time: Double) {
        queries.append(Query(began: time, coordinator: queries.count % layout.coordinators, missing: layout.groups))
        after(time + profile.rpc.jitter.value(at: generator.fraction()), .begins(query: queries.count - 1))
    }

    private mutating func untilAllEnded() -> Outcome {
        while let event = events.popMin() {
            now = event.time
            switch event.kind {
            case .step(let step): take(step)
            case .turned(let messages):
                for message in messages { take(message.then) }
            case .walked(let part):
                parts[part].walksLeft -= 1
                pools[parts[part].node].underWay -= 1
                if parts[part].walksLeft == 0 { tell(nodeLoop(parts[part].node), profile.rpc.worker * Self.answerShare, .answered(part: part)) }
            case .ended(let thread): goOn(thread)
            }
        }
        return outcome()
    }

    /// Of what a worker does for a request, what it does with the result.
    private static let answerShare = 0.4
    /// Microseconds, as in `WorkerPool`.
    private static let (quietTime, shortTime) = (150.0, 100.0)

    private mutating func nextWalk() -> Double { profile.rpc.workerShard + walk * profile.walk.spread.value(at: generator.fraction()) }

    private mutating func take(_ step: SimulatedStep) {
        let rpc = profile.rpc
        switch step {
        case .begins(let query):
            // The load generator's work counts only where it shares the machine.
            if layout.isOneMachine { tell(0, rpc.client / 2, .sent(query: query)) } else { after(now + network, .arrives(query: query)) }
        case .sent(let query): after(now + network, .arrives(query: query))
        case .arrives(let query):
            tell(coordinatorLoop(query), rpc.coordinator + Double(layout.groups) * rpc.coordinatorNode / 2, .scattered(query: query))
        case .scattered(let query):
            for group in 0..<layout.groups { ask(query, group) }
        case .reached(let part):
            let node = parts[part].node
            // One that is alone is walked where it arrived, as in `WorkerPool.runHere`.
            let isAlone = layout.shardsPerNode == 1 && pools[node].underWay == 0 && now - pools[node].latest > Self.quietTime && walk < Self.shortTime
            pools[node].latest = now
            if isAlone {
                tell(nodeLoop(node), rpc.worker + nextWalk(), .answered(part: part))
            } else {
                tell(nodeLoop(node), rpc.worker * (1 - Self.answerShare), .opened(part: part))
            }
        case .opened(let part):
            pools[parts[part].node].underWay += layout.shardsPerNode
            for _ in 0..<layout.shardsPerNode { pools[parts[part].node].waiting.append(part) }
            for thread in pools[parts[part].node].threads.filter({ !threads[$0].isAwake }).prefix(layout.shardsPerNode) { wake(thread) }
        case .answered(let part): after(now + network, .returned(part: part))
        case .returned(let part): tell(coordinatorLoop(parts[part].query), rpc.coordinatorNode / 2, .gathered(part: part))
        case .gathered(let part): gathered(part)
        case .isLate(let part): late(part)
        case .comesBack(let query):
            if layout.isOneMachine { tell(0, rpc.client / 2, .done(query: query)) } else { take(.done(query: query)) }
        case .done(let query):
            latencies.append((now - queries[query].began) / 1000)
            guard waiting > 0 else { return }
            waiting -= 1
            plan(at: now)
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
        if queries[part.query].missing == 0 { after(now + network, .comesBack(query: part.query)) }
    }

    private mutating func outcome() -> Outcome {
        latencies.sort()
        func at(_ share: Double) -> Double { latencies[min(latencies.count - 1, Int(share * Double(latencies.count)))] }
        let length = now / 1e6
        func turns(_ loops: Range<Int>) -> Double { Double(threads[loops].reduce(0) { $0 + $1.turns }) / Double(latencies.count) }
        let (firstNode, firstWalker) = (nodeLoop(0), pools[0].threads.lowerBound)
        return Outcome(
            searches: latencies.count, median: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), rate: Double(latencies.count) / length,
            hedged: firstRequests == 0 ? 0 : Double(hedges) / Double(firstRequests),
            coreUse: machines.map { $0.busyTime / 1e6 / length / Double($0.cores) }.max() ?? 0,
            turns: Turns(client: turns(0..<1), coordinators: turns(1..<firstNode), workers: turns(firstNode..<firstWalker)))
    }

    // MARK: Time and place

    private var instant: ContinuousClock.Instant { epoch.advanced(by: .nanoseconds(Int64(now * 1000))) }

    /// One way, in microseconds.
    private var network: Double { layout.roundTripMilliseconds * 500 }

    private func coordinatorLoop(_ query: Int) -> Int { 1 + queries[query].coordinator }

    private func nodeLoop(_ node: Int) -> Int { 1 + layout.coordinators + node }

    private mutating func tell(_ loop: Int, _ cost: Double, _ then: SimulatedStep) {
        threads[loop].inbox.append(SimulatedThread.Message(cost: cost, then: then))
        if !threads[loop].isAwake { wake(loop) }
    }

    /// It begins at once if a core is idle, after that has woken.
    private mutating func wake(_ thread: Int) {
        threads[thread].isAwake = true
        if machines[threads[thread].machine].admit(thread) { run(thread, delay: profile.rpc.wake) }
    }

    /// A thread that has done something does more in its slice, and then lets others go first.
    private mutating func goOn(_ thread: Int) {
        let machine = threads[thread].machine
        let hasWork = hasWork(thread)
        if hasWork, now - threads[thread].since < machines[machine].slice || !machines[machine].hasReadyThreads { return step(thread, delay: 0) }
        let next = machines[machine].release()
        threads[thread].isAwake = hasWork
        if let next { run(next, delay: 0) }
        if hasWork, machines[machine].admit(thread) { run(thread, delay: 0) }
    }

    private func hasWork(_ thread: Int) -> Bool {
        threads[thread].walksFor.map { !pools[$0].waiting.isEmpty } ?? !threads[thread].inbox.isEmpty
    }

    /// It has a core from now on.
    private mutating func run(_ thread: Int, delay: Double) {
        threads[thread].since = now
        step(thread, delay: delay)
    }

    /// One turn of a loop, or one walk. Somebody else may have done what a walking thread was woken for.
    private mutating func step(_ thread: Int, delay: Double) {
        let slowness = machines[threads[thread].machine].slowness
        var length = 0.0
        if let node = threads[thread].walksFor {
            if let part = pools[node].waiting.popFirst() {
                length = nextWalk() * slowness
                schedule(now + delay + length, .walked(part: part))
            }
        } else {
            threads[thread].turns += 1
            let messages = threads[thread].take()
            length = (messages.reduce(profile.rpc.turn) { $0 + $1.cost }) * slowness
            schedule(now + delay + length - min(length, profile.rpc.rest * slowness), .turned(messages))
        }
        machines[threads[thread].machine].busyTime += length
        schedule(now + delay + length, .ended(thread: thread))
    }

    private mutating func after(_ time: Double, _ step: SimulatedStep) { schedule(time, .step(step)) }

    private mutating func schedule(_ time: Double, _ kind: Event.Kind) {
        order += 1
        events.insert(Event(time: time, order: order, kind: kind))
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
