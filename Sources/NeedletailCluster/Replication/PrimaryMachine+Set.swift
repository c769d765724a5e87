internal import NeedletailCore

/// Who is in sync, and so what is committed.
extension PrimaryMachine {
    /// Whose disks count: see the type's documentation.
    var effectiveSet: Set<NodeID> {
        var set = Set(place.inSync)
        for proposed in proposedSets { set.formUnion(proposed) }
        for (id, follower) in followers { if case .joining = follower.standing { set.insert(id) } }
        return set
    }

    func durable(at member: NodeID) -> UInt64 { member == node ? log.durable : min(followers[member]?.acknowledged ?? 0, log.durable) }

    /// The greatest sequence that is durable here and at `count` members of a set.
    private func durable(at count: Int, of set: some Collection<NodeID>) -> UInt64 {
        set.map { durable(at: $0) }.sorted(by: >)[count - 1]
    }

    private func majorityDurable(of set: [NodeID]) -> UInt64 { durable(at: set.count / 2 + 1, of: set) }

    mutating func advance(_ actions: inout [ReplicaAction]) {
        let set = effectiveSet
        let all = durable(at: set.count, of: set)
        let majority = proposedSets.reduce(majorityDurable(of: place.inSync)) { min($0, majorityDurable(of: $1)) }
        acknowledgedMajority = max(acknowledgedMajority, all, majority)
        guard all > log.committed else { return }
        log.committed = all
        actions.append(.apply(through: all))
    }

    /// Resigns once every member has everything; goes on as before when that takes too long, or the leader forgot.
    mutating func considerHandOver(now: Duration, _ actions: inout [ReplicaAction]) {
        guard let end = handingOverUntil else { return }
        if now >= end {
            handingOverUntil = nil
        } else if place.inSync.allSatisfy({ durable(at: $0) == log.end && log.durable == log.end }) {
            handingOverUntil = nil
            resign(now: now, &actions)
        }
    }

    /// Proposes another set when a member lags or a follower may join. One proposal at a time; after one whose outcome is not known the
    /// next starts from the same version, so that at most one of them is made.
    mutating func considerSet(now: Duration, _ actions: inout [ReplicaAction]) {
        guard !hasResigned else { return }
        for id in followers.keys.sorted() { considerStanding(of: id, now: now, &actions) }
        guard proposal == nil, now >= nextProposal else { return }
        let wanted = wantedSet(now: now)
        // A set like the present one is proposed as well, when an addition that is not wanted any more may still be made: it ends that.
        guard wanted != place.inSync || !proposedSets.allSatisfy({ Set($0).isSubset(of: wanted) }) else { return }
        let next = Proposal(epoch: epoch, version: place.version, inSync: wanted)
        proposal = next
        if !proposedSets.contains(wanted) { proposedSets.append(wanted) }
        actions.append(.propose(next))
    }

    /// A backup that is not in the set catches up in rounds, each to where the log ended when it began; when one takes less than half
    /// of the lag time the backup is near enough to be verified (Ongaro 2014, section 4.2.1). Looked at after every event: a round may be
    /// over when it begins, and no acknowledgement would follow.
    private mutating func considerStanding(of id: NodeID, now: Duration, _ actions: inout [ReplicaAction]) {
        guard let follower = followers[id], follower.hasBegun else { return }
        switch follower.standing {
        case .catchingUp where follower.acknowledged >= follower.goal:
            if now - follower.goalAt <= settings.lag / 2 {
                followers[id]?.standing = .verifying
                actions.append(.verify(follower.stream))
            } else {
                followers[id]?.beginRound(end: log.end, now: now)
            }
        case .joining where isLagging(id, now: now): followers[id]?.beginRound(end: log.end, now: now)
        case .catchingUp, .verifying, .joining, .member: break
        }
    }

    /// A joining node must have what is committed and what a majority was said to have, by this primary or, in its tail, by an older one;
    /// and members leave only when of those who stay more than half have that. So an acknowledgement of a majority stays true of every
    /// later set of the epoch.
    private func wantedSet(now: Duration) -> [NodeID] {
        let promised = max(acknowledgedMajority, tail)
        let staying = place.inSync.filter { !isLagging($0, now: now) }
        let isEnough = majorityDurable(of: staying) >= promised
        var wanted = isEnough ? staying : place.inSync
        for (id, follower) in followers where place.replicas.contains(id) && !place.inSync.contains(id) {
            if case .joining = follower.standing, durable(at: id) >= max(committed, promised) { wanted.append(id) }
        }
        return wanted.sorted()
    }

    private func isLagging(_ member: NodeID, now: Duration) -> Bool {
        if member == node { return false }
        if mustTransfer.contains(member) { return true }
        guard let follower = followers[member] else { return absentSince[member].map { now - $0 > settings.lag } ?? true }
        return follower.acknowledged < log.end && now - follower.progressAt > settings.lag
    }

    mutating func noteVerified(_ stream: StreamID, isEqual: Bool, now: Duration, _ actions: inout [ReplicaAction]) {
        guard let follower = followers[stream.node], follower.stream == stream, case .verifying = follower.standing else { return }
        if isEqual {
            followers[stream.node]?.standing = .joining
            followers[stream.node]?.progressAt = now
        } else {
            distrust(stream.node, now: now, &actions)
        }
    }

    mutating func distrust(_ id: NodeID, now: Duration, _ actions: inout [ReplicaAction]) {
        guard id != node, place.replicas.contains(id) else { return }
        mustTransfer.insert(id)
        guard let follower = followers[id] else { return }
        actions.append(.close(follower.stream))
        drop(id, now: now)
    }
}

extension PrimaryMachine.Follower {
    /// Begins a round of catching up: to where the log ends now.
    mutating func beginRound(end: UInt64, now: Duration) {
        standing = .catchingUp
        (goal, goalAt) = (end, now)
    }
}
