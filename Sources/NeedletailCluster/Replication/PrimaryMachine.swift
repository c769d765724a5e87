public import NeedletailCore

/// Decides for a replica that is its shard's primary in one epoch: what goes to which backup, what is committed, who is in sync.
///
/// After Lin et al., "PacificA: Replication in Log-Based Distributed Storage Systems", 2008, sections 2.2 (data replication) and 2.3
/// (configuration management), with streams that the backups open. Unlike there, a member of the set that is not there is found by
/// its silence on the stream, not by leases between primary and backups: leases are between nodes and the leader.
///
/// **What is committed.** The greatest sequence that is durable at every member of the *effective set*: the in-sync set of the
/// metadata and every node that may have been added to it without our knowing. A node whose addition was proposed stays in the
/// effective set until the place has another version, even when the proposal is said to have failed, since the change may still be
/// on its way. A proposed removal counts from when the metadata show it.
public struct PrimaryMachine: Sendable {
    /// A backup with an open stream.
    struct Follower: Sendable {
        var stream: StreamID
        /// It has cut its log and said what is durable of it. Nothing is sent before.
        var hasBegun = false
        var standing = Standing.catchingUp
        /// Durable there, as it said on this stream.
        var acknowledged: UInt64 = 0
        /// The last record that was sent.
        var sent: UInt64
        /// A send order is being carried out; its budget.
        var ordered: Int?
        /// What was sent and not acknowledged: last sequence and size of each message, oldest first.
        var window: [(last: UInt64, sizeBytes: Int)] = []
        var windowBytes = 0
        var toldCommitted: UInt64 = 0
        var toldAt: Duration
        /// When it last got on, or had nothing to do.
        var progressAt: Duration
        /// Where the log ended when the present round of catching up began (see `noteProgress`), and when that was.
        var goal: UInt64
        var goalAt: Duration
    }

    enum Standing: Sendable {
        /// In the in-sync set by the metadata.
        case member
        case catchingUp
        /// Near enough; the world compares its content with ours.
        case verifying
        /// Equal. It counts in the effective set already, so that what is committed waits for it and it cannot miss the moment.
        case joining
    }

    public let node: NodeID
    public let settings: ReplicationSettings
    /// The newest one known, in this machine's epoch.
    public private(set) var place: ShardPlace
    public internal(set) var log: ReplicaLogState
    /// Durable at more than half of the in-sync set, here among it, whichever of the sets that were proposed is in the metadata now:
    /// half of the effective set would not do, since it may be less than half of a smaller one. Never falls.
    public internal(set) var acknowledgedMajority: UInt64 = 0
    /// Whether it gave its epoch up and waits for another.
    public internal(set) var hasResigned = false
    /// Until then no further writes are taken, so that all members come to have the same records and another can lead.
    public internal(set) var handingOverUntil: Duration?

    /// Where the log ended when the epoch began: older primaries may have acknowledged up to there.
    let tail: UInt64
    var followers: [NodeID: Follower] = [:]
    /// Backups whose content is not the primary's, whatever their log says: they get a checkpoint when they ask next, and are no members.
    var mustTransfer: Set<NodeID> = []
    /// Of members without a stream: since when.
    var absentSince: [NodeID: Duration] = [:]
    /// The last record that went to anybody in this epoch.
    var sentEnd: UInt64 = 0
    /// The sets that were proposed from the present version. Metadata may have any one of them by now.
    var proposedSets: [[NodeID]] = []
    /// The proposal that is not answered yet.
    var proposal: Proposal?
    var nextProposal: Duration
    var nextResignation: Duration

    public var epoch: UInt64 { place.epoch }
    /// Durable at all of the effective set.
    public var committed: UInt64 { log.committed }

    /// - Parameters:
    ///   - place: names this node as the primary. The node must never have been primary of this epoch before (see `ReplicaPromise`).
    public init(node: NodeID, place: ShardPlace, log: ReplicaLogState, settings: ReplicationSettings, now: Duration) {
        precondition(place.primary == node, "the place names another primary")
        self.node = node
        self.place = place
        self.log = log
        self.settings = settings
        tail = log.end
        nextProposal = now
        nextResignation = now
        for member in place.inSync where member != node { absentSince[member] = now }
    }

    // MARK: What clients may do

    /// Whether a write may be appended now.
    ///
    /// - Parameters:
    ///   - epoch: the one that the request was routed by.
    ///   - leaseHeld: whether this node holds its lease (see `NodeLease`).
    /// - Throws: `aborted` when the request is of another epoch; `unavailable` without a lease or after having resigned;
    ///   `failedPrecondition` when fewer than `minInSync` replicas are in sync.
    public func admit(epoch: UInt64, minInSync: Int, leaseHeld: Bool) throws(NeedletailError) {
        try checkRole(epoch: epoch, leaseHeld: leaseHeld)
        guard handingOverUntil == nil else { throw NeedletailError(.unavailable, "the shard is about to have another primary; try again") }
        guard place.inSync.count >= minInSync else {
            throw NeedletailError(
                .failedPrecondition,
                "\(place.inSync.count) replicas are in sync and the collection wants \(minInSync) for a write; start the shard workers "
                    + "that are down, or lower min_in_sync")
        }
    }

