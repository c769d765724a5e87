import NeedletailCluster
import NeedletailCore

/// Knows everything of one shard, and says when something is not as it must be.
final class Oracle {
    private let number: UInt32
    /// Its parts have its place.
    private(set) var isOver = false
    /// Of a merged shard: what there was before is in every replica up to here, in an order of its own.
    private(set) var ownOrderEnd = 0
    private var taken: Set<Record> = []
    /// What was committed, by sequence, as the first replica that knew said.
    private(set) var truth: [Record] = []
    private var committedOperations: Set<Int> = []
    /// Acknowledged by a majority and maybe not committed: with the epoch in which they were.
    private var majority: [(record: Record, sequence: Int, epoch: UInt64)] = []
    /// Acknowledged to a client by all in sync.
    private var answeredAll: [Record] = []
    /// What a read that begins now must see at least.
    private(set) var readFloor = 0
    private var sequenceOf: [Int: Int] = [:]
    private(set) var places: [Int: ShardPlace] = [:]
    private var lastPlaces: [UInt64: ShardPlace] = [:]
    private var livingAtPromotion: [UInt64: [NodeID]] = [:]

    init(_ number: UInt32) { self.number = number }

    private func replica(_ simulation: Simulation, _ node: NodeID) -> SimulatedReplica? { simulation.workers[Int(node.value) - 1].replicas[number] }

    // MARK: While it runs

    /// A replica takes everything up to a sequence for committed.
    func commits(_ simulation: Simulation, _ worker: SimulatedReplica, through sequence: Int) {
        var next = worker.applied
        while next < sequence {
            let record = worker.disk.records[next]
            next += 1
            if next <= truth.count {
                if !isTrue(record, at: next) {
                    return simulation.fail("worker \(worker.id.value) takes \(record) at \(next) for committed, which is \(truth[next - 1])")
                }
            } else {
                if isOver { return simulation.fail("worker \(worker.id.value) commits \(record) at \(next) after the parts took the shard's place") }
                truth.append(record)
                // What a part has of a record that concerns others.
                if record.operation == 0 { continue }
                sequenceOf[record.operation] = next
                if !committedOperations.insert(record.operation).inserted {
                    return simulation.fail("operation \(record.operation) is applied twice, again at \(next)")
                }
            }
        }
    }

    /// A replica begins to lead.
    func leads(_ simulation: Simulation, _ worker: SimulatedReplica) {
        // Who takes up an epoch that is over cannot harm; should it commit something, `commits` tells.
        guard let epoch = worker.machine.primary?.epoch, epoch == simulation.metadata.places[number]?.epoch else { return }
        if worker.disk.end < truth.count { return simulation.fail("worker \(worker.id.value) leads in \(epoch) without \(worker.disk.end + 1)") }
        for index in truth.indices where !isTrue(worker.disk.records[index], at: index + 1) {
            return simulation.fail("worker \(worker.id.value) leads in \(epoch) with another \(index + 1)")
        }
    }

    /// A primary acknowledges a write.
    func acknowledges(_ simulation: Simulation, _ waiter: SimulatedReplica.Waiter, by worker: SimulatedReplica, epoch: UInt64) {
        switch waiter.consistency {
        case .allInSync:
            guard waiter.sequence <= truth.count, isTrue(waiter.record, at: waiter.sequence) else {
                return simulation.fail("operation \(waiter.record.operation) was acknowledged at \(waiter.sequence) and is not committed")
            }
        case .majority: acknowledgesMajority(simulation, waiter, epoch)
        case .primary: break
        }
    }

