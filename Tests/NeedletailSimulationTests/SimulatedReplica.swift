import NeedletailCluster
import NeedletailCore

/// One replica on a shard worker: performs what its `ReplicaMachine` decides, and serves clients.
final class SimulatedReplica {
    unowned let simulation: Simulation
    unowned let worker: SimulatedWorker
    let shard: SimulatedShard
    private(set) var machine: ReplicaMachine
    let disk: SimulatedDisk
    /// Whether the cluster gave it a place. Before, a part of a shard that is being split follows the whole.
    private(set) var isBorn: Bool
    private var isGone = false
    /// Of the newest place it heard of, which is on its disk.
    private(set) var knownEpoch: UInt64 = 0
    /// Epochs before these take no writes, and answer no reads; on the disk a little later.
    var seal = SimulatedSeal()
    /// It began without what its shard has: it answers no reads before it was in sync, or has a copy.
    var isUnfilled = false
    /// Of a merged replica: so many records do not count for what it has of its parents, where a rule is broken.
    var forgotten = 0

    /// The latest write of each key that searches see here, and how far they see.
    private var values: [Int: Int] = [:]
    private(set) var applied = 0
    private var sequences: [Int: Int] = [:]
    private var isIndexed = false
    private var waiters: [Waiter] = []

    private var streams: [StreamID: SimulatedStream] = [:]
    private var streamNumber: UInt64 = 0
    private var incoming: [Record] = []
    private var checkpoint: (stream: StreamID, records: [Record])?

    struct Waiter {
        var sequence: Int
        var record: Record
        var consistency: WriteConsistency
        var reply: (SimulatedClient.WriteResult) -> Void
    }

    var id: NodeID { worker.id }
    private var life: Int { worker.life }
    var isUp: Bool { worker.isUp && !isGone && isBorn }
    private var now: Duration { worker.now }
    private var endpoint: Endpoint { worker.endpoint }
    private func isLeaseHeld(_ epoch: UInt64) -> Bool { worker.isLeaseHeld(shard.id, epoch) }

    init(_ simulation: Simulation, _ worker: SimulatedWorker, _ shard: SimulatedShard, isBorn: Bool = true) {
        self.simulation = simulation
        self.worker = worker
        self.shard = shard
        self.isBorn = isBorn
        disk = SimulatedDisk(simulation, worker.health)
        machine = ReplicaMachine(node: worker.id, promise: ReplicaPromise(), log: ReplicaLogState(), firstStream: 0, settings: simulation.settings)
        disk.onEvent = { [unowned self] in deliver($0) }
    }

    // MARK: Life

    func start() {
        guard isBorn else { return }
        simulation.trace("worker \(id.value) starts with \(disk.end) records, promise \(disk.promise.epoch)/\(disk.promise.led)")
        machine = ReplicaMachine(
            node: id, promise: disk.promise, log: ReplicaLogState(history: disk.history, committed: UInt64(max(disk.checkpointed, disk.ownOrderEnd))),
            firstStream: streamNumber, settings: simulation.settings)
        rebuild(through: max(disk.checkpointed, disk.ownOrderEnd))
    }

    /// The shard has a place, and this replica one in it.
    func bear() {
        guard !isBorn else { return }
        isBorn = true
        disk.settle(isMerged: shard.number == SimulatedShard.merged)
        start()
    }

    func crash() {
        disk.crash()
        seal.crash(simulation)
        (waiters, incoming, checkpoint) = ([], [], nil)
        for stream in streams.values.sorted(by: { ($0.id.node, $0.id.number) < ($1.id.node, $1.id.number) }) {
            simulation.network.breakOff(stream)
        }
        streams = [:]
    }

    /// Its files are removed.
    func drop() {
        isGone = true
        for waiter in waiters { waiter.reply(.failed) }
        crash()
    }

    private func peer(_ index: Int) -> SimulatedReplica? { simulation.workers[index].replicas[shard.number] }

    // MARK: The machine

    func deliver(_ event: ReplicaEvent) {
        guard isUp, simulation.failure == nil else { return }
        if case .place(let place) = event {
            if worker.isDeaf { return }
            knownEpoch = max(knownEpoch, place.epoch)
            if place.inSync.contains(id) { isUnfilled = false }
        }
        for action in machine.receive(event, now: now) { perform(action) }
        settleWaiters()
    }

