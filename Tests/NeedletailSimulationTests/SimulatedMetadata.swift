import NeedletailCluster
import NeedletailCore

/// The metadata store: linearizable, with the leader's lease. What is asked of it, and what it answers, goes over the network.
final class SimulatedMetadata {
    private unowned let simulation: Simulation
    /// By shard number.
    private(set) var places: [UInt32: ShardPlace]
    private(set) var split: Split?
    private(set) var merge: Merge?
    /// Grows with each change of which shards there are, or of the split or merge.
    private(set) var revision = 0
    private(set) var term: UInt64 = 0
    private var leader: (coordinator: Int, life: Int)?
    private var leaseEnd: Duration = .zero
    private var clock: SkewedClock

    init(_ simulation: Simulation, places: [ShardPlace]) {
        self.simulation = simulation
        self.places = Dictionary(uniqueKeysWithValues: places.map { ($0.number, $0) })
        clock = SkewedClock(&simulation.random)
    }

    private var now: Duration { clock.local(simulation.now) }

    /// Of one of the shards there are.
    var place: ShardPlace {
        let numbers = places.keys.sorted()
        return places[numbers[simulation.now % numbers.count]]!
    }

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
    func swap(_ number: UInt32, _ swap: FailoverMachine.Swap) -> Bool {
        guard isLed(by: swap.term) else { return false }
        guard let place = places[number] else {
            simulation.counts.note("change of a shard that is no more")
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
            let from = simulation.shards[Int(number)].oracle.places[Int(swap.version)] ?? place
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

    func isLed(by term: UInt64) -> Bool {
        let isLed = leader != nil && now < leaseEnd && term == self.term
        if !isLed { simulation.counts.note("change refused for its term") }
        return isLed
    }

    /// Makes this the split if it is `old` still; with places, they take the parent's if that has its version still.
    func change(_ old: Split?, to split: Split, version: UInt64, _ next: [ShardPlace] = []) -> Bool {
        guard self.split == old, next.isEmpty || places[split.parent.number]?.version == version else {
            simulation.counts.note("step refused for what changed meanwhile")
            return false
        }
        revision += 1
        self.split = split
        simulation.trace("metadata: the split is \(split.step), sealed before \(split.sealEpoch) \(split.problem)")
        simulation.counts.note("split \(split.step)")
        if next.count == 1 {
            change(to: next[0])
        } else if !next.isEmpty, let parent = places.removeValue(forKey: split.parent.number) {
            for place in next { places[place.number] = place }
            simulation.cutOver(parent, to: next)
        }
        tellMap()
        return true
    }

    private func tellMap() {
        for coordinator in simulation.coordinators {
            let map = map
            simulation.network.send(from: .metadata, to: .coordinator(coordinator.index)) { coordinator.learn(map) }
        }
    }

    /// Makes this the merge if it is `old` still; with a place, it takes the parents' if these are as they are named still.
    func change(_ old: Merge?, to merge: Merge, parents: [ShardPlace?], _ next: ShardPlace? = nil) -> Bool {
        guard self.merge == old, next == nil || parents == merge.parents.map({ places[$0.shard.number] }) else {
            simulation.counts.note("step refused for what changed meanwhile")
            return false
        }
        revision += 1
        self.merge = merge
        simulation.trace("metadata: the merge is \(merge.step), sealed before \(merge.parents.map(\.sealEpoch)) \(merge.problem)")
        simulation.counts.note("merge \(merge.step)")
        if let next, merge.step == .dropping {
            let parents = merge.parents.compactMap { places.removeValue(forKey: $0.shard.number) }
            places[next.number] = next
            simulation.mergeOver(parents, to: next)
        } else if let next {
            change(to: next)
        }
        tellMap()
        return true
    }

    struct Map {
        var places: [ShardPlace]
        var split: Split?
        var merge: Merge?
        var revision: Int
    }

    var map: Map { Map(places: places.keys.sorted().compactMap { places[$0] }, split: split, merge: merge, revision: revision) }

    /// An operator takes a replica that is not in sync away, or gives the shard another one.
    func toggleReplica(_ node: NodeID, of place: ShardPlace) {
        // As long as two are merged nobody else moves them.
        guard !place.inSync.contains(node), simulation.resharding != .merge || place.number == SimulatedShard.merged else { return }
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
        let (old, place) = (places[next.number]!, next)
        places[next.number] = next
        simulation.trace("metadata: epoch \(place.epoch) primary \(place.primary.value) in sync \(place.inSync.map(\.value)) version \(place.version)")
        simulation.shards[Int(next.number)].oracle.changed(simulation, from: old, to: place)
        for coordinator in simulation.coordinators {
            simulation.network.send(from: .metadata, to: .coordinator(coordinator.index)) { coordinator.learn(next) }
        }
    }
}