    /// A primary that was replaced may still acknowledge what it and other lost members have, but nothing that one has who lived and was
    /// asked before its successor was promoted.
    private func acknowledgesMajority(_ simulation: Simulation, _ waiter: SimulatedReplica.Waiter, _ epoch: UInt64) {
        majority.append((waiter.record, waiter.sequence, epoch))
        guard let place = simulation.metadata.places[number], place.epoch == epoch + 1, let living = livingAtPromotion[place.epoch] else { return }
        let holders = living.filter { holds(simulation, $0, waiter.record, waiter.sequence, durable: true) }
        if !holders.isEmpty, !holds(simulation, place.primary, waiter.record, waiter.sequence, durable: false) {
            simulation.fail("operation \(waiter.record.operation) was acknowledged in epoch \(epoch) with \(holders.map(\.value)), who had been fenced")
        }
    }

    /// A client learns that its write is done.
    func answered(_ record: Record, _ consistency: WriteConsistency) {
        guard consistency == .allInSync else { return }
        answeredAll.append(record)
        readFloor = max(readFloor, sequenceOf[record.operation] ?? 0)
    }

    /// A client learns what a primary read found. Since every state is a prefix of the one truth, reads are linearizable when each sees
    /// what was acknowledged, or seen by another read, before it began.
    func reads(_ simulation: Simulation, key: Int, _ result: SimulatedClient.ReadResult, floor: Int, from worker: SimulatedReplica) {
        simulation.counts.note("read")
        guard result.sequence >= floor else {
            return simulation.fail("a read at worker \(worker.id.value) saw \(result.sequence) after \(floor) was acknowledged or seen")
        }
        guard result.sequence <= truth.count else { return simulation.fail("a read saw \(result.sequence), which is not committed") }
        if result.sequence < ownOrderEnd { return simulation.fail("a read saw \(result.sequence) of \(ownOrderEnd) that were there before the merge") }
        let expected = truth.prefix(result.sequence).last { $0.key == key }?.operation
        if expected != result.operation {
            return simulation.fail("a read of \(key) at \(result.sequence) found \(result.operation ?? 0), not \(expected ?? 0)")
        }
        readFloor = max(readFloor, result.sequence)
    }

    func isRead(through sequence: Int) { readFloor = max(readFloor, sequence) }

    // MARK: Changes of the shard's place

    func changed(_ simulation: Simulation, from old: ShardPlace, to new: ShardPlace) {
        for member in new.inSync where member != new.primary || new.epoch == old.epoch {
            if !hasAll(simulation, member) { return }
        }
        if places.isEmpty { places[Int(old.version)] = old }
        places[Int(new.version)] = new
        lastPlaces[new.epoch] = new
        let (before, after) = (Set(old.inSync), Set(new.inSync))
        if new.epoch != old.epoch {
            simulation.counts.note("promotion")
            // Acknowledged since the promotion was decided, by a primary and others that were taken for lost.
            let living = livingAtPromotion[new.epoch] ?? []
            majority.removeAll { write in
                write.epoch < new.epoch
                    && !([new.primary] + living).contains { holds(simulation, $0, write.record, write.sequence, durable: $0 != new.primary) }
            }
            return
        }
        simulation.counts.note("shrink", before.subtracting(after).count)
        simulation.counts.note("join", after.subtracting(before).count)
        if before == after, old.replicas == new.replicas { simulation.counts.note("change that only ends others") }
        forgetCommitted()
        // A set of the same epoch keeps what a majority acknowledged.
        for write in majority where write.epoch == new.epoch {
            let holders = new.inSync.filter { holds(simulation, $0, write.record, write.sequence, durable: true) }
            if holders.count <= new.inSync.count / 2 {
                return simulation.fail("operation \(write.record.operation) of a majority is on \(holders.map(\.value)) of \(new.inSync.map(\.value))")
            }
        }
    }

