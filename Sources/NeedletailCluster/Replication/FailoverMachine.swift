public import NeedletailCore

/// Decides for the coordinator that leads: whose lease holds, and who takes over a shard whose primary is gone.
///
/// After Lin et al., "PacificA", 2008, sections 2.3 and 2.4, with the leader in place of the backups that compete for the configuration:
/// it asks all living members of the in-sync set before it promotes one, so that what a majority of them acknowledged is kept while
/// one of those who have it lives. Several coordinators may believe that they lead: the term in each change of metadata decides, and
/// the version of the shard's place makes two changes from one state exclude each other.
public struct FailoverMachine: Sendable {
    public enum Event: Sendable {
        /// This coordinator leads from now on, in this term.
        case elected(term: UInt64)
        /// Since the election every shard's place was read from the metadata and told. From here on this machine knows the newest, since
        /// nobody else can change an epoch in its term.
        case loaded(term: UInt64)
        /// It leads until then at least, by its own clock: a tenth less than the lease, counted from when the renewal was *sent*.
        case renewed(until: Duration)
        case deposed
        case heartbeat(NodeID, number: UInt64)
        /// Metadata say this; also after a change that was made here. Older news than what is known are ignored.
        case place(ShardID, ShardPlace)
        case removed(ShardID)
        /// A primary gave its epoch up.
        case resigned(ShardID, NodeID, epoch: UInt64)
        case fenced(ShardID, FenceAnswer)
        /// This member is to be the next primary if it has all that any other has. A wish only: it begins no failover.
        case preferred(ShardID, NodeID, epoch: UInt64)
        /// A replica knows a newer epoch than the fence's, or has the shard no longer.
        case fenceRefused(ShardID, NodeID, Fence)
        /// A member that cannot answer a fence although its node lives: its disk is broken, say. It does not count for this failover.
        case unable(ShardID, NodeID, Fence)
        /// A primary wants another in-sync set.
        case proposed(ShardID, NodeID, Proposal)
        /// A change was not made, or nobody knows. One that was made is told as `place`.
        case swapFailed(ShardID, Swap)
        case tick
    }

    public enum Action: Sendable {
        /// Answer a heartbeat: the node has its lease, on these epochs of the shards that it is the primary of.
        case grant(NodeID, number: UInt64, epochs: [ShardID: UInt64])
        case fence(ShardID, NodeID, Fence)
        /// Change the place in the metadata, if it has that version still and the term is the leader's still. Tell the one who proposed
        /// if there is one, and `place` or `swapFailed` here.
        case swap(ShardID, Swap)
        /// Tell the primary that its proposal is not taken.
        case refuse(ShardID, Proposal)
        /// Read the shard's place from the metadata, then tell it.
        case read(ShardID)
        /// The shard is without a primary, and this is why. Once for each reason.
        case waiting(ShardID, NeedletailError)
    }

    /// A change of one shard's place.
    public struct Swap: Sendable, Hashable {
        /// The leader's term.
        public var term: UInt64
        /// The version that the place must have.
        public var version: UInt64
        public var place: ShardPlace
        /// What it makes true, or nil for a promotion.
        public var proposal: Proposal?
    }

    struct Shard: Sendable {
        var place: ShardPlace
        /// The primary of the place's epoch said that it gave up.
        var hasResigned = false
        /// Who is to lead the next epoch, if logs do not say otherwise.
        var preferred: NodeID?
        var failover: Failover?
    }

    struct Failover: Sendable {
        var fence: Fence
        var answers: [NodeID: FenceAnswer] = [:]
        var unable: Set<NodeID> = []
        var nextAsk: Duration
        var swap: Swap?
        var nextSwap: Duration
        /// What was last said of why it waits.
        var reason: String?
    }

    public let lease: Duration
    public let retry: Duration
    public private(set) var term: UInt64?
    private var isLoaded = false
    private var leadsUntil: Duration = .zero
    private var electedAt: Duration = .zero
    private var heard: [NodeID: Duration] = [:]
    var shards: [ShardID: Shard] = [:]

    public init(lease: Duration = .seconds(2), retry: Duration = .milliseconds(200)) {
        self.lease = lease
        self.retry = retry
    }