    func fence(_ fence: Fence) {
        guard isUp else { return }
        if simulation.bug == .ignoresFences {
            let log = machine.log
            return tellCoordinators(
                .fenced(shard.id, FenceAnswer(fence: fence, node: id, lastEpoch: log.history.lastEpoch, end: log.end)))
        }
        deliver(.fence(fence))
    }

    func streamEnded(_ stream: StreamID) {
        streams[stream] = nil
        deliver(.streamEnded(stream))
    }

    private func tellCoordinators(_ event: FailoverMachine.Event) {
        for coordinator in simulation.coordinators {
            simulation.network.send(from: endpoint, to: .coordinator(coordinator.index)) { coordinator.receive(event) }
        }
    }

    private func perform(_ action: ReplicaAction) {
        switch action {
        case .persist(let promise): disk.persist(promise)
        case .fenced(let answer): tellCoordinators(.fenced(shard.id, answer))
        case .fenceRefused(let fence, _): tellCoordinators(.fenceRefused(shard.id, id, fence))
        case .resign(let epoch):
            simulation.counts.note("resignation")
            simulation.trace("worker \(id.value) resigns epoch \(epoch)")
            tellCoordinators(.resigned(shard.id, id, epoch: epoch))
        case .roleChanged: changeRole()
        case .answer(let stream, let answer): self.answer(stream, answer)
        case .send(let order): carryOut(order)
        case .verify(let stream): verify(stream)
        case .propose(let proposal): propose(proposal)
        case .open(let follow, let primary): open(follow, to: Int(primary.value) - 1)
        case .cut(let sequence):
            simulation.counts.note("cut")
            simulation.trace("worker \(id.value) cuts \(disk.end) after \(sequence)")
            isIndexed = false
            disk.cut(after: Int(sequence))
        case .append(let first, let last):
            guard Int(first) == disk.end + 1, incoming.count == Int(last - first) + 1 else {
                return simulation.fail("worker \(id.value) appends \(first)...\(last) behind \(disk.end)")
            }
            isIndexed = false
            disk.append(incoming)
        case .acknowledge(let stream, let durable): acknowledge(stream, durable)
        case .transfer(let stream, let primary): transfer(stream, from: Int(primary.value) - 1)
        case .install(let stream):
            guard let checkpoint, checkpoint.stream == stream else { return simulation.fail("worker \(id.value) installs what is not there") }
            simulation.counts.note("transfer")
            simulation.trace("worker \(id.value) installs a checkpoint at \(checkpoint.records.count)")
            disk.install(checkpoint.records)
            isUnfilled = false
            rebuild(through: checkpoint.records.count)
        case .apply(let sequence): apply(through: Int(sequence))
        case .close(let id): if let stream = streams.removeValue(forKey: id) { simulation.network.breakOff(stream) }
        case .alarm(let error): simulation.fail("worker \(id.value) raised an alarm: \(error)")
        }
    }

    private func changeRole() {
        simulation.trace("worker \(id.value) is \(roleName)")
        for waiter in waiters { waiter.reply(.failed) }
        waiters = []
        isIndexed = false
        if machine.primary != nil { shard.oracle.leads(simulation, self) }
    }

    private var roleName: String {
        switch machine.role {
        case .waiting: "waiting"
        case .primary(let machine): "primary in epoch \(machine.epoch) of \(disk.end) records"
        case .backup(let machine): "backup in epoch \(machine.epoch)"
        }
    }

    // MARK: What searches see

    private func apply(through sequence: Int) {
        guard sequence <= disk.end else { return simulation.fail("worker \(id.value) applies \(sequence) of \(disk.end)") }
        shard.oracle.commits(simulation, self, through: sequence)
        while applied < sequence {
            applied += 1
            values[disk.records[applied - 1].key] = disk.records[applied - 1].operation
        }
        if simulation.chance(0.02) { disk.checkpoint(applied: applied) }
    }