    /// What a majority acknowledged is lost only when all members that have it are.
    func promoting(_ simulation: Simulation, _ new: ShardPlace, from old: ShardPlace, living: [NodeID]) {
        guard simulation.metadata.places[number]?.version == old.version else { return }
        livingAtPromotion[new.epoch] = old.inSync.filter(living.contains)
        forgetCommitted()
        for write in majority where !holds(simulation, new.primary, write.record, write.sequence, durable: false) {
            let holders = old.inSync.filter { living.contains($0) && holds(simulation, $0, write.record, write.sequence, durable: true) }
            if !holders.isEmpty {
                return simulation.fail(
                    "operation \(write.record.operation) of a majority is not on \(new.primary.value), which is promoted, but on "
                        + "\(holders.map(\.value)), which live")
            }
            simulation.counts.note("majority write lost with all who had it")
        }
        majority.removeAll { !holds(simulation, new.primary, $0.record, $0.sequence, durable: false) }
    }

    private func forgetCommitted() { majority.removeAll { $0.sequence <= truth.count && isTrue($0.record, at: $0.sequence) } }

    private func holds(_ simulation: Simulation, _ node: NodeID, _ record: Record, _ sequence: Int, durable: Bool) -> Bool {
        guard let disk = replica(simulation, node)?.disk else { return false }
        return sequence <= (durable ? disk.durable : disk.end) && disk.records[sequence - 1] == record
    }

    /// A place that was, as somebody may believe in who was away.
    func somePlace(_ simulation: Simulation) -> ShardPlace {
        let present = lastPlace ?? simulation.metadata.places[number]!
        let version = Int(present.version) - simulation.pick(0...4)
        return (simulation.chance(0.5) ? lastPlaces[present.epoch - 1] : places[version]) ?? present
    }

    // MARK: Splits

    private var lastPlace: ShardPlace?

    private func hasAll(_ simulation: Simulation, _ member: NodeID) -> Bool {
        guard let disk = replica(simulation, member)?.disk, disk.durable >= truth.count, isTrue(disk.records) else {
            let durable = replica(simulation, member)?.disk.durable ?? 0
            simulation.fail("worker \(member.value) is in sync in shard \(number) with \(durable) records, and \(truth.count) are committed")
            return false
        }
        return true
    }

    /// The parts take the shard's place.
    func ends(_ place: ShardPlace) { (isOver, lastPlace) = (true, place) }

    /// A part takes the place of the whole: every member has all that was ever committed, of its own keys, and nothing else.
    func begins(_ simulation: Simulation, _ shard: SimulatedShard, _ place: ShardPlace, after whole: Oracle) {
        truth = whole.truth.map(shard.part)
        for (index, record) in truth.enumerated() where record.operation != 0 {
            sequenceOf[record.operation] = index + 1
            committedOperations.insert(record.operation)
        }
        readFloor = whole.readFloor
        answeredAll = whole.answeredAll.filter { shard.keys.contains($0.key) }
        majority = whole.majority.filter { shard.keys.contains($0.record.key) }
        places[Int(place.version)] = place
        lastPlaces[place.epoch] = place
        for member in place.inSync {
            guard hasAll(simulation, member) else { return }
            if let end = replica(simulation, member)?.disk.end, end > truth.count {
                return simulation.fail("worker \(member.value) has \(end) records of part \(number), and \(truth.count) are committed")
            }
        }
    }

    /// A client learns what any replica in sync answered. One of the whole may be behind, but not answer at all once a part has something that it
    /// has not.
    func readsHere(_ simulation: Simulation, _ result: SimulatedClient.ReadResult, floor: Int, of shard: SimulatedShard, from worker: SimulatedReplica) {
        simulation.counts.note("read of any replica")
        if result.sequence < ownOrderEnd { return simulation.fail("a read of any replica saw \(result.sequence) of \(ownOrderEnd) that were there before the merge") }
        let floor = self.floor(floor, of: shard)
        // One that had left the set is as old as the map by which it is asked, as in any shard.
        guard isOver, lastPlace?.inSync.contains(worker.id) == true else { return }
        if floor > truth.count { simulation.fail("worker \(worker.id.value) answered for the whole, at \(result.sequence), after a part had \(floor)") }
    }

    // MARK: At the end

