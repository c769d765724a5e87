import NeedletailCluster
import NeedletailCore

/// The metadata store: linearizable, with the leader's lease. What is asked of it, and what it answers, goes over the network.
final class SimulatedMetadata {
    private unowned let simulation: Simulation
    private(set) var place: ShardPlace
    private(set) var term: UInt64 = 0
    private var leader: (coordinator: Int, life: Int)?
    private var leaseEnd: Duration = .zero
    private var clock: SkewedClock

    init(_ simulation: Simulation, place: ShardPlace) {
        self.simulation = simulation
        self.place = place
        clock = SkewedClock(&simulation.random)
    }

    private var now: Duration { clock.local(simulation.now) }

    /// Makes the caller the leader or renews its lease. Returns the term when it leads.
    func acquire(_ coordinator: Int, life: Int) -> UInt64? {
        if let leader, now < leaseEnd {
            guard leader == (coordinator, life) else { return nil }
        } else {
            leader = (coordinator, life)
            term += 1
            simulation.counts.note("election")
        }
        leaseEnd = now + Simulation.lease
        return term
    }

    /// Compare-and-swap under the leader's term.
    func swap(_ swap: FailoverMachine.Swap) -> Bool {
        guard leader != nil, now < leaseEnd, swap.term == term else {
            simulation.counts.note("change refused for its term")
            return false
        }
        var next = swap.place
        switch simulation.bug {
        case .ignoresVersions:
            // As if the epoch were all that a change needs to name.
            guard next.epoch >= place.epoch else { return false }
            next.version = place.version + 1
        case .comparesSets:
            // As if a proposal named the set that it starts from: it is made whenever the set is like that again.
            let from = simulation.oracle.places[Int(swap.version)] ?? place
            guard next.epoch == place.epoch || swap.version == place.version, from.inSync == place.inSync, from.epoch == place.epoch else {
                return false
            }
            next.version = place.version + 1
        default:
            guard swap.version == place.version else {
                simulation.counts.note("change refused for its version")
                return false
            }
        }
        change(to: next)
        return true
    }

    /// An operator takes a replica that is not in sync away, or gives the shard another one.
    func toggleReplica(_ node: NodeID) {
        guard !place.inSync.contains(node) else { return }
        var next = place
        next.version += 1
        if place.replicas.contains(node) {
            next.replicas.removeAll { $0 == node }
        } else {
            next.replicas = (next.replicas + [node]).sorted()
        }
        simulation.counts.note("change of replicas")
        change(to: next)
    }

    private func change(to next: ShardPlace) {
        let old = place
        place = next
        simulation.trace("metadata: epoch \(place.epoch) primary \(place.primary.value) in sync \(place.inSync.map(\.value)) version \(place.version)")
        simulation.oracle.changed(simulation, from: old, to: place)
        for coordinator in simulation.coordinators {
            simulation.network.send(from: .metadata, to: .coordinator(coordinator.index)) { coordinator.learn(next) }
        }
    }
}
