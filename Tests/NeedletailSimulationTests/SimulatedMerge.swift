import NeedletailCluster
import NeedletailCore

// Two shards are merged amid the faults: `Merger` decides on whoever leads, workers do what `MergeFeeds` and the seals do in the product. Each node takes
// the parents' records over in an order of its own.

extension Simulation {
    /// An operator orders it once, and maybe gives it up.
    func beginMerge() {
        after(pick(1_000_000...5_000_000)) { [self] in
            let places = [1, 2].compactMap { metadata.places[$0] }
            guard places.count == 2 else { return }
            let merge = Merge(
                id: UInt64(pick(1...9)), collection: "c", incarnation: Incarnation(1), places: places, number: SimulatedShard.merged, reason: "asked for",
                nowMilliseconds: Int64(now / 1000))
            _ = metadata.change(nil, to: merge, parents: [])
            if chance(0.15) { cancelMerge(after: pick(10_000...3_000_000)) }
        }
    }

    private func cancelMerge(after delay: Microseconds) {
        after(delay) { [self] in
            guard let merge = metadata.merge, merge.step.holdsReplaced else { return }
            var cancelled = merge
            cancelled.isCancelled = true
            _ = metadata.change(merge, to: cancelled, parents: [])
        }
    }

    /// The merged shard has the parents' place.
    func mergeOver(_ parents: [ShardPlace], to place: ShardPlace) {
        counts.note("merge over")
        let oracles = parents.map { shards[Int($0.number)].oracle }
        for (oracle, parent) in zip(oracles, parents) { oracle.ends(parent) }
        shards[Int(place.number)].oracle.begins(self, place, after: oracles)
        guard now < faults.end, chance(bug == .forgetsSeals ? 1 : 0.4) else { return }
        if bug != .forgetsSeals { return bringBackUnheard(workers[Int(place.inSync[pick(0...place.inSync.count - 1)].value) - 1]) }
        for node in place.inSync where node != place.primary { bringBackUnheard(workers[Int(node.value) - 1]) }
    }

    /// A worker comes back with the files of the parents, and hears of no place for a while.
    private func bringBackUnheard(_ worker: SimulatedWorker) {
        after(pick(1...20_000)) { worker.crash() }
        after(pick(20_000...1_500_000)) { worker.start() }
        for coordinator in coordinators { network.block(from: .coordinator(coordinator.index), to: worker.endpoint) }
        after(pick(bug == .forgetsSeals ? 3_000_000...8_000_000 : 100_000...4_000_000)) { [self] in
            for coordinator in coordinators { network.unblock(from: .coordinator(coordinator.index), to: worker.endpoint) }
        }
    }
}

// MARK: The leader

extension SimulatedCoordinator {
    /// Called on every tick: one round of asking and deciding at a time.
    func advanceMerge() {
        guard isLeading, !isSplitting, let merge, !merge.step.hasEnded else { return }
        isSplitting = true
        decide(merge, isClosing: false)
    }

    private func decide(_ merge: Merge, isClosing: Bool) {
        let parents = merge.parents.map { places[$0.shard.number] }
        var order = merge.order
        order.isClosing = isClosing
        if simulation.bug == .sealsOneParent { order.parents[1].sealEpoch = 0 }
        let isAsking = merge.step == .preparing || merge.step == .sealing
        let members = Set(parents.compactMap { $0?.inSync }.flatMap { $0 }).filter(merge.nodes.contains).sorted()
        let request = order
        askAll(isAsking ? members : []) { $0.obey(request) } then: { [self] progress in
            guard isLeading, self.merge == merge, parents == merge.parents.map({ places[$0.shard.number] }) else { return isSplitting = false }
            var now = Merger.Circumstances(places: parents)
            now.age = .milliseconds(simulation.now / 1000 - Int(merge.changedMilliseconds))
            now.progress = progress
            breakRules(&now)
            if dropped.step != merge.step { dropped = (merge.step, []) }
            now.undropped = merge.nodes.filter { !dropped.nodes.contains($0) }
            now.isServed = isServed([merge.child.number], since: merge.epoch)
            carryOut(Merger.next(merge, now), merge, parents, isClosing: isClosing)
        }
    }

    private func breakRules(_ now: inout Merger.Circumstances) {
        if simulation.bug == .asksPrimariesOnly, let first = now.places[0], let primary = now.progress[first.primary] {
            for node in first.inSync {
                guard var own = now.progress[node] else { continue }
                (own.isReady, own.waiting) = (primary.isReady, primary.waiting)
                for index in own.parents.indices { own.parents[index].taken = primary.parents[index].taken }
                now.progress[node] = own
            }
        }
        if simulation.bug == .sealsOneParent {
            for node in now.progress.keys {
                now.progress[node]?.parents[1].isSealed = true
                now.progress[node]?.parents[1].isClosed = true
            }
        }
    }