    /// Why not all is well again, or nil.
    func unhealed(_ simulation: Simulation) -> String? {
        guard let place = simulation.metadata.places[number] else { return "the shard has no place" }
        if place.inSync != place.replicas { return "in sync are \(place.inSync.map(\.value)) of \(place.replicas.map(\.value))" }
        for client in simulation.clients where !client.isIdle { return "client \(client.index) waits for its write" }
        for worker in simulation.workers {
            guard let worker = worker.replicas[number] else { return "worker \(worker.id.value) has no replica of \(number)" }
            if worker.disk.records.count != truth.count { return "worker \(worker.id.value) has \(worker.disk.end) of \(truth.count)" }
            if worker.applied != truth.count { return "worker \(worker.id.value) sees \(worker.applied) of \(truth.count)" }
        }
        return nil
    }

    func judgeEnd(_ simulation: Simulation) {
        for worker in simulation.workers where !isTrue(worker.replicas[number]?.disk.records ?? [], isWhole: true) {
            return simulation.fail("the log of worker \(worker.id.value) is not what was committed")
        }
        for record in answeredAll where sequenceOf[record.operation] == nil {
            return simulation.fail("operation \(record.operation) was acknowledged and is lost")
        }
        forgetCommitted()
        for write in majority where sequenceOf[write.record.operation] == nil {
            return simulation.fail("operation \(write.record.operation) was acknowledged by a majority and is lost")
        }
        simulation.counts.note("write", truth.count)
    }
}

// MARK: Merges

extension Oracle {
    /// Whether a record at a sequence is what was committed there.
    func isTrue(_ record: Record, at sequence: Int) -> Bool {
        sequence <= ownOrderEnd ? taken.contains(record) : truth[sequence - 1] == record
    }

    /// - Parameter isWhole: whether the records have to be all that was committed, too.
    func isTrue(_ records: [Record], isWhole: Bool = false) -> Bool {
        guard isWhole ? records.count == truth.count : records.count >= truth.count else { return false }
        // Every one is there, and so each once.
        return taken.isSubset(of: records.prefix(ownOrderEnd)) && records[ownOrderEnd..<truth.count].elementsEqual(truth[ownOrderEnd...])
    }

    /// Two are made one: every member has all that was ever committed of both, once, and nothing else.
    func begins(_ simulation: Simulation, _ place: ShardPlace, after parents: [Oracle]) {
        truth = parents.flatMap { $0.truth.map(SimulatedShard.taken) }
        (ownOrderEnd, taken) = (truth.count, Set(truth))
        for (index, record) in truth.enumerated() {
            sequenceOf[record.operation] = index + 1
            committedOperations.insert(record.operation)
        }
        readFloor = ownOrderEnd
        answeredAll = parents.flatMap(\.answeredAll)
        places[Int(place.version)] = place
        lastPlaces[place.epoch] = place
        for member in place.inSync {
            guard hasAll(simulation, member) else { return }
            if let end = replica(simulation, member)?.disk.end, end > truth.count {
                return simulation.fail("worker \(member.value) has \(end) records of the merged shard, and \(truth.count) are committed")
            }
        }
        for parent in parents { parent.judgeMajority(simulation) }
    }

    /// What a majority acknowledged in the epoch that was sealed is committed.
    private func judgeMajority(_ simulation: Simulation) {
        forgetCommitted()
        for write in majority where write.epoch == lastPlace?.epoch {
            return simulation.fail("operation \(write.record.operation) was acknowledged by a majority and is not in the merged shard")
        }
    }

    /// A floor, as a read of one shard had it when it began, for an answer of this one. The merged shard has all that its parents had, and they have
    /// nothing of what it has got since.
    func floor(_ floor: Int, of shard: SimulatedShard) -> Int {
        if shard.oracle === self { return floor }
        if ownOrderEnd > 0 { return ownOrderEnd }
        let other = shard.oracle.ownOrderEnd
        return other == 0 ? floor : floor > other ? .max : 0
    }
}
