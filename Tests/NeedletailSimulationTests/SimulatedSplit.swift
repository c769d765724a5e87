import NeedletailCluster
import NeedletailCore

// The shard is split amid the faults: `Splitter` decides on whoever leads, workers do what `PartFeeds` and the seal do in the product. What is asked
// of workers and of the metadata store is lost, late or done twice like everything else.

extension Simulation {
    /// An operator orders it once, and maybe gives it up.
    func beginSplit() {
        after(pick(1_000_000...5_000_000)) { [self] in
            guard let place = metadata.places[0] else { return }
            let split = Split(
                id: 1, collection: "c", parent: shards[0].id, place: place, at: .max / 2, firstNumber: 1, reason: "asked for",
                nowMilliseconds: Int64(now / 1000))
            _ = metadata.change(nil, to: split, version: place.version)
            if chance(0.15) { cancelSplit(after: pick(10_000...3_000_000)) }
        }
    }

    private func cancelSplit(after delay: Microseconds) {
        after(delay) { [self] in
            guard let split = metadata.split, split.step.holdsReplaced else { return }
            var cancelled = split
            cancelled.isCancelled = true
            _ = metadata.change(split, to: cancelled, version: 0)
        }
    }

    /// The parts have the shard's place.
    func cutOver(_ parent: ShardPlace, to parts: [ShardPlace]) {
        counts.note("cut-over")
        let whole = shards[Int(parent.number)].oracle
        whole.ends(parent)
        for place in parts { shards[Int(place.number)].oracle.begins(self, shards[Int(place.number)], place, after: whole) }
        if now < faults.end, chance(bug == .forgetsSeals ? 1 : 0.4) { bringBack(workers[Int(parent.inSync[pick(0...parent.inSync.count - 1)].value) - 1]) }
    }

    /// A worker comes back with the files of the whole, and hears of no place while clients with old maps turn to it.
    private func bringBack(_ worker: SimulatedWorker) {
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
    func advanceSplit() {
        guard isLeading, !isSplitting, let split, !split.step.hasEnded else { return }
        isSplitting = true
        decide(split, isClosing: false)
    }

    private func decide(_ split: Split, isClosing: Bool) {
        let place = places[split.parent.number]
        var order = split.order
        order.isClosing = isClosing
        let isAsking = split.step == .preparing || split.step == .sealing
        askAll(isAsking ? place?.inSync.filter(split.nodes.contains) ?? [] : []) { $0.obey(order) } then: { [self] progress in
            guard isLeading, self.split == split, places[split.parent.number]?.version == place?.version else { return isSplitting = false }
            var now = Splitter.Circumstances(place: place)
            now.age = .milliseconds(simulation.now / 1000 - Int(split.changedMilliseconds))
            now.progress = progress
            if simulation.bug == .asksPrimariesOnly, let place, let primary = progress[place.primary] {
                for node in place.inSync { now.progress[node]?.children = primary.children }
            }
            if dropped.step != split.step { dropped = (split.step, []) }
            now.undropped = split.nodes.filter { !dropped.nodes.contains($0) }
            now.isServed = isServed(split.children.map(\.number), since: split.sealEpoch)
            carryOut(Splitter.next(split, now), split, place, isClosing: isClosing)
        }
    }

    private func carryOut(_ order: Splitter.Order, _ split: Split, _ place: ShardPlace?, isClosing: Bool) {
        switch order {
        case .change(var next, let places):
            next.changedMilliseconds = Int64(simulation.now / 1000)
            guard let term = machine.term else { return isSplitting = false }
            ask { [simulation] in
                simulation.metadata.isLed(by: term) && simulation.metadata.change(split, to: next, version: place?.version ?? 0, places)
            } then: { [self] _ in isSplitting = false }
        case .close where !isClosing: decide(split, isClosing: true)
        case .resign:
            if let place { receive(.resigned(split.parent, place.primary, epoch: place.epoch)) }
            isSplitting = false
        case .drop(let nodes):
            drop(split.dropped, in: split.step, on: nodes)
            isSplitting = false
        case .close, .wait, .nothing: isSplitting = false
        }
    }

    /// Asks the workers, and waits for their answers for a while.
    func askAll<Progress>(
        _ nodes: [NodeID], _ question: @escaping (SimulatedWorker) -> Progress?, then: @escaping ([NodeID: Progress]) -> Void
    ) {
        let life = life
        var answers: [NodeID: Progress] = [:]
        var isOver = false
        func end() {
            guard !isOver, isUp, self.life == life else { return }
            isOver = true
            then(answers)
        }
        for node in nodes {
            let worker = simulation.workers[Int(node.value) - 1]
            simulation.network.send(from: endpoint, to: worker.endpoint) { [self] in
                guard let progress = question(worker) else { return }
                simulation.network.send(from: worker.endpoint, to: endpoint) {
                    answers[node] = progress
                    if answers.count == nodes.count { end() }
                }
            }
        }
        simulation.after(nodes.isEmpty ? 0 : 500_000, end)
    }

    func isServed(_ numbers: [UInt32], since epoch: UInt64) -> Bool {
        let parts = places.values.filter { numbers.contains($0.number) }
        return parts.allSatisfy { place in
            let living = place.inSync.filter { machine.isAlive($0, now: now) }
            return !living.isEmpty
                && living.allSatisfy { (simulation.workers[Int($0.value) - 1].replicas[place.number]?.knownEpoch ?? 0) >= epoch }
        }
    }

    func drop(_ shards: [ShardID], in step: ReshardingStep, on nodes: [NodeID]) {
        let life = life
        for node in nodes {
            let worker = simulation.workers[Int(node.value) - 1]
            simulation.network.send(from: endpoint, to: worker.endpoint) { [self] in
                guard worker.isUp else { return }
                for shard in shards { worker.drop(shard.number) }
                simulation.network.send(from: worker.endpoint, to: endpoint) { [self] in
                    guard isUp, self.life == life, dropped.step == step else { return }
                    dropped.nodes.insert(node)
                }
            }
        }
    }
}

// MARK: The workers

extension SimulatedWorker {
    /// What the leader asks of a replica whose shard is being split; nil when it is not here.
    func obey(_ order: SplitOrder) -> SplitProgress? {
        guard isUp, let whole = replicas[order.parent.number] else { return nil }
        let mayLead = order.sealEpoch > 0 && whole.leads(before: order.sealEpoch)
        if mayLead, simulation.bug != .sealsNothing { whole.seal(before: order.sealEpoch) }
        if order.isClosing { whole.close(before: order.sealEpoch) }
        for child in order.children where replicas[child.number] == nil { follow(make(simulation.shards[Int(child.number)]), whole) }
        let isSealed = mayLead && (simulation.bug == .sealsNothing || whole.seal.storedWrites >= order.sealEpoch)
        return SplitProgress(
            end: UInt64(whole.disk.end), isSealed: isSealed, isClosed: order.sealEpoch > 0 && whole.seal.storedReads >= order.sealEpoch,
            children: order.children.map { child in
                SplitProgress.Child(isReady: replicas[child.number] != nil, end: UInt64(replicas[child.number]?.disk.durable ?? 0))
            })
    }