    private func rebuild(through sequence: Int) {
        (values, applied, isIndexed) = ([:], 0, false)
        for record in disk.records.prefix(sequence) { values[record.key] = record.operation }
        applied = sequence
    }

    // MARK: Clients

    func write(_ record: Record, _ consistency: WriteConsistency, epoch: UInt64, reply: @escaping (SimulatedClient.WriteResult) -> Void) {
        guard isUp else { return }
        guard let primary = machine.primary else { return reply(.failed) }
        do {
            try seal.checkWrites(primary.epoch)
            try primary.admit(epoch: epoch, minInSync: simulation.minInSync, leaseHeld: isLeaseHeld(primary.epoch))
        } catch {
            simulation.counts.note("write refused: \(error.code)")
            return reply(.failed)
        }
        index(disk.records)
        var record = record
        record.epoch = primary.epoch
        if let sequence = sequences[record.operation] {
            simulation.counts.note("retry of an operation in the log")
            waiters.append(Waiter(sequence: sequence, record: disk.records[sequence - 1], consistency: consistency, reply: reply))
        } else {
            disk.append(CollectionOfOne(record))
            sequences[record.operation] = disk.end
            waiters.append(Waiter(sequence: disk.end, record: record, consistency: consistency, reply: reply))
            deliver(.appended(through: UInt64(disk.end)))
        }
        settleWaiters()
    }

    func read(_ key: Int, epoch: UInt64, reply: @escaping (SimulatedClient.ReadResult?) -> Void) {
        guard isUp else { return }
        do {
            guard let primary = machine.primary else { return reply(nil) }
            try seal.checkReads(primary.epoch, simulation)
            try primary.admitRead(epoch: epoch, leaseHeld: isLeaseHeld(primary.epoch))
            reply(SimulatedClient.ReadResult(operation: values[key], sequence: applied))
        } catch {
            reply(nil)
        }
    }

    /// As a read of any replica in sync: whatever searches see here.
    func readHere(_ key: Int) -> SimulatedClient.ReadResult? {
        guard isUp, !isUnfilled, (try? seal.checkReads(knownEpoch, simulation)) != nil else { return nil }
        return SimulatedClient.ReadResult(operation: values[key], sequence: applied)
    }

    /// The operations in the log, so that a retry is answered and not applied again.
    private func index(_ records: [Record]) {
        guard !isIndexed else { return }
        isIndexed = true
        sequences = [:]
        for (index, record) in records.enumerated() { sequences[record.operation] = index + 1 }
    }

    private func settleWaiters() {
        guard !waiters.isEmpty, let primary = machine.primary else { return }
        var left: [Waiter] = []
        for waiter in waiters {
            let reached =
                switch waiter.consistency {
                case .allInSync: primary.committed
                case .majority: primary.acknowledgedMajority
                case .primary: primary.log.durable
                }
            if waiter.sequence > disk.end || disk.records[waiter.sequence - 1] != waiter.record {
                isIndexed = false
                waiter.reply(.failed)
            } else if waiter.sequence <= Int(reached) {
                shard.oracle.acknowledges(simulation, waiter, by: self, epoch: primary.epoch)
                waiter.reply(.done)
            } else {
                left.append(waiter)
            }
        }
        waiters = left
    }

    // MARK: Streams, from the backup

    private func open(_ follow: Follow, to index: Int) {
        streamNumber = max(streamNumber, follow.stream.number)
        let stream = SimulatedStream(
            id: follow.stream, shard: shard.number, backup: endpoint, backupLife: life, primary: .worker(index), primaryLife: simulation.workers[index].life)
        streams[follow.stream] = stream
        simulation.network.send(stream, from: endpoint) { [self] in
            guard let primary = peer(index), primary.isUp else { return simulation.network.breakOff(stream) }
            stream.primaryLife = primary.life
            primary.streams[follow.stream] = stream
            primary.deliver(.follow(follow))
        }
    }

    private func acknowledge(_ id: StreamID, _ durable: UInt64) {
        guard let stream = streams[id], case .worker(let index) = stream.primary else { return }
        simulation.network.send(stream, from: endpoint) { [self] in
            guard let primary = peer(index), primary.isUp, primary.life == stream.primaryLife else { return }
            primary.deliver(.acknowledged(id, durable: durable))
        }
    }

