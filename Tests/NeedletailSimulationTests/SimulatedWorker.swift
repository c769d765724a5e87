import NeedletailCluster
import NeedletailCore

/// A shard worker: its life, its lease, and the replicas on its disk.
final class SimulatedWorker {
    unowned let simulation: Simulation
    let id: NodeID
    let index: Int
    private(set) var isUp = false
    private(set) var life = 0
    var isDeaf = false
    let health = DiskHealth()
    /// By shard number.
    private(set) var replicas: [UInt32: SimulatedReplica] = [:]
    private let clock: SkewedClock
    private var lease = NodeLease(length: Simulation.lease)
    /// The coordinator that granted the lease last.
    private(set) var leader: Int?

    var now: Duration { clock.local(simulation.now) }
    var endpoint: Endpoint { .worker(index) }
    /// In order of their shards.
    var hosted: [SimulatedReplica] { replicas.keys.sorted().compactMap { replicas[$0] } }

    init(_ simulation: Simulation, _ id: NodeID) {
        self.simulation = simulation
        self.id = id
        index = Int(id.value) - 1
        clock = SkewedClock(&simulation.random)
        for number in simulation.metadata.places.keys { replicas[number] = SimulatedReplica(simulation, self, simulation.shards[Int(number)]) }
    }

    func isLeaseHeld(_ shard: ShardID, _ epoch: UInt64) -> Bool {
        simulation.bug == .ignoresLeases || lease.isHeld(shard, epoch: epoch, now: now)
    }

    // MARK: Life

    func start() {
        guard !isUp else { return }
        isUp = true
        life += 1
        lease = NodeLease(length: Simulation.lease)
        for replica in hosted { replica.start() }
        heartbeat(life)
        tick(life)
        resumeParts()
        resumeMerge()
    }

    func crash() {
        guard isUp else { return }
        simulation.counts.note("crash")
        simulation.trace("worker \(id.value) crashes")
        isUp = false
        life += 1
        leader = nil
        for replica in hosted { replica.crash() }
    }

    private func tick(_ life: Int) {
        guard isUp, life == self.life else { return }
        for replica in hosted { replica.deliver(.tick) }
        simulation.after(60_000) { [self] in tick(life) }
    }

    private func heartbeat(_ life: Int) {
        guard isUp, life == self.life else { return }
        for coordinator in simulation.coordinators {
            let number = lease.send(now: now)
            simulation.network.send(from: endpoint, to: .coordinator(coordinator.index)) { [self] in
                coordinator.heartbeat(index) { [self] epochs in
                    answer(life, from: coordinator) { [self] in
                        var epochs = epochs
                        if simulation.bug == .leasesWithoutEpochs, let epoch = replicas[0]?.machine.primary?.epoch {
                            epochs[simulation.shards[0].id] = epoch
                        }
                        lease.granted(number, epochs: epochs)
                        leader = coordinator.index
                    }
                } tell: { [self] place in
                    answer(life, from: coordinator) { [self] in receive(place) }
                }
            }
        }
        simulation.after(simulation.pick(350_000...500_000)) { [self] in heartbeat(life) }
    }

    private func answer(_ life: Int, from coordinator: SimulatedCoordinator, _ body: @escaping () -> Void) {
        simulation.network.send(from: .coordinator(coordinator.index), to: endpoint) { [self] in if isUp, life == self.life { body() } }
    }

    // MARK: Replicas

    func receive(_ place: ShardPlace) {
        guard isUp, !isDeaf else { return }
        if place.number != 0, simulation.resharding != .merge || place.number == SimulatedShard.merged, place.replicas.contains(id) { settle(place) }
        replicas[place.number]?.deliver(.place(place))
    }

    /// A part of a shard that was split has a place. Whoever is in sync made it beside the whole; others begin empty.
    private func settle(_ place: ShardPlace) {
        if let replica = replicas[place.number] {
            // It may lack some of the parents' records: then its log agrees with nobody's.
            if !replica.isBorn, place.number == SimulatedShard.merged, !place.inSync.contains(id) { simulation.counts.note("merged replica that was not in sync") }
            return replica.bear()
        }
        guard !place.inSync.contains(id) else {
            return simulation.fail("worker \(id.value) counts as in sync in shard \(place.number), which it does not have")
        }
        let replica = SimulatedReplica(simulation, self, simulation.shards[Int(place.number)])
        replica.isUnfilled = true
        replicas[place.number] = replica
        replica.start()
    }

    func make(_ shard: SimulatedShard) -> SimulatedReplica {
        let replica = SimulatedReplica(simulation, self, shard, isBorn: false)
        replicas[shard.number] = replica
        return replica
    }

    func drop(_ number: UInt32) { replicas.removeValue(forKey: number)?.drop() }
}
