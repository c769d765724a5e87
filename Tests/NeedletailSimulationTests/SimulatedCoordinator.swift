import NeedletailCluster
import NeedletailCore

/// A coordinator: runs for leader, and performs what its `FailoverMachine` decides.
final class SimulatedCoordinator {
    private unowned let simulation: Simulation
    let index: Int
    private(set) var isUp = false
    private(set) var life = 0
    private var machine = FailoverMachine()
    private var clock: SkewedClock
    /// As it watches the metadata; may be old.
    private(set) var place: ShardPlace
    private var granted: [Int: ([ShardID: UInt64]) -> Void] = [:]
    private var grants = 0

    init(_ simulation: Simulation, _ index: Int) {
        self.simulation = simulation
        self.index = index
        clock = SkewedClock(&simulation.random)
        place = simulation.metadata.place
    }

    var isLeading: Bool { isUp && machine.term != nil }
    private var now: Duration { clock.local(simulation.now) }
    private var endpoint: Endpoint { .coordinator(index) }

    func start() {
        isUp = true
        life += 1
        machine = FailoverMachine(lease: Simulation.lease, retry: .milliseconds(120))
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
        simulation.after(60_000) { [self] in tick(life) }
    }

    /// Calls the metadata store; nil when the answer does not come in time.
    private func ask<Value>(_ question: @escaping () -> Value, then: @escaping (Value?) -> Void) {
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
        ask { [simulation] in simulation.metadata.place } then: { [self] place in
            if let place { learn(place) }
            guard let term, term == machine.term else { return }
            if place == nil { read(loading: term) } else { receive(.loaded(term: term)) }
        }
    }

    func learn(_ newer: ShardPlace) {
        guard isUp else { return }
        if newer.version > place.version {
            place = newer
            // Whoever watches is told, the rest learns it with a heartbeat.
            for worker in simulation.workers where simulation.chance(simulation.faults.telling) {
                simulation.network.send(from: endpoint, to: .worker(worker.index)) { worker.deliver(.place(newer)) }
            }
        }
        if machine.term != nil { receive(.place(Simulation.shard, newer)) }
    }

    // MARK: What workers say

    func heartbeat(_ worker: Int, grant: @escaping ([ShardID: UInt64]) -> Void, tell: @escaping (ShardPlace) -> Void) {
        guard isUp else { return }
        if simulation.chance(simulation.faults.telling) { tell(place) }
        grants += 1
        if simulation.bug == .grantsWithoutLeading { grant([Simulation.shard: place.epoch]) }
        granted[grants] = grant
        receive(.heartbeat(NodeID(UInt64(worker + 1)), number: UInt64(grants)))
        granted[grants] = nil
    }

    func propose(_ proposal: Proposal, from worker: Int, failed: @escaping () -> Void) {
        guard isUp else { return }
        waiting.append((proposal, failed))
        if waiting.count > 8 { waiting.removeFirst() }
        receive(.proposed(Simulation.shard, NodeID(UInt64(worker + 1)), proposal))
    }

    /// As a move does it, or an operator. One who no longer leads may ask, too.
    func handOver(to heir: NodeID) {
        guard isUp else { return }
        simulation.counts.note("hand-over")
        simulation.trace("coordinator \(index) asks \(place.primary.value) to hand over to \(heir.value)")
        receive(.preferred(Simulation.shard, heir, epoch: place.epoch))
        let (primary, epoch) = (simulation.workers[Int(place.primary.value) - 1], place.epoch)
        simulation.network.send(from: endpoint, to: .worker(primary.index)) { primary.deliver(.handOver(epoch: epoch)) }
    }

    private var waiting: [(proposal: Proposal, failed: () -> Void)] = []

    private func refuse(_ proposal: Proposal) {
        for entry in waiting where entry.proposal == proposal { entry.failed() }
        waiting.removeAll { $0.proposal == proposal }
    }

    func receive(_ event: FailoverMachine.Event) {
        guard isUp else { return }
        for action in machine.receive(event, now: now) { perform(action) }
    }

    private func perform(_ action: FailoverMachine.Action) {
        switch action {
        case .grant(_, let number, let epochs): granted[Int(number)]?(epochs)
        case .fence(_, let node, let fence):
            simulation.counts.note("fence")
            simulation.trace("coordinator \(index) fences \(node.value) at \(fence.epoch)")
            let worker = simulation.workers[Int(node.value) - 1]
            simulation.network.send(from: endpoint, to: .worker(worker.index)) { worker.fence(fence) }
        case .swap(_, let swap): make(swap)
        case .refuse(_, let proposal):
            simulation.counts.note("refused proposal")
            refuse(proposal)
        case .read: read()
        case .waiting(_, let reason):
            simulation.counts.note("shard waits")
            simulation.trace("coordinator \(index): \(reason.message)")
        }
    }

    private func make(_ swap: FailoverMachine.Swap) {
        let wanted = swap
        var swap = swap
        if swap.proposal == nil {
            if simulation.bug == .promotesOutsider { promoteOutsider(&swap) }
            if simulation.bug == .promotesStale { promoteStale(&swap) }
            simulation.oracle.promoting(simulation, swap.place, from: place, living: swap.place.replicas.filter { machine.isAlive($0, now: now) })
        }
        simulation.trace("coordinator \(index) wants \(swap.place.primary.value) with \(swap.place.inSync.map(\.value)) from version \(swap.version)")
        if wanted.proposal == nil, let time = simulation.faults.delaysChange(simulation, of: self) {
            return simulation.after(time) { [simulation] in _ = simulation.metadata.swap(swap) }
        }
        ask { [simulation] in simulation.metadata.swap(swap) } then: { [self] isMade in
            if isMade == true {
                if let proposal = swap.proposal { waiting.removeAll { $0.proposal == proposal } }
                // Bugs of the store make another version than the one asked for.
                if simulation.bug == nil { learn(swap.place) } else { read() }
            } else {
                if isMade == nil { simulation.counts.note("change of unknown outcome") }
                receive(.swapFailed(Simulation.shard, wanted))
                if let proposal = swap.proposal { refuse(proposal) }
            }
        }
    }

    private func promoteOutsider(_ swap: inout FailoverMachine.Swap) {
        guard let outsider = swap.place.replicas.first(where: { !swap.place.inSync.contains($0) }) else { return }
        swap.place.primary = outsider
        swap.place.inSync = (swap.place.inSync + [outsider]).sorted()
    }

    private func promoteStale(_ swap: inout FailoverMachine.Swap) {
        let living = swap.place.inSync.filter { machine.isAlive($0, now: now) }
        guard let stale = living.min(by: { simulation.workers[Int($0.value) - 1].disk.end < simulation.workers[Int($1.value) - 1].disk.end })
        else { return }
        swap.place.primary = stale
    }
}
