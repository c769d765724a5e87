import NeedletailCluster
import NeedletailCore

/// Knows everything, and says when something is not as it must be.
final class Oracle {
    /// What was committed, by sequence, as the first replica that knew said.
    private(set) var truth: [Record] = []
    private var committedOperations: Set<Int> = []
    private var operations = 0
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

    func newOperation() -> Int {
        operations += 1
        return operations
    }

    // MARK: While it runs

    /// A replica takes everything up to a sequence for committed.
    func commits(_ simulation: Simulation, _ worker: SimulatedWorker, through sequence: Int) {
        var next = worker.applied
        while next < sequence {
            let record = worker.disk.records[next]
            next += 1
            if next <= truth.count {
                if truth[next - 1] != record {
                    return simulation.fail("worker \(worker.id.value) takes \(record) at \(next) for committed, which is \(truth[next - 1])")
                }
            } else {
                truth.append(record)
                sequenceOf[record.operation] = next
                if !committedOperations.insert(record.operation).inserted {
                    return simulation.fail("operation \(record.operation) is applied twice, again at \(next)")
                }
            }
        }
    }

    /// A replica begins to lead.
    func leads(_ simulation: Simulation, _ worker: SimulatedWorker) {
        // Who takes up an epoch that is over cannot harm; should it commit something, `commits` tells.
        guard let epoch = worker.machine.primary?.epoch, epoch == simulation.metadata.place.epoch else { return }
        if worker.disk.end < truth.count { return simulation.fail("worker \(worker.id.value) leads in \(epoch) without \(worker.disk.end + 1)") }
        for (index, record) in truth.enumerated() where worker.disk.records[index] != record {
            return simulation.fail("worker \(worker.id.value) leads in \(epoch) with another \(index + 1)")
        }
    }

    /// A primary acknowledges a write.
    func acknowledges(_ simulation: Simulation, _ waiter: SimulatedWorker.Waiter, by worker: SimulatedWorker, epoch: UInt64) {
        switch waiter.consistency {
        case .allInSync:
            guard waiter.sequence <= truth.count, truth[waiter.sequence - 1] == waiter.record else {
                return simulation.fail("operation \(waiter.record.operation) was acknowledged at \(waiter.sequence) and is not committed")
            }
        case .majority: acknowledgesMajority(simulation, waiter, epoch)
        case .primary: break
        }
    }

    /// A primary that was replaced may still acknowledge what it and other lost members have, but nothing that one has who lived and was
    /// asked before its successor was promoted.
    private func acknowledgesMajority(_ simulation: Simulation, _ waiter: SimulatedWorker.Waiter, _ epoch: UInt64) {
        majority.append((waiter.record, waiter.sequence, epoch))
        let place = simulation.metadata.place
        guard place.epoch == epoch + 1, let living = livingAtPromotion[place.epoch] else { return }
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
    func reads(_ simulation: Simulation, key: Int, _ result: SimulatedClient.ReadResult, floor: Int, from worker: SimulatedWorker) {
        simulation.counts.note("read")
        guard result.sequence >= floor else {
            return simulation.fail("a read at worker \(worker.id.value) saw \(result.sequence) after \(floor) was acknowledged or seen")
        }
        guard result.sequence <= truth.count else { return simulation.fail("a read saw \(result.sequence), which is not committed") }
        let expected = truth.prefix(result.sequence).last { $0.key == key }?.operation
        if expected != result.operation {
            return simulation.fail("a read of \(key) at \(result.sequence) found \(result.operation ?? 0), not \(expected ?? 0)")
        }
        readFloor = max(readFloor, result.sequence)
    }

    // MARK: Changes of the shard's place

    func changed(_ simulation: Simulation, from old: ShardPlace, to new: ShardPlace) {
        for member in new.inSync where member != new.primary || new.epoch == old.epoch {
            let disk = simulation.workers[Int(member.value) - 1].disk
            if disk.durable < truth.count || !zip(truth, disk.records).allSatisfy({ $0 == $1 }) {
                return simulation.fail("worker \(member.value) is in sync with \(disk.durable) records, and \(truth.count) are committed")
            }
        }
        if places.isEmpty { places[Int(old.version)] = old }
        places[Int(new.version)] = new
        lastPlaces[new.epoch] = new
        let (before, after) = (Set(old.inSync), Set(new.inSync))
        if new.epoch != old.epoch {
            simulation.counts.note("promotion")
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
        guard simulation.metadata.place.version == old.version else { return }
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

    private func forgetCommitted() { majority.removeAll { $0.sequence <= truth.count && truth[$0.sequence - 1] == $0.record } }

    private func holds(_ simulation: Simulation, _ node: NodeID, _ record: Record, _ sequence: Int, durable: Bool) -> Bool {
        let disk = simulation.workers[Int(node.value) - 1].disk
        return sequence <= (durable ? disk.durable : disk.end) && disk.records[sequence - 1] == record
    }

    /// A place that was, as somebody may believe in who was away.
    func somePlace(_ simulation: Simulation) -> ShardPlace {
        let present = simulation.metadata.place
        let version = Int(present.version) - simulation.pick(0...4)
        return (simulation.chance(0.5) ? lastPlaces[present.epoch - 1] : places[version]) ?? present
    }

    // MARK: At the end

    /// Why not all is well again, or nil.
    func unhealed(_ simulation: Simulation) -> String? {
        let place = simulation.metadata.place
        if place.inSync != place.replicas { return "in sync are \(place.inSync.map(\.value)) of \(place.replicas.map(\.value))" }
        for client in simulation.clients where !client.isIdle { return "client \(client.index) waits for its write" }
        for worker in simulation.workers {
            if worker.disk.records.count != truth.count { return "worker \(worker.id.value) has \(worker.disk.end) of \(truth.count)" }
            if worker.applied != truth.count { return "worker \(worker.id.value) sees \(worker.applied) of \(truth.count)" }
        }
        return nil
    }

    func judgeEnd(_ simulation: Simulation) {
        for worker in simulation.workers where worker.disk.records != truth {
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