    /// Whether a node's lease may still hold, as the node sees it.
    public func isAlive(_ node: NodeID, now: Duration) -> Bool { now - max(heard[node] ?? electedAt, electedAt) <= lease }

    public mutating func receive(_ event: Event, now: Duration) -> [Action] {
        var actions: [Action] = []
        switch event {
        case .elected(let term):
            // What the predecessor granted last is not known here, so every node's lease counts anew.
            self = FailoverMachine(lease: lease, retry: retry)
            (self.term, electedAt) = (term, now)
        case .loaded(let term): if term == self.term { isLoaded = true }
        case .renewed(let until): leadsUntil = until
        case .deposed: self = FailoverMachine(lease: lease, retry: retry)
        case .heartbeat(let node, let number): hear(node, number: number, now: now, &actions)
        case .place(let id, let place): take(id, place)
        case .removed(let id): shards[id] = nil
        case .resigned(let id, let node, let epoch):
            if let place = shards[id]?.place, place.epoch == epoch, place.primary == node { shards[id]?.hasResigned = true }
        case .preferred(let id, let node, let epoch): if shards[id]?.place.epoch == epoch { shards[id]?.preferred = node }
        case .fenced(let id, let answer):
            guard let failover = shards[id]?.failover, failover.fence == answer.fence else { break }
            shards[id]?.failover?.answers[answer.node] = answer
        case .fenceRefused(let id, _, let fence):
            if shards[id]?.failover?.fence == fence { actions.append(.read(id)) }
        case .unable(let id, let node, let fence):
            if shards[id]?.failover?.fence == fence { shards[id]?.failover?.unable.insert(node) }
        case .proposed(let id, let node, let proposal): consider(id, node, proposal, now: now, &actions)
        case .swapFailed(let id, let swap):
            if shards[id]?.failover?.swap == swap {
                shards[id]?.failover?.swap = nil
                shards[id]?.failover?.nextSwap = now + retry
            }
            actions.append(.read(id))
        case .tick: break
        }
        if leads(now: now) { for id in shards.keys.sorted() { lookAfter(id, now: now, &actions) } }
        return actions
    }

    private func leads(now: Duration) -> Bool { isLoaded && now < leadsUntil }

    /// A lease is granted only while this coordinator surely leads, since its successor counts from its own election; and on no epoch
    /// that it began to replace, since the change may have been made without its knowing.
    private mutating func hear(_ node: NodeID, number: UInt64, now: Duration, _ actions: inout [Action]) {
        heard[node] = now
        guard leads(now: now) else { return }
        let held = shards.filter { $0.value.place.primary == node && $0.value.failover == nil && !$0.value.hasResigned }
        actions.append(.grant(node, number: number, epochs: held.mapValues(\.place.epoch)))
    }

    private mutating func take(_ id: ShardID, _ place: ShardPlace) {
        guard let known = shards[id]?.place else { return shards[id] = Shard(place: place) }
        guard place.version > known.version else { return }
        let isSameEpoch = place.epoch == known.epoch
        // A failover that was under way starts again from the new version; the fences that were answered stay true.
        var failover = isSameEpoch ? shards[id]?.failover : nil
        failover?.swap = nil
        shards[id] = Shard(
            place: place, hasResigned: isSameEpoch && shards[id]?.hasResigned == true, preferred: isSameEpoch ? shards[id]?.preferred : nil,
            failover: failover)
    }

    /// Only the primary of the present epoch may change the set, from the version that it knows, and not while it is being replaced.
    private mutating func consider(_ id: ShardID, _ node: NodeID, _ proposal: Proposal, now: Duration, _ actions: inout [Action]) {
        guard leads(now: now), let term, let shard = shards[id], shard.failover == nil else { return actions.append(.refuse(id, proposal)) }
        var place = shard.place
        let isFitting = proposal.inSync.contains(node) && Set(proposal.inSync).isSubset(of: place.replicas)
        guard place.primary == node, place.epoch == proposal.epoch, place.version == proposal.version, isFitting else {
            actions.append(.refuse(id, proposal))
            // The primary may know more than we do.
            if proposal.version > place.version { actions.append(.read(id)) }
            return
        }
        place.inSync = Set(proposal.inSync).sorted()
        place.version += 1
        actions.append(.swap(id, Swap(term: term, version: proposal.version, place: place, proposal: proposal)))
    }
}
