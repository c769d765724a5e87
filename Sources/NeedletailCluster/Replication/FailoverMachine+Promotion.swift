internal import NeedletailCore

/// From a primary whose lease is over to the next epoch.
extension FailoverMachine {
    /// One shard, after every event: begins a failover, asks, and promotes once all living members have answered.
    mutating func lookAfter(_ id: ShardID, now: Duration, _ actions: inout [Action]) {
        guard var shard = shards[id], let term else { return }
        if shard.failover == nil {
            guard shard.hasResigned || !isAlive(shard.place.primary, now: now) else { return }
            shard.failover = Failover(fence: Fence(epoch: shard.place.epoch + 1, term: term), nextAsk: now, nextSwap: now)
        }
        guard var failover = shard.failover, failover.swap == nil else { return }
        func ready() -> [NodeID] { shard.place.inSync.filter { isAlive($0, now: now) && !failover.unable.contains($0) } }
        // What a node could not do may have passed: its replica was still being read, or made.
        if now >= failover.nextAsk, ready().isEmpty { failover.unable = [] }
        let living = ready()
        let silent = living.filter { failover.answers[$0] == nil }
        if now >= failover.nextAsk {
            failover.nextAsk = now + retry
            for node in silent { actions.append(.fence(id, node, failover.fence)) }
        }
        if let reason = waitingReason(shard.place, living: living), reason.message != failover.reason {
            failover.reason = reason.message
            actions.append(.waiting(id, reason))
        }
        let preferred = shard.preferred
        if silent.isEmpty, now >= failover.nextSwap,
            let best = living.compactMap({ failover.answers[$0] }).max(by: { isLess($0, $1, preferred: preferred) })
        {
            let swap = promotion(of: best, in: shard.place, living: living, term: term)
            failover.swap = swap
            actions.append(.swap(id, swap))
        }
        shard.failover = failover
        shards[id] = shard
    }

    /// Whose log goes further: first by the last record's epoch, since a record of a younger epoch lies on all that was committed in
    /// older ones. Of equals the one that is preferred.
    private func isLess(_ left: FenceAnswer, _ right: FenceAnswer, preferred: NodeID?) -> Bool {
        (left.lastEpoch, left.end, left.node == preferred ? 1 : 0, right.node) < (right.lastEpoch, right.end, right.node == preferred ? 1 : 0, left.node)
    }

    /// The old primary stays in the set only if it lives and was fenced. Dead backups stay: the new primary proposes their leaving.
    private func promotion(of best: FenceAnswer, in old: ShardPlace, living: [NodeID], term: UInt64) -> Swap {
        var place = old
        place.epoch = best.fence.epoch
        place.primary = best.node
        place.inSync = old.inSync.filter { $0 != old.primary || living.contains($0) }
        place.version += 1
        return Swap(term: term, version: old.version, place: place, proposal: nil)
    }

    private func waitingReason(_ place: ShardPlace, living: [NodeID]) -> NeedletailError? {
        guard living.isEmpty else { return nil }
        let names = place.inSync.map(\.description).joined(separator: ", ")
        return NeedletailError(
            .unavailable,
            "shard \(place.number) has no primary: none of the nodes that have all acknowledged writes is there (\(names)); start one of them")
    }
}