    private func transfer(_ id: StreamID, from index: Int) {
        let life = life
        var isOver = false
        simulation.trace("worker \(self.id.value) asks \(index + 1) for a checkpoint")
        func end(_ event: ReplicaEvent) {
            guard !isOver, isUp, self.life == life else { return }
            isOver = true
            deliver(event)
            checkpoint = nil
        }
        simulation.network.send(from: endpoint, to: .worker(index)) { [self] in
            guard let primary = peer(index), primary.isUp else { return }
            // Of a merged shard a checkpoint that has less than all of the parents is of no use to others: another one is waited for.
            let records = Array(primary.disk.records.prefix(max(primary.disk.checkpointed, primary.disk.ownOrderEnd)))
            simulation.after(simulation.pick(1_000...600_000)) { [self] in
                simulation.network.send(from: primary.endpoint, to: endpoint) { [self] in
                    guard !isOver, self.life == life else { return }
                    var history = EpochHistory()
                    for (index, record) in records.enumerated() { history.append(epoch: record.epoch, through: UInt64(index + 1)) }
                    history.trim(through: UInt64(records.count))
                    checkpoint = (id, records)
                    end(.transferred(id, history))
                }
            }
        }
        simulation.after(1_500_000) { end(.transferFailed(id)) }
    }

    // MARK: Streams, from the primary

    private func answer(_ id: StreamID, _ answer: FollowAnswer) {
        guard let stream = streams[id] else { return }
        if answer == .transfer { simulation.counts.note("told to transfer") }
        toBackup(stream) { $0.deliver(.answered(id, answer)) }
    }

    private func toBackup(_ stream: SimulatedStream, _ body: @escaping (SimulatedReplica) -> Void) {
        guard case .worker(let index) = stream.backup else { return }
        simulation.network.send(stream, from: endpoint) { [self] in
            if let backup = peer(index), backup.isUp, backup.life == stream.backupLife { body(backup) }
        }
    }

    /// Puts the records on the stream a moment later, as a task of its own would.
    private func carryOut(_ order: SendOrder) {
        let life = life
        simulation.after(simulation.pick(10...800)) { [self] in
            guard isUp, life == self.life, let stream = streams[order.stream] else { return }
            let (previous, end) = (Int(order.previous), disk.end)
            guard previous >= disk.base || order.budgetBytes == 0 else { return deliver(.streamEnded(order.stream)) }
            let last = min(end, previous + order.budgetBytes)
            guard last >= previous else { return simulation.fail("worker \(id.value) was told to send after \(previous), it has \(end)") }
            let records = Array(disk.records[previous..<last])
            let message = StreamedRecords(
                epoch: order.epoch, previous: order.previous, committed: order.committed,
                runs: machine.log.history.runs(after: order.previous, through: UInt64(last)), last: UInt64(last))
            toBackup(stream) { backup in
                backup.incoming = records
                backup.deliver(.received(order.stream, message))
            }
            deliver(.sent(order.stream, through: UInt64(last), sizeBytes: records.count))
        }
    }

    /// Compares what is durable there with the same part here. Now and then says "different", as a wrong recall would.
    private func verify(_ id: StreamID) {
        let life = life
        simulation.after(simulation.pick(1_000...200_000)) { [self] in
            guard isUp, life == self.life else { return }
            deliver(.verified(id, isEqual: !simulation.chance(0.1)))
        }
    }

    private func propose(_ proposal: Proposal) {
        let life = life
        simulation.trace("worker \(id.value) proposes \(proposal.inSync.map(\.value)) from version \(proposal.version)")
        func failed() {
            if isUp, life == self.life { deliver(.proposalFailed(proposal)) }
        }
        if let leader = worker.leader {
            let coordinator = simulation.coordinators[leader]
            simulation.network.send(from: endpoint, to: .coordinator(leader)) { [self] in
                coordinator.propose(proposal, of: shard.id, from: worker.index) { [self] in
                    simulation.network.send(from: .coordinator(leader), to: endpoint, failed)
                }
            }
        }
        simulation.after(900_000, failed)
    }
}
