import NeedletailCluster
import NeedletailCore

/// What a client wrote.
struct Record: Hashable {
    var epoch: UInt64
    var operation: Int
    var key: Int
}

/// The disk under all replicas of a worker.
final class DiskHealth {
    var isSlow = false
    var isFull = false
}

/// A replica's log as `GroupCommitter` keeps it, and the promise beside it. A crash loses what was not synced, or only some of it; a commit
/// that fails takes back all that was not.
final class SimulatedDisk {
    private unowned let simulation: Simulation
    /// Every record from sequence 1 on: what lies before `base` is only in the checkpoint.
    private(set) var records: [Record] = []
    private(set) var durable = 0
    private(set) var base = 0
    private(set) var checkpointed = 0
    /// Of a merged shard: up to here the order of the records is this node's own.
    private(set) var ownOrderEnd = 0
    var promise = ReplicaPromise()
    /// What the disk really has, when it lies.
    private var synced = 0
    private var isCommitting = false
    /// Grows when what is under way no longer counts.
    private var generation = 0
    private let health: DiskHealth
    private var isSlow: Bool { health.isSlow }
    private var isFull: Bool { health.isFull }
    var onEvent: (ReplicaEvent) -> Void = { _ in }

    init(_ simulation: Simulation, _ health: DiskHealth) {
        self.simulation = simulation
        self.health = health
    }

    var end: Int { records.count }

    var history: EpochHistory {
        var history = EpochHistory()
        for (index, record) in records.enumerated() where record.epoch != history.lastEpoch || index + 1 == records.count {
            if index > 0 { history.append(epoch: records[index - 1].epoch, through: UInt64(index)) }
            history.append(epoch: record.epoch, through: UInt64(index + 1))
        }
        history.trim(through: UInt64(simulation.bug == .sharesOwnOrder ? base : max(base, ownOrderEnd)))
        return history
    }

    func append(_ new: some Sequence<Record>) {
        records.append(contentsOf: new)
        commit()
    }

    var latency: Int {
        isSlow ? simulation.pick(100_000...1_500_000) : simulation.pick(200...6_000)
    }

    private func commit() {
        guard !isCommitting, durable < records.count else { return }
        isCommitting = true
        let (last, current) = (records.count, generation)
        if simulation.bug == .acknowledgesBeforeSync {
            simulation.after(50) { [self] in
                guard generation == current else { return }
                isCommitting = false
                durable = max(durable, min(last, records.count))
                onEvent(.durable(through: UInt64(durable)))
                commit()
            }
            return simulation.after(latency) { [self] in if generation == current { synced = max(synced, min(last, records.count)) } }
        }
        simulation.after(latency) { [self] in
            guard generation == current else { return }
            isCommitting = false
            if isFull, simulation.chance(0.7) {
                simulation.counts.note("failed commit")
                records.removeLast(records.count - durable)
                return onEvent(.commitFailed(lastKept: UInt64(durable)))
            }
            durable = last
            onEvent(.durable(through: UInt64(durable)))
            commit()
        }
    }

    func persist(_ promise: ReplicaPromise) {
        let current = generation
        simulation.after(latency) { [self] in
            guard generation == current, !(isFull && simulation.chance(0.5)) else { return }
            self.promise.epoch = max(self.promise.epoch, promise.epoch)
            self.promise.led = max(self.promise.led, promise.led)
            onEvent(.persisted(promise))
        }
    }

    func cut(after sequence: Int) {
        records.removeLast(records.count - sequence)
        change()
    }

    func install(_ checkpoint: [Record]) {
        records = checkpoint
        (base, checkpointed, durable) = (records.count, records.count, records.count)
        change()
    }

    /// What was under way is over; what is left is synced.
    private func change() {
        generation += 1
        isCommitting = false
        durable = min(durable, records.count)
        synced = min(synced, records.count)
        let current = generation
        simulation.after(latency) { [self] in
            guard generation == current else { return }
            onEvent(.changed)
            commit()
        }
    }

    /// A checkpoint of what is applied, and maybe a shorter log.
    func checkpoint(applied: Int) {
        checkpointed = max(checkpointed, min(applied, durable))
        onEvent(.checkpointed(through: UInt64(checkpointed)))
        guard simulation.chance(0.7), base < checkpointed else { return }
        base = simulation.pick(base...checkpointed)
        onEvent(.trimmed(through: UInt64(base)))
    }

    /// What was under way ends here, and nobody hears of it: a part of a shard that is being split is opened as a replica of its own.
    /// - Parameter isMerged: all that is here came of others, in the order in which it came.
    func settle(isMerged: Bool) {
        generation += 1
        isCommitting = false
        records.removeLast(records.count - durable)
        if isMerged { ownOrderEnd = records.count }
    }

    func crash() {
        generation += 1
        isCommitting = false
        let sure = simulation.bug == .acknowledgesBeforeSync ? min(max(synced, checkpointed), records.count) : durable
        // Some of what was written and not synced may be there all the same.
        let kept = simulation.chance(0.5) ? sure : simulation.pick(sure...max(sure, records.count))
        records.removeLast(records.count - kept)
        (durable, synced) = (kept, kept)
        if simulation.bug == .forgetsPromises { promise = ReplicaPromise() }
    }
}
