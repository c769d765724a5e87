public import NeedletailCore

/// Decides for a replica that follows its shard's primary in one epoch: opens the stream, cuts or replaces its own log until it agrees
/// with the primary's, takes records, says what is durable.
///
/// After Lin et al., "PacificA", 2008, section 2.2, where a backup's prepared list is here the log's part after `committed`; with the
/// stream opened by the backup, as replicas of Kafka fetch (KIP-101), since it knows where its log ends.
public struct BackupMachine: Sendable {
    enum State: Sendable {
        case idle(until: Duration)
        /// Asked, not answered.
        case opening(StreamID)
        /// The log is being cut to where it agrees with the primary's.
        case cutting(StreamID)
        case streaming(StreamID)
        case transferring(StreamID)
    }

    public let node: NodeID
    public let epoch: UInt64
    public let primary: NodeID
    public let settings: ReplicationSettings
    public internal(set) var log: ReplicaLogState
    /// What the replica promised; above `epoch` when a failover was begun and not finished.
    let promised: UInt64
    var state: State
    /// The number of the last stream.
    private(set) var number: UInt64
    private var heardAt: Duration
    /// Committed as the primary says, and in our log; maybe not durable here yet.
    private var known: UInt64
    private var toldDurable: UInt64 = 0

    /// - Parameter number: of the last stream that this replica opened.
    public init(
        node: NodeID, place: ShardPlace, promised: UInt64, log: ReplicaLogState, number: UInt64, settings: ReplicationSettings, now: Duration
    ) {
        precondition(place.primary != node, "a primary does not follow itself")
        self.node = node
        (epoch, primary) = (place.epoch, place.primary)
        self.promised = promised
        self.log = log
        self.number = number
        self.settings = settings
        state = .idle(until: now)
        heardAt = now
        known = log.committed
    }

    public mutating func receive(_ event: ReplicaEvent, now: Duration) -> [ReplicaAction] {
        var actions: [ReplicaAction] = []
        switch event {
        case .answered(let stream, let answer):
            if case .opening(stream) = state { take(answer, stream, now: now, &actions) }
        case .received(let stream, let records):
            if case .streaming(stream) = state { take(records, stream, now: now, &actions) }
        case .durable(let sequence): log.becomeDurable(through: sequence)
        case .commitFailed(let lastKept):
            log.lose(after: lastKept)
            leave(now: now, &actions)
        case .trimmed(let sequence): log.history.trim(through: sequence)
        case .checkpointed(let sequence): log.checkpointed = sequence
        case .transferred(let stream, let history):
            if case .transferring(stream) = state { install(stream, history, now: now, &actions) }
        case .transferFailed(let stream):
            if case .transferring(stream) = state { state = .idle(until: now + settings.retry) }
        case .streamEnded(let stream): end(stream, now: now)
        case .tick: tick(now: now, &actions)
        case .place, .fence, .persisted, .appended, .logBroken, .follow, .sent, .acknowledged, .verified, .differs, .handOver, .proposalFailed: break
        case .changed:
            log.isChanging = false
            if case .cutting(let stream) = state { begin(stream, now: now, &actions) }
        }
        settle(&actions)
        return actions
    }

    private mutating func tick(now: Duration, _ actions: inout [ReplicaAction]) {
        switch state {
        case .idle(let until):
            guard now >= until, !log.isChanging else { return }
            number += 1
            let stream = StreamID(node: node, number: number)
            state = .opening(stream)
            heardAt = now
            actions.append(.open(Follow(stream: stream, epoch: epoch, promised: promised, history: log.history), to: primary))
        case .opening, .streaming: if now - heardAt > settings.silence { leave(now: now, &actions) }
        case .cutting, .transferring: break
        }
    }

