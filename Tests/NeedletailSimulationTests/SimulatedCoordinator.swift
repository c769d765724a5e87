import NeedletailCluster
import NeedletailCore

/// A coordinator: runs for leader, and performs what its `FailoverMachine` decides.
final class SimulatedCoordinator {
    unowned let simulation: Simulation
    let index: Int
    private(set) var isUp = false
    private(set) var life = 0
    private(set) var machine = FailoverMachine()
    private var clock: SkewedClock
    /// As it watches the metadata; may be old.
    private(set) var places: [UInt32: ShardPlace]
    private(set) var split: Split?
    private(set) var merge: Merge?
    private var revision = 0
    /// Nodes that removed files in the split's or the merge's step.
    var dropped: (step: ReshardingStep, nodes: Set<NodeID>) = (.preparing, [])
    var isSplitting = false
    private var granted: [Int: ([ShardID: UInt64]) -> Void] = [:]
    private var grants = 0

    init(_ simulation: Simulation, _ index: Int) {
        self.simulation = simulation
        self.index = index
        clock = SkewedClock(&simulation.random)
        places = simulation.metadata.places
    }

    var isLeading: Bool { isUp && machine.term != nil }
    var now: Duration { clock.local(simulation.now) }
    var endpoint: Endpoint { .coordinator(index) }

    func start() {
        isUp = true
        life += 1
        machine = FailoverMachine(lease: Simulation.lease, retry: .milliseconds(120))
        (isSplitting, dropped) = (false, (.preparing, []))
        simulation.trace("coordinator \(index) starts")
        campaign(life)
        tick(life)
    }

    func crash() {
        guard isUp else { return }
        simulation.counts.note("coordinator crash")
        simulation.trace("coordinator \(index) crashes")
        isUp = false
        life += 1
    }

    /// Renews, or tries to become leader, every half second.
    private func campaign(_ life: Int) {
        guard isUp, life == self.life else { return }
        let sent = now
        ask { [simulation, index] in simulation.metadata.acquire(index, life: life) } then: { [self] term in
            guard let term = term ?? nil else {
                if machine.term != nil, term != nil { receive(.deposed) }
                return
            }
            if machine.term ?? 0 < term {
                simulation.trace("coordinator \(index) leads in term \(term)")
                receive(.elected(term: term))
                receive(.renewed(until: sent + Simulation.lease * 9 / 10))
                read(loading: term)
            } else if machine.term == term {
                receive(.renewed(until: sent + Simulation.lease * 9 / 10))
            }
        }
        simulation.after(simulation.pick(400_000...600_000)) { [self] in campaign(life) }
    }

    private func tick(_ life: Int) {
        guard isUp, life == self.life else { return }
        receive(.tick)
        if simulation.chance(0.03) { read() }
        if simulation.resharding == .split { advanceSplit() }
        if simulation.resharding == .merge { advanceMerge() }
        simulation.after(60_000) { [self] in tick(life) }
    }

    /// Calls the metadata store; nil when the answer does not come in time.
    func ask<Value>(_ question: @escaping () -> Value, then: @escaping (Value?) -> Void) {
        let life = life
        var isAnswered = false
        simulation.network.send(from: endpoint, to: .metadata) { [simulation, endpoint] in
            let value = question()
            simulation.network.send(from: .metadata, to: endpoint) { [self] in
                guard isUp, life == self.life, !isAnswered else { return }
                isAnswered = true
                then(value)
            }
        }
        simulation.after(700_000) { [self] in
            guard isUp, life == self.life, !isAnswered else { return }
            isAnswered = true
            then(nil)
        }
    }

    private func read(loading term: UInt64? = nil) {
        ask { [simulation] in simulation.metadata.map } then: { [self] map in
            if let map { learn(map) }
            guard let term, term == machine.term else { return }
            if map == nil { read(loading: term) } else { receive(.loaded(term: term)) }
        }
    }

    func learn(_ newer: ShardPlace) {
        guard isUp, let place = places[newer.number] else { return }
        if newer.version > place.version {
            places[newer.number] = newer
            // Whoever watches is told, the rest learns it with a heartbeat.
            for worker in simulation.workers where simulation.chance(simulation.faults.telling) {
                simulation.network.send(from: endpoint, to: .worker(worker.index)) { worker.receive(newer) }
            }
        }
        if machine.term != nil { receive(.place(simulation.shards[Int(newer.number)].id, newer)) }
    }

    func learn(_ map: SimulatedMetadata.Map) {
        guard isUp else { return }
        if map.revision > revision {
            (revision, split, merge) = (map.revision, map.split, map.merge)
            for place in map.places where places[place.number] == nil && place.number > 0 {
                var unheard = place
                unheard.version -= 1
                places[place.number] = unheard
            }
            for number in places.keys.sorted() where !map.places.contains(where: { $0.number == number }) {
                places[number] = nil
                if machine.term != nil { receive(.removed(simulation.shards[Int(number)].id)) }
            }
        }
        for place in map.places { learn(place) }
    }

    // MARK: What workers say

