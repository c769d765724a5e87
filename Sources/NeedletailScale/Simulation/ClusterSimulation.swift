internal import DequeModule
internal import HeapModule
internal import NeedletailCluster
public import NeedletailCore

/// A cluster under load as a discrete-event simulation: machines with cores and lines before them, processes with event loops, a network, walks that
/// take as long as they were measured to; and the cluster's own rules for choosing replicas and hedging (`NodeLoad`, `Hedging`).
///
/// Threads take turns on the cores (`SimulatedMachine`). An event loop takes all messages that wait in one turn, so work costs less where there is much
/// of it; a core that was idle takes a while to wake.
/// One request a node, as the coordinators send them, and short ones that leave in one turn in one call. Here every node of a shard's replicas holds the
/// same shards, in groups, so a search asks one node of each group. Nothing is lost and nothing is retried. The same seed gives the same run.
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
        /// Whether short searches for one node that leave in one turn travel in one call.
        public var sharesCalls = true
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
        /// For each search: turns of event loops, and cores that were idle when work came.
        public var turns: Counts
        public var wakes: Counts
        /// How deeply those slept, summed up.
        public var depth: Counts
        /// Calls to workers for each search.
        public var calls: Double
    }

    public struct Counts: Sendable, Equatable {
        public var client: Double
        public var coordinators: Double
        public var workers: Double

        var sum: Double { client + coordinators + workers }
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
        /// The request that this one was sent beside; its own number when it was sent first.
        var first: Int
        /// Whether it, or one that was sent beside it, is answered.
        var isAnswered = false
    }

    /// A message to a worker: one part, or several short ones (`SearchBundler`).
    private struct Call {
        var coordinator: Int
        var node: Int
        var parts: [Int]
        var jobsLeft = 0
    }

    private struct Event: Comparable {
        enum Kind {
            case step(SimulatedStep)
            /// The messages of a turn are dealt with, but for calls to make; the turn itself ends a little later.
            case turned(thread: Int, [SimulatedThread.Message])
            case walked(SimulatedPool.Job)
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
    /// The event loops of the load generator, the coordinators and the nodes, then the threads that walk, then the load generator's that keeps the schedule.
    private var threads: [SimulatedThread]
    private var pools: [SimulatedPool]
    /// Searches that may still begin as others end; for a closed loop.
    private var waiting = 0
    private var pause = 0.0
    private var queries: [Query] = []
    private var parts: [Part] = []
    private var calls: [Call] = []
    /// Parts that leave at the end of the turn.
    private var leaving: [Int] = []
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
        threads.append(threads[0])
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
            plan(at: time, paced: true)
        }
        return untilAllEnded()
    }

    /// Keeps so many searches under way, each sent when another has ended, or some microseconds later.
    public mutating func run(searches: Int, underWay: Int, pause: Double = 0) -> Outcome {
        precondition(searches > 0 && underWay > 0 && pause >= 0)
        self.pause = pause
        waiting = max(0, searches - underWay)
        for _ in 0..<min(searches, underWay) { plan(at: 0) }
        return untilAllEnded()
    }

    private mutating func plan(at time: Double, paced: Bool = false) {
        queries.append(Query(began: time, coordinator: queries.count % layout.coordinators, missing: layout.groups))
        let query = queries.count - 1
        after(time, paced && layout.isOneMachine ? .paced(query: query) : .begins(query: query))
    }

    private mutating func untilAllEnded() -> Outcome {
        while let event = events.popMin() {
            now = event.time
            switch event.kind {
            case .step(let step): take(step)
            case .turned(let thread, let messages):
                for message in messages { take(message.then) }
                let machine = threads[thread].machine
                let length = leave() * machines[machine].slowness
                machines[machine].busyTime += length
                schedule(now + length + profile.rpc.rest * machines[machine].slowness, .ended(thread: thread))
            case .walked(let job):
                let node = calls[job.call].node
                calls[job.call].jobsLeft -= 1
                pools[node].underWay -= 1
                if calls[job.call].jobsLeft == 0 { tell(nodeLoop(node), workerCost(job.call) * Self.answerShare, .answered(call: job.call)) }
            case .ended(let thread): goOn(thread)
            }
        }
        return outcome()
    }

    /// Of what a worker does for a request, what it does with the result.
    private static let answerShare = 0.4
    /// Microseconds, as in `WorkerPool` and `SearchBundler`.
    private static let quietTime = 150.0
    static let shortTime = 100.0
    /// As in `SearchBundler` and `LocalNode`.
    private static let (mostInCall, searchesPerJob) = (32, 4)
    private static let (greatestEf, longestLimit, longestVectorBytes) = (128, 100, 32 << 10)

    /// Whether searches are of a kind that travels together, if they are short.
    private var mayShare: Bool {
        profile.ef <= Self.greatestEf && profile.limit <= Self.longestLimit && 4 * profile.dimensions <= Self.longestVectorBytes
    }

    /// All that it does for a call beside walking.
    private func workerCost(_ call: Int) -> Double { profile.rpc.workerCall + Double(calls[call].parts.count) * profile.rpc.worker }

    private mutating func nextWalk() -> Double { profile.rpc.workerShard + walk * profile.walk.spread.value(at: generator.fraction()) }

    private mutating func take(_ step: SimulatedStep) {
        let rpc = profile.rpc
        switch step {
        case .paced(let query): tell(pacer, 0, .begins(query: query))
        case .begins(let query):
            // The load generator's work counts only where it shares the machine.
            if layout.isOneMachine { tell(0, rpc.client / 2, .sent(query: query)) } else { after(now + network, .arrives(query: query)) }
        case .sent(let query): after(now + network, .arrives(query: query))
        case .arrives(let query):
            tell(coordinatorLoop(query), rpc.coordinator + Double(layout.groups) * rpc.coordinatorNode / 2, .scattered(query: query))
        case .scattered(let query):
            for group in 0..<layout.groups { ask(query, group) }
        case .reached(let call): reached(call)
        case .opened(let call): opened(call)
        case .answered(let call): after(now + network, .returned(call: call))
        case .returned(let call):
            let cost = rpc.coordinatorCall + Double(calls[call].parts.count) * rpc.coordinatorNode
            tell(1 + calls[call].coordinator, cost / 2, .gathered(call: call))
        case .gathered(let call):
            for part in calls[call].parts { gathered(part) }
        case .isLate(let part):
            late(part)
            machines[threads[coordinatorLoop(parts[part].query)].machine].busyTime += leave()
        case .comesBack(let query):
            if layout.isOneMachine { tell(0, rpc.client / 2, .done(query: query)) } else { take(.done(query: query)) }
        case .done(let query):
            latencies.append((now - queries[query].began) / 1000)
            guard waiting > 0 else { return }
            waiting -= 1
            plan(at: now + pause, paced: pause > 0)
        }
    }

    // MARK: Calls

    /// Sends what the turn has for the nodes.
    ///
    /// - Returns: microseconds that it takes.
    private mutating func leave() -> Double {
        guard !leaving.isEmpty else { return 0 }
        let isShort = layout.sharesCalls && mayShare && (walk + profile.rpc.workerShard) * Double(layout.shardsPerNode) < Self.shortTime
        var open: [Int: Int] = [:]
        let first = calls.count
        for part in leaving {
            let node = parts[part].node
            if isShort, let call = open[node], calls[call].parts.count < Self.mostInCall {
                calls[call].parts.append(part)
            } else {
                open[node] = calls.count
                calls.append(Call(coordinator: queries[parts[part].query].coordinator, node: node, parts: [part]))
            }
        }
        leaving.removeAll(keepingCapacity: true)
        let length = Double(calls.count - first) * profile.rpc.coordinatorCall / 2
        for call in first..<calls.count { after(now + length + network, .reached(call: call)) }
        return length
    }

    private mutating func reached(_ call: Int) {
        let node = calls[call].node
        // One that is alone is walked where it arrived, as in `WorkerPool.runHere`.
        let isAlone =
            calls[call].parts.count == 1 && layout.shardsPerNode == 1 && pools[node].underWay == 0 && now - pools[node].latest > Self.quietTime
            && walk < Self.shortTime && profile.ef <= Self.greatestEf
        pools[node].latest = now
        if isAlone {
            tell(nodeLoop(node), workerCost(call) + nextWalk(), .answered(call: call))
        } else {
            tell(nodeLoop(node), workerCost(call) * (1 - Self.answerShare), .opened(call: call))
        }
    }

    /// One search is a job for each shard; several together are as many jobs as there are threads, if there are enough of them.
    private mutating func opened(_ call: Int) {
        let (node, searches) = (calls[call].node, calls[call].parts.count)
        let jobs = searches == 1 ? layout.shardsPerNode : min(pools[node].threads.count, (searches + Self.searchesPerJob - 1) / Self.searchesPerJob)
        let walks = searches * layout.shardsPerNode
        calls[call].jobsLeft = jobs
        pools[node].underWay += jobs
        for job in 0..<jobs { pools[node].waiting.append(.init(call: call, walks: walks * (job + 1) / jobs - walks * job / jobs)) }
        for thread in pools[node].threads.filter({ !threads[$0].isAwake }).prefix(jobs) { wake(thread) }
    }

    // MARK: Parts

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
        parts.append(Part(query: query, group: group, node: node, sent: now, first: first ?? part))
        leaving.append(part)
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
        let firstNode = nodeLoop(0)
        func counts(_ count: (SimulatedThread) -> Double) -> Counts {
            func each(_ some: Range<Int>) -> Double { threads[some].reduce(0) { $0 + count($1) } / Double(latencies.count) }
            return Counts(client: each(0..<1) + each(pacer..<pacer + 1), coordinators: each(1..<firstNode), workers: each(firstNode..<pacer))
        }
        return Outcome(
            searches: latencies.count, median: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), rate: Double(latencies.count) / length,
            hedged: firstRequests == 0 ? 0 : Double(hedges) / Double(firstRequests),
            coreUse: machines.map { $0.busyTime / 1e6 / length / Double($0.cores) }.max() ?? 0,
            turns: counts { Double($0.turns) }, wakes: counts { Double($0.wakes) }, depth: counts(\.depth),
            calls: Double(calls.count) / Double(latencies.count))
    }

    // MARK: Time and place

    private var instant: ContinuousClock.Instant { epoch.advanced(by: .nanoseconds(Int64(now * 1000))) }

    /// One way, in microseconds.
    private var network: Double { layout.roundTripMilliseconds * 500 }

    private func coordinatorLoop(_ query: Int) -> Int { 1 + queries[query].coordinator }

    private var pacer: Int { threads.count - 1 }

    private func nodeLoop(_ node: Int) -> Int { 1 + layout.coordinators + node }

    private mutating func tell(_ loop: Int, _ cost: Double, _ then: SimulatedStep) {
        threads[loop].inbox.append(SimulatedThread.Message(cost: cost, then: then))
        if !threads[loop].isAwake { wake(loop) }
    }

    /// It begins at once if a core is idle, after that has woken.
    private mutating func wake(_ thread: Int) {
        threads[thread].isAwake = true
        let machine = threads[thread].machine
        if let idle = machines[machine].admit(thread, now: now) { awaken(thread, afterIdle: idle) }
    }

    /// On a core that was idle.
    private mutating func awaken(_ thread: Int, afterIdle idle: Double) {
        let (machine, depth) = (threads[thread].machine, Self.depth(after: idle))
        threads[thread].wakes += 1
        threads[thread].depth += depth
        let work = (profile.rpc.wake + profile.rpc.deepWake * depth) * machines[machine].slowness
        machines[machine].busyTime += work
        run(thread, delay: -Transcendental.log(1 - generator.fraction()) * profile.rpc.stir + work)
    }

    /// Of a core that was idle for so many microseconds, 0 to 1: after 3 ms half asleep, as virtual machines are by measurement.
    static func depth(after idle: Double) -> Double { idle / (idle + 3000) }

    /// A thread that has done something does more in its slice, and then lets others go first.
    private mutating func goOn(_ thread: Int) {
        let machine = threads[thread].machine
        let hasWork = hasWork(thread)
        if hasWork, now - threads[thread].since < machines[machine].slice || !machines[machine].hasReadyThreads { return step(thread, delay: 0) }
        let next = machines[machine].release(now: now)
        threads[thread].isAwake = hasWork
        if let next { run(next, delay: 0) }
        if hasWork, machines[machine].admit(thread, now: now) != nil { run(thread, delay: 0) }
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
            if let job = pools[node].waiting.popFirst() {
                for _ in 0..<job.walks { length += nextWalk() * slowness }
                schedule(now + delay + length, .walked(job))
            }
            schedule(now + delay + length, .ended(thread: thread))
        } else {
            threads[thread].turns += 1
            let messages = threads[thread].take()
            length = (messages.reduce(profile.rpc.turn) { $0 + $1.cost }) * slowness
            schedule(now + delay + length - profile.rpc.rest * slowness, .turned(thread: thread, messages))
        }
        machines[threads[thread].machine].busyTime += length
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
