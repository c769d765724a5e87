public import NeedletailCore

/// Decides which role a replica has, and keeps its promises about epochs; the role's own machine does the rest.
///
/// - A replica acts in an epoch only once it has promised it on its disk: nothing older is accepted from then on, also after a
///   restart with metadata that come from a cache.
/// - It leads an epoch once at most. A primary that starts anew may have lost unsynced records that others got from it, and would
///   give their sequences to other records; so it resigns, and the leader gives it, or another, a new epoch.
/// - When it has promised an epoch that never came (the leader died between fencing and promoting), it tells the primary, which
///   resigns: there is no way back to an epoch that somebody has left.
public struct ReplicaMachine: Sendable {
    public enum Role: Sendable {
        /// Fenced, waiting for a promise to be written, or without metadata.
        case waiting(ReplicaLogState)
        case primary(PrimaryMachine)
        case backup(BackupMachine)
    }

    public let node: NodeID
    public let settings: ReplicationSettings
    public private(set) var role: Role
    public private(set) var place: ShardPlace?
    /// As it is on the disk.
    public private(set) var promise: ReplicaPromise
    /// What is to be on the disk next, and when it was last asked for.
    private var wanted: ReplicaPromise
    private var persistAt: Duration = .zero
    private var fences: [Fence] = []
    private var resignAt: Duration = .zero
    /// Until when a failover that fenced us is given time to end.
    private var patientUntil: Duration = .zero
    /// The epoch whose leading this process asked the disk to note, and did not take up yet.
    private var mayLead: UInt64?
    private var streamNumber: UInt64

    /// - Parameters:
    ///   - promise: what the disk holds.
    ///   - firstStream: streams are numbered from here on; greater than in the life of the process before, so a clock's value will do.
    public init(node: NodeID, promise: ReplicaPromise, log: ReplicaLogState, firstStream: UInt64, settings: ReplicationSettings) {
        self.node = node
        // Whoever has a record of an epoch had promised it, even if that file was lost.
        self.promise = ReplicaPromise(epoch: max(promise.epoch, log.history.lastEpoch), led: promise.led)
        wanted = self.promise
        role = .waiting(log)
        streamNumber = firstStream
        self.settings = settings
    }

    public var log: ReplicaLogState {
        switch role {
        case .waiting(let log): log
        case .primary(let machine): machine.log
        case .backup(let machine): machine.log
        }
    }

    public var primary: PrimaryMachine? {
        if case .primary(let machine) = role { machine } else { nil }
    }

    public mutating func receive(_ event: ReplicaEvent, now: Duration) -> [ReplicaAction] {
        var actions: [ReplicaAction] = []
        switch event {
        case .place(let newer) where newer.version > place?.version ?? 0:
            guard newer.isSound, newer.epoch >= place?.epoch ?? 0, newer.epoch != place?.epoch || newer.primary == place?.primary else {
                return [.alarm(contradiction(newer))]
            }
            place = newer
            fences.removeAll { $0.epoch <= newer.epoch }
        case .place: return []
        case .fence(let fence): take(fence, now: now, &actions)
        case .persisted(let written):
            promise.epoch = max(promise.epoch, written.epoch)
            promise.led = max(promise.led, written.led)
        case .follow(let follow) where primary == nil: actions.append(.answer(follow.stream, .refused(epoch: promise.epoch)))
        default: break
        }
        forward(event, now: now, &actions)
        settle(now: now, &actions)
        answerFences(&actions)
        return actions
    }

    private func contradiction(_ newer: ShardPlace) -> NeedletailError {
        NeedletailError(
            .dataLoss,
            "the place of shard \(newer.number) contradicts itself or an older one (epoch \(newer.epoch), version \(newer.version)); the "
                + "metadata were changed by hand or put back from an old copy: stop the cluster and call for help")
    }

    private mutating func forward(_ event: ReplicaEvent, now: Duration, _ actions: inout [ReplicaAction]) {
        switch role {
        case .primary(var machine):
            // Frees the storage that `machine` shares, lest every event copies it.
            role = .waiting(ReplicaLogState())
            actions += machine.receive(event, now: now)
            role = .primary(machine)
        case .backup(var machine):
            role = .waiting(ReplicaLogState())
            actions += machine.receive(event, now: now)
            streamNumber = machine.number
            role = .backup(machine)
        case .waiting(var log):
            switch event {
            case .durable(let sequence): log.becomeDurable(through: sequence)
            case .commitFailed(let lastKept): log.lose(after: lastKept)
            case .trimmed(let sequence): log.history.trim(through: sequence)
            case .checkpointed(let sequence): log.checkpointed = sequence
            case .changed: log.isChanging = false
            default: break
            }
            role = .waiting(log)
        }
    }