    /// After a start: parts that have no place yet go on following.
    func resumeParts() {
        guard let whole = replicas[0] else { return }
        for part in hosted where !part.isBorn { follow(part, whole) }
    }

    /// Until it has a place, or one of the two is no more: takes over what is committed, in pieces.
    private func follow(_ part: SimulatedReplica, _ whole: SimulatedReplica) {
        let life = life
        simulation.after(simulation.pick(2_000...60_000)) { [self] in
            guard isUp, life == self.life, !part.isBorn, replicas[part.shard.number] === part, replicas[whole.shard.number] === whole else { return }
            step(part, whole)
            follow(part, whole)
        }
    }

    private func step(_ part: SimulatedReplica, _ whole: SimulatedReplica) {
        let end = part.disk.end
        if end < whole.disk.base || (end == 0 && whole.disk.checkpointed > 0) {
            // Made of the whole's newest checkpoint, also when the log begins too late.
            let records = whole.disk.records.prefix(whole.disk.checkpointed)
            return part.disk.install(simulation.bug == .keepsOthersPoints ? Array(records) : records.map(part.shard.part))
        }
        let last = min(simulation.bug == .followsUncommitted ? whole.disk.end : whole.applied, end + simulation.pick(1...40))
        if last > end { part.disk.append(whole.disk.records[end..<last].map(part.shard.part)) }
    }
}

extension SimulatedReplica {
    /// Whether no other node appends in the epoch before this one.
    func leads(before epoch: UInt64) -> Bool { isUp && machine.primary.map { $0.epoch + 1 == epoch } ?? false }

    func seal(before epoch: UInt64) {
        seal.raise(writes: epoch)
        store { $0.seal.stored(writes: epoch) }
    }

    func close(before epoch: UInt64) {
        seal.raise(reads: epoch)
        store { $0.seal.stored(reads: epoch) }
    }

    private func store(_ change: @escaping (SimulatedReplica) -> Void) {
        let life = worker.life
        simulation.after(disk.latency) { [self] in if worker.life == life { change(self) } }
    }
}