    func heartbeat(_ worker: Int, grant: @escaping ([ShardID: UInt64]) -> Void, tell: @escaping (ShardPlace) -> Void) {
        guard isUp else { return }
        for number in places.keys.sorted() { if simulation.chance(simulation.faults.telling) { tell(places[number]!) } }
        grants += 1
        if simulation.bug == .grantsWithoutLeading, let place = places[0] { grant([simulation.shards[0].id: place.epoch]) }
        granted[grants] = grant
        receive(.heartbeat(NodeID(UInt64(worker + 1)), number: UInt64(grants)))
        granted[grants] = nil
    }

    func propose(_ proposal: Proposal, of shard: ShardID, from worker: Int, failed: @escaping () -> Void) {
        guard isUp else { return }
        waiting.append((shard, proposal, failed))
        if waiting.count > 8 { waiting.removeFirst() }
        receive(.proposed(shard, NodeID(UInt64(worker + 1)), proposal))
    }

    /// As a move does it, or an operator. One who no longer leads may ask, too.
    func handOver(to heir: NodeID) {
        guard isUp, let place = places.keys.min().flatMap({ places[$0] }) else { return }
        simulation.counts.note("hand-over")
        simulation.trace("coordinator \(index) asks \(place.primary.value) to hand over to \(heir.value)")
        receive(.preferred(simulation.shards[Int(place.number)].id, heir, epoch: place.epoch))
        let (primary, epoch) = (simulation.workers[Int(place.primary.value) - 1], place.epoch)
        simulation.network.send(from: endpoint, to: .worker(primary.index)) { primary.replicas[place.number]?.deliver(.handOver(epoch: epoch)) }
    }

    private var waiting: [(shard: ShardID, proposal: Proposal, failed: () -> Void)] = []

    private func refuse(_ proposal: Proposal, of shard: ShardID) {
        for entry in waiting where (entry.shard, entry.proposal) == (shard, proposal) { entry.failed() }
        waiting.removeAll { ($0.shard, $0.proposal) == (shard, proposal) }
    }

    func receive(_ event: FailoverMachine.Event) {
        guard isUp else { return }
        for action in machine.receive(event, now: now) { perform(action) }
    }

    private func perform(_ action: FailoverMachine.Action) {
        switch action {
        case .grant(_, let number, let epochs): granted[Int(number)]?(epochs)
        case .fence(let shard, let node, let fence):
            simulation.counts.note("fence")
            simulation.trace("coordinator \(index) fences \(node.value) at \(fence.epoch)")
            let worker = simulation.workers[Int(node.value) - 1]
            simulation.network.send(from: endpoint, to: .worker(worker.index)) { worker.replicas[shard.number]?.fence(fence) }
        case .swap(let shard, let swap): make(swap, of: shard)
        case .refuse(let shard, let proposal):
            simulation.counts.note("refused proposal")
            refuse(proposal, of: shard)
        case .read: read()
        case .waiting(_, let reason):
            simulation.counts.note("shard waits")
            simulation.trace("coordinator \(index): \(reason.message)")
        }
    }

    private func make(_ swap: FailoverMachine.Swap, of shard: ShardID) {
        guard let place = places[shard.number] else { return receive(.swapFailed(shard, swap)) }
        let wanted = swap
        var swap = swap
        if swap.proposal == nil {
            if simulation.bug == .promotesOutsider { promoteOutsider(&swap) }
            if simulation.bug == .promotesStale { promoteStale(&swap, of: shard) }
            simulation.shards[Int(shard.number)].oracle.promoting(simulation, swap.place, from: place, living: swap.place.replicas.filter { machine.isAlive($0, now: now) })
        }
        simulation.trace("coordinator \(index) wants \(swap.place.primary.value) with \(swap.place.inSync.map(\.value)) from version \(swap.version)")
        if wanted.proposal == nil, let time = simulation.faults.delaysChange(simulation, of: self) {
            return simulation.after(time) { [simulation] in _ = simulation.metadata.swap(shard.number, swap) }
        }
        ask { [simulation] in simulation.metadata.swap(shard.number, swap) } then: { [self] isMade in
            if isMade == true {
                if let proposal = swap.proposal { waiting.removeAll { ($0.shard, $0.proposal) == (shard, proposal) } }
                // Bugs of the store make another version than the one asked for.
                if simulation.bug == nil { learn(swap.place) } else { read() }
            } else {
                if isMade == nil { simulation.counts.note("change of unknown outcome") }
                receive(.swapFailed(shard, wanted))
                if let proposal = swap.proposal { refuse(proposal, of: shard) }
            }
        }
    }

    private func promoteOutsider(_ swap: inout FailoverMachine.Swap) {
        guard let outsider = swap.place.replicas.first(where: { !swap.place.inSync.contains($0) }) else { return }
        swap.place.primary = outsider
        swap.place.inSync = (swap.place.inSync + [outsider]).sorted()
    }

    private func promoteStale(_ swap: inout FailoverMachine.Swap, of shard: ShardID) {
        let living = swap.place.inSync.filter { machine.isAlive($0, now: now) }
        func end(_ node: NodeID) -> Int { simulation.workers[Int(node.value) - 1].replicas[shard.number]?.disk.end ?? 0 }
        guard let stale = living.min(by: { end($0) < end($1) }) else { return }
        swap.place.primary = stale
    }
}