    private func carryOut(_ order: Merger.Order, _ merge: Merge, _ parents: [ShardPlace?], isClosing: Bool) {
        switch order {
        case .change(var next, let place):
            next.changedMilliseconds = Int64(simulation.now / 1000)
            guard let term = machine.term else { return isSplitting = false }
            ask { [simulation] in
                simulation.metadata.isLed(by: term) && simulation.metadata.change(merge, to: next, parents: parents, place)
            } then: { [self] _ in isSplitting = false }
        case .close where !isClosing: decide(merge, isClosing: true)
        case .resign(let place):
            receive(.resigned(simulation.shards[Int(place.number)].id, place.primary, epoch: place.epoch))
            isSplitting = false
        case .drop(let nodes):
            drop(merge.dropped, in: merge.step, on: nodes)
            isSplitting = false
        case .close, .wait, .nothing: isSplitting = false
        }
    }
}

// MARK: The workers

extension SimulatedWorker {
    /// What the leader asks of a node that has replicas of both; nil when it has not.
    func obey(_ order: MergeOrder) -> MergeProgress? {
        let parents = order.parents.compactMap { replicas[$0.shard.number] }
        guard isUp, parents.count == 2 else { return nil }
        var progress: [MergeProgress.Parent] = []
        for (parent, asked) in zip(parents, order.parents) {
            let mayLead = asked.sealEpoch > 0 && parent.leads(before: asked.sealEpoch)
            if mayLead, simulation.bug != .sealsNothing { parent.seal(before: asked.sealEpoch) }
            if order.isClosing, asked.sealEpoch > 0 { parent.close(before: asked.sealEpoch) }
            let isSealed = mayLead && (simulation.bug == .sealsNothing || parent.seal.storedWrites >= asked.sealEpoch)
            progress.append(
                MergeProgress.Parent(
                    end: UInt64(parent.disk.end), isSealed: isSealed, isClosed: asked.sealEpoch > 0 && parent.seal.storedReads >= asked.sealEpoch, taken: 0))
        }
        let number = order.child.number
        if replicas[number] == nil { follow(make(simulation.shards[Int(number)]), parents) }
        guard let merged = replicas[number] else { return nil }
        for index in parents.indices { progress[index].taken = UInt64(merged.taken(of: parents[index], from: merged.disk.durable)) }
        return MergeProgress(parents: progress, isReady: true, waiting: 0)
    }

    /// After a start: a merged replica that has no place yet goes on following.
    func resumeMerge() {
        guard let merged = replicas[SimulatedShard.merged], !merged.isBorn else { return }
        if simulation.bug == .takesTwice { merged.forgotten = merged.disk.end }
        let parents = [1, 2].compactMap { replicas[$0] }
        if parents.count == 2 { follow(merged, parents) }
    }

    /// Until it has a place, or one of them is no more: takes over what is committed, in pieces.
    private func follow(_ merged: SimulatedReplica, _ parents: [SimulatedReplica]) {
        let life = life
        simulation.after(simulation.pick(2_000...60_000)) { [self] in
            guard isUp, life == self.life, !merged.isBorn, replicas[merged.shard.number] === merged,
                parents.allSatisfy({ replicas[$0.shard.number] === $0 })
            else { return }
            for parent in simulation.chance(0.5) ? parents : parents.reversed() { step(merged, parent, parents) }
            follow(merged, parents)
        }
    }

    private func step(_ merged: SimulatedReplica, _ parent: SimulatedReplica, _ parents: [SimulatedReplica]) {
        let taken = merged.taken(of: parent, from: merged.disk.end)
        if taken < parent.disk.base || (merged.disk.end == 0 && parents.contains { $0.disk.checkpointed > 0 }) {
            // Made of the parents' newest checkpoints, also when a log begins too late.
            merged.forgotten = 0
            return merged.disk.install(parents.flatMap { $0.disk.records.prefix($0.disk.checkpointed) }.map(SimulatedShard.taken))
        }
        let last = min(simulation.bug == .followsUncommitted ? parent.disk.end : parent.applied, taken + simulation.pick(1...40))
        if last > taken { merged.disk.append(parent.disk.records[taken..<last].map(SimulatedShard.taken)) }
    }
}

extension SimulatedReplica {
    /// How many records of a parent are among the first ones here.
    func taken(of parent: SimulatedReplica, from end: Int) -> Int {
        disk.records.prefix(end).dropFirst(min(forgotten, end)).count { parent.shard.keys.contains($0.key) }
    }
}