    // MARK: Fences

    private mutating func take(_ fence: Fence, now: Duration, _ actions: inout [ReplicaAction]) {
        let newest = max(wanted.epoch, place?.epoch ?? 0)
        guard fence.epoch >= newest, fence.epoch > place?.epoch ?? 0 else {
            return actions.append(.fenceRefused(fence, epoch: newest))
        }
        fences.removeAll { $0.epoch < fence.epoch || $0 == fence }
        fences.append(fence)
        step(down: &actions)
        patientUntil = now + settings.lag
        want(ReplicaPromise(epoch: fence.epoch, led: wanted.led), now: now, &actions)
    }

    /// Answers once the promise and the whole log are on the disk, so that the answer stays true whatever happens here.
    private mutating func answerFences(_ actions: inout [ReplicaAction]) {
        guard !fences.isEmpty, case .waiting(let log) = role, log.durable == log.end, !log.isChanging else { return }
        for fence in fences where fence.epoch <= promise.epoch {
            actions.append(.fenced(FenceAnswer(fence: fence, node: node, lastEpoch: log.history.lastEpoch, end: log.end)))
        }
        fences.removeAll { $0.epoch <= promise.epoch }
    }

    // MARK: Roles

    private mutating func step(down actions: inout [ReplicaAction]) {
        switch role {
        case .waiting: return
        case .primary(let machine):
            for (_, follower) in machine.followers.sorted(by: { $0.key < $1.key }) { actions.append(.close(follower.stream)) }
        case .backup(var machine):
            machine.leave(now: .zero, &actions)
        }
        role = .waiting(log)
        actions.append(.roleChanged)
    }

    private mutating func want(_ next: ReplicaPromise, now: Duration, _ actions: inout [ReplicaAction]) {
        guard next != wanted || now >= persistAt else { return }
        wanted = next
        persistAt = now + settings.retry
        actions.append(.persist(next))
    }

    /// Takes the role that metadata give it, as far as its promises allow.
    private mutating func settle(now: Duration, _ actions: inout [ReplicaAction]) {
        if let current = roleEpoch, current < place?.epoch ?? 0 { step(down: &actions) }
        if wanted != promise { want(wanted, now: now, &actions) }
        guard let place, roleEpoch == nil, fences.isEmpty, !log.isChanging, place.replicas.contains(node) else { return }
        if place.primary == node { lead(place, now: now, &actions) } else { follow(place, now: now, &actions) }
    }

    private mutating func lead(_ place: ShardPlace, now: Duration, _ actions: inout [ReplicaAction]) {
        if mayLead == place.epoch, wanted.epoch == place.epoch {
            guard promise.led == place.epoch else { return }
            mayLead = nil
            role = .primary(PrimaryMachine(node: node, place: place, log: log, settings: settings, now: now))
            actions.append(.roleChanged)
        } else if wanted.epoch > place.epoch || wanted.led >= place.epoch {
            guard now >= resignAt else { return }
            resignAt = now + settings.retry
            actions.append(.resign(epoch: place.epoch))
        } else {
            mayLead = place.epoch
            want(ReplicaPromise(epoch: place.epoch, led: place.epoch), now: now, &actions)
        }
    }

    private mutating func follow(_ place: ShardPlace, now: Duration, _ actions: inout [ReplicaAction]) {
        if wanted.epoch < place.epoch { want(ReplicaPromise(epoch: place.epoch, led: wanted.led), now: now, &actions) }
        guard promise.epoch >= place.epoch, promise.epoch == place.epoch || now >= patientUntil else { return }
        role = .backup(
            BackupMachine(
                node: node, place: place, promised: promise.epoch, log: log, number: streamNumber, settings: settings, now: now))
        actions.append(.roleChanged)
    }

    private var roleEpoch: UInt64? {
        switch role {
        case .waiting: nil
        case .primary(let machine): machine.epoch
        case .backup(let machine): machine.epoch
        }
    }
}
