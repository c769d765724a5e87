internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

/// This coordinator's lease in the metadata store, to which its entries are bound.
struct OwnLease {
    var granted: MetadataLease
    /// As counted here.
    var counted: CountedLease
    /// Whether the coordinator's entry was made under this lease.
    var isRegistered = false
}

// One coordinator leads: the one whose entry stands under `leader`. A coordinator believes that of itself when its copy of the metadata
// shows it, and so everything its predecessors did; and no longer than its lease lasts by its own clock. Whoever is wrong about it does
// no harm: every change that a leader makes compares the entry's revision, the leader's term, in the same transaction.
extension Coordinator {
    /// Takes part in the choice of a leader, until cancelled. Returns at once when nobody else can change the store: then this coordinator
    /// leads.
    /// - Parameter report: told when the store does not answer, once for each reason.
    public func lead(report: @Sendable (NeedletailError) -> Void) async {
        if metadata.isExclusive { return }
        var last: NeedletailError?
        while !Task.isCancelled {
            do {
                try await takePart()
                last = nil
                state.withLock { $0.metadataProblem = nil }
                await pause(leaseLength / 3)
            } catch {
                let failure = Self.wrap(error)
                if !Task.isCancelled, failure.message != last?.message { report(failure) }
                last = failure
                state.withLock { $0.metadataProblem = failure.message }
                try? await Task.sleep(for: leaseLength / 20)
            }
        }
    }

    /// Until it is time to keep the lease alive, or the leader has gone.
    private func pause(_ time: Duration) async {
        let end = Deadline.after(time)
        while !end.isPast, !Task.isCancelled {
            try? await Task.sleep(for: leaseLength / 20)
            if state.withLock({ $0.copy.leader.values.isEmpty }) { return }
        }
    }

    /// Has a lease that lasts, an entry under it, and leads if nobody does.
    private func takePart() async throws {
        let lease = try await renewedLease()
        let me = CoordinatorEntry(id: id, address: address)
        let (isRegistered, isLeaderless) = state.withLock { ($0.lease?.isRegistered ?? false, $0.copy.leader.values.isEmpty) }
        if !isRegistered {
            let key = MetadataCopy.coordinatorsPrefix + Incarnation(id).description
            _ = try await metadata.transact(MetadataTransaction(if: [], [.put(key, me.encoded, lease: lease)]))
            state.withLock { if $0.lease?.granted == lease { $0.lease?.isRegistered = true } }
        }
        if isLeaderless {
            // Whether it succeeded is told by the watch, which has told all that came before then.
            let entry = LeaderEntry(coordinator: me, lease: lease.id)
            _ = try await metadata.transact(
                MetadataTransaction(if: [.absent(MetadataCopy.leaderKey)], [.put(MetadataCopy.leaderKey, entry.encoded, lease: lease)]))
        }
    }

    private func renewedLease() async throws -> MetadataLease {
        if let lease = state.withLock({ $0.lease?.granted }) {
            do {
                let sent = ContinuousClock.now
                try await metadata.keepAlive(lease)
                state.withLock { $0.lease?.counted.extend(sent: sent, length: lease.length) }
                return lease
            } catch let error as NeedletailError where error.code == .notFound {
                state.withLock { $0.lease = nil }
            }
        }
        let sent = ContinuousClock.now
        let lease = try await metadata.grantLease(leaseLength)
        state.withLock { $0.lease = OwnLease(granted: lease, counted: CountedLease(sent: sent, length: lease.length)) }
        return lease
    }

    /// Ends the lease and with it, at once, this coordinator's leadership: another one need not wait for the lease's end.
    func resign() async {
        let lease = state.withLock { state in
            defer { state.lease = nil }
            return state.lease?.granted
        }
        if let lease { try? await metadata.revoke(lease) }
    }

    /// Leads a store that nobody else can change, from a new term on.
    func leadAlone() async throws {
        let entry = LeaderEntry(coordinator: CoordinatorEntry(id: id, address: ""), lease: 0)
        let outcome = try await metadata.transact(MetadataTransaction(if: [], [.put(MetadataCopy.leaderKey, entry.encoded)]))
        state.withLock { $0.copy.leader.change("", to: entry, revision: outcome.revision) }
        tellLeadership()
    }

    /// Whether this coordinator leads now. It may have ceased to when the caller acts on it: see `transactAsLeader`.
    public var isLeader: Bool { term != nil }

    /// The term in which this coordinator leads; nil when it does not.
    var term: UInt64? { state.withLock { $0.term(of: id, alone: metadata.isExclusive, now: .now) } }

    /// Changes the metadata if this coordinator still leads when it is done.
    /// - Throws: `unavailable` when it does not, `unknown` when the store did not say what it did.
    func transactAsLeader(if comparisons: [MetadataComparison], _ operations: [MetadataOperation]) async throws -> MetadataOutcome {
        guard let term else { throw notLeading }
        let leads = MetadataComparison.revision(MetadataCopy.leaderKey, term)
        return try await metadata.transact(MetadataTransaction(if: [leads] + comparisons, operations))
    }

    static let notLeading = NeedletailError(.unavailable, "no coordinator leads at this moment, nothing was done; try again")

    /// With what keeps this coordinator from the metadata store, if anything does: then trying again alone does not help.
    var notLeading: NeedletailError {
        guard let problem = state.withLock({ $0.metadataProblem }) else { return Self.notLeading }
        return NeedletailError(.unavailable, "no coordinator leads at this moment, nothing was done: \(problem)")
    }

    /// The leader, when that is another coordinator.
    /// - Throws: `unavailable` when nobody leads, or this request was passed on to us in error.
    func leaderElsewhere() throws(NeedletailError) -> (any ClusterOperations)? {
        if isLeader { return nil }
        guard let leader = state.withLock({ $0.copy.leader.values.first?.value.coordinator }), leader.id != id, !Forwarding.isForwarded else {
            throw notLeading
        }
        do { return try link(to: leader).operations } catch { throw Self.wrap(error) }
    }

    private func link(to leader: CoordinatorEntry) throws -> CoordinatorLink {
        try state.withLock { state in
            if let link = state.leaderLink, link.leader == leader { return link.link }
            let link = try connectCoordinator(leader.address)
            // Requests under way on the former one end by themselves.
            state.leaderLink = (leader, link)
            return link
        }
    }
}

extension Coordinator.State {
    fileprivate func term(of id: UInt64, alone: Bool, now: ContinuousClock.Instant) -> UInt64? {
        guard let leader = copy.leader.values.first, leader.value.coordinator.id == id else { return nil }
        if !alone { guard let lease, lease.granted.id == leader.value.lease, lease.counted.isHeld(at: now) else { return nil } }
        return copy.leader.revision(leader.key)
    }
}