    private mutating func take(_ answer: FollowAnswer, _ stream: StreamID, now: Duration, _ actions: inout [ReplicaAction]) {
        heardAt = now
        switch answer {
        case .refused: leave(now: now, &actions)
        case .transfer:
            actions.append(.close(stream))
            actions.append(.transfer(stream, from: primary))
            state = .transferring(stream)
        case .agreed(let sequence):
            guard sequence <= log.end, sequence >= log.committed, sequence >= log.history.base else {
                actions.append(.alarm(wrongCut(sequence)))
                return leave(now: now, &actions)
            }
            guard sequence < log.end else { return begin(stream, now: now, &actions) }
            log.lose(after: sequence)
            log.isChanging = true
            state = .cutting(stream)
            actions.append(.cut(after: sequence))
        }
    }

    /// The log is now a part of the primary's. What it says first lets the primary send.
    private mutating func begin(_ stream: StreamID, now: Duration, _ actions: inout [ReplicaAction]) {
        state = .streaming(stream)
        heardAt = now
        toldDurable = log.durable
        actions.append(.acknowledge(stream, durable: log.durable))
    }

    private func wrongCut(_ sequence: UInt64) -> NeedletailError {
        NeedletailError(
            .internal,
            "the primary \(primary) of epoch \(epoch) wants the log cut after \(sequence), but it is committed up to \(log.committed) and "
                + "goes from \(log.history.base) to \(log.end); nothing was cut; report a bug")
    }

    private mutating func take(_ records: StreamedRecords, _ stream: StreamID, now: Duration, _ actions: inout [ReplicaAction]) {
        guard records.epoch == epoch, records.previous == log.end, areSound(records) else {
            actions.append(.alarm(NeedletailError(.internal, "a stream in epoch \(records.epoch) broke off at \(log.end); report a bug")))
            return leave(now: now, &actions)
        }
        heardAt = now
        for (index, run) in records.runs.enumerated() {
            let last = index + 1 < records.runs.count ? records.runs[index + 1].first - 1 : records.last
            log.history.append(epoch: run.epoch, through: last)
        }
        if records.last > records.previous { actions.append(.append(from: records.previous + 1, through: records.last)) }
        known = max(known, min(records.committed, log.end))
    }

    /// Whether the runs cover the records and their epochs go on from ours; they come from a socket.
    private func areSound(_ records: StreamedRecords) -> Bool {
        let runs = records.runs
        guard records.last > records.previous else { return runs.isEmpty && records.last == records.previous }
        return runs.first?.first == records.previous + 1 && (runs.first?.epoch ?? 0) >= max(1, log.history.lastEpoch)
            && zip(runs, runs.dropFirst()).allSatisfy { $0.epoch < $1.epoch && $0.first < $1.first }
            && (runs.last.map { $0.first <= records.last && $0.epoch <= epoch } ?? false)
    }

    private mutating func install(_ stream: StreamID, _ history: EpochHistory, now: Duration, _ actions: inout [ReplicaAction]) {
        state = .idle(until: now)
        guard history.end >= log.committed, history.base == history.end else { return }
        log = ReplicaLogState(history: history, committed: history.end)
        log.isChanging = true
        known = max(known, history.end)
        actions.append(.install(stream))
    }

    private mutating func end(_ stream: StreamID, now: Duration) {
        switch state {
        case .opening(stream), .cutting(stream), .streaming(stream): state = .idle(until: now + settings.retry)
        default: break
        }
    }

    /// Closes the stream, to open another one later. A transfer goes on.
    mutating func leave(now: Duration, _ actions: inout [ReplicaAction]) {
        switch state {
        case .opening(let stream), .cutting(let stream), .streaming(let stream):
            actions.append(.close(stream))
            state = .idle(until: now + settings.retry)
        case .idle, .transferring: break
        }
    }

    /// Tells what has become durable, and lets searches see what has become committed.
    private mutating func settle(_ actions: inout [ReplicaAction]) {
        if case .streaming(let stream) = state, log.durable > toldDurable {
            toldDurable = log.durable
            actions.append(.acknowledge(stream, durable: log.durable))
        }
        let visible = min(known, log.durable)
        if visible > log.committed {
            log.committed = visible
            actions.append(.apply(through: visible))
        }
    }
}