    /// Whether a read that asks for the primary may be answered now. A new primary answers none before its tail is committed: what
    /// an older one acknowledged may lie there (Ongaro, "Consensus: Bridging Theory and Practice", 2014, section 6.4).
    ///
    /// - Throws: as `admit`; `unavailable` also while the tail is not committed.
    public func admitRead(epoch: UInt64, leaseHeld: Bool) throws(NeedletailError) {
        try checkRole(epoch: epoch, leaseHeld: leaseHeld)
        guard committed >= tail else {
            throw NeedletailError(.unavailable, "the new primary does not know yet what is committed; try again")
        }
    }

    private func checkRole(epoch: UInt64, leaseHeld: Bool) throws(NeedletailError) {
        guard epoch == self.epoch else {
            throw NeedletailError(.aborted, "the request is of epoch \(epoch), the shard is in epoch \(self.epoch); read the shard map again")
        }
        guard !hasResigned else { throw NeedletailError(.unavailable, "the primary gave up its epoch and waits for another; try again") }
        guard leaseHeld else { throw NeedletailError(.unavailable, "the primary's lease ran out: it does not reach the leader; try again") }
    }

    // MARK: Events

    public mutating func receive(_ event: ReplicaEvent, now: Duration) -> [ReplicaAction] {
        var actions: [ReplicaAction] = []
        switch event {
        case .place(let place): take(place, now: now, &actions)
        case .appended(let sequence):
            for (id, follower) in followers where follower.acknowledged >= log.end { followers[id]?.progressAt = now }
            log.history.append(epoch: epoch, through: sequence)
        case .durable(let sequence): log.becomeDurable(through: sequence)
        case .commitFailed(let lastKept): lose(after: lastKept, now: now, &actions)
        // Another member can take writes. Alone it stays, for those who read.
        case .logBroken: if place.inSync.count > 1 { resign(now: now, &actions) }
        case .checkpointed(let sequence): log.checkpointed = sequence
        case .trimmed(let sequence): trim(through: sequence, now: now, &actions)
        case .follow(let follow): answer(follow, now: now, &actions)
        case .sent(let stream, let last, let sizeBytes): noteSent(stream, last: last, sizeBytes: sizeBytes)
        case .acknowledged(let stream, let durable): noteProgress(stream, durable: durable, now: now, &actions)
        case .verified(let stream, let isEqual): noteVerified(stream, isEqual: isEqual, now: now, &actions)
        case .differs(let id): distrust(id, now: now, &actions)
        case .handOver(let epoch): if epoch == self.epoch, !hasResigned, place.inSync.count > 1 { handingOverUntil = now + settings.lag }
        case .proposalFailed(let failed):
            if failed == proposal { (proposal, nextProposal) = (nil, now + settings.retry) }
        case .streamEnded(let stream): if followers[stream.node]?.stream == stream { drop(stream.node, now: now) }
        case .tick: tick(now: now, &actions)
        case .fence, .persisted, .answered, .received, .transferred, .transferFailed, .changed: break
        }
        advance(&actions)
        considerHandOver(now: now, &actions)
        considerSet(now: now, &actions)
        order(now: now, &actions)
        return actions
    }

    /// Newer metadata of the same epoch: a proposal was made, or the leader changed who has replicas.
    private mutating func take(_ newer: ShardPlace, now: Duration, _ actions: inout [ReplicaAction]) {
        guard newer.epoch == epoch, newer.version > place.version else { return }
        place = newer
        // No change from an older version can be made any more.
        proposedSets = []
        proposal = nil
        nextProposal = now
        for (id, follower) in followers.sorted(by: { $0.key < $1.key }) {
            if !place.replicas.contains(id) {
                actions.append(.close(follower.stream))
                drop(id, now: now)
            } else if place.inSync.contains(id) {
                followers[id]?.standing = .member
            } else if case .member = follower.standing {
                followers[id]?.beginRound(end: log.end, now: now)
            }
        }
        absentSince = absentSince.filter { place.inSync.contains($0.key) }
        for member in place.inSync where member != node && followers[member] == nil && absentSince[member] == nil {
            absentSince[member] = now
        }
    }

    /// A sequence that somebody else has cannot be given again in this epoch.
    private mutating func lose(after lastKept: UInt64, now: Duration, _ actions: inout [ReplicaAction]) {
        guard lastKept < log.end else { return }
        let mayHaveBeenSent = sentEnd > lastKept || followers.values.contains { ($0.ordered ?? 0) > 0 }
        log.lose(after: lastKept)
        if mayHaveBeenSent { resign(now: now, &actions) }
    }

    mutating func resign(now: Duration, _ actions: inout [ReplicaAction]) {
        guard !hasResigned else { return }
        hasResigned = true
        nextResignation = now + settings.retry
        for (id, follower) in followers.sorted(by: { $0.key < $1.key }) {
            actions.append(.close(follower.stream))
            drop(id, now: now)
        }
        actions.append(.resign(epoch: epoch))
    }

    private mutating func trim(through sequence: UInt64, now: Duration, _ actions: inout [ReplicaAction]) {
        log.history.trim(through: sequence)
        for (id, follower) in followers.sorted(by: { $0.key < $1.key }) where follower.sent < log.history.base {
            actions.append(.close(follower.stream))
            drop(id, now: now)
        }
    }

    private mutating func tick(now: Duration, _ actions: inout [ReplicaAction]) {
        guard hasResigned, now >= nextResignation else { return }
        nextResignation = now + settings.retry
        actions.append(.resign(epoch: epoch))
    }
}
