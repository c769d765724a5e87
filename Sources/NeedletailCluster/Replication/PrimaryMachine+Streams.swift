internal import NeedletailCore

/// What goes to the backups, and what comes back.
extension PrimaryMachine {
    mutating func answer(_ follow: Follow, now: Duration, _ actions: inout [ReplicaAction]) {
        let (stream, id) = (follow.stream, follow.stream.node)
        if let old = followers[id] {
            guard old.stream.number < stream.number else { return }
            if old.stream != stream { actions.append(.close(old.stream)) }
            drop(id, now: now)
        }
        guard follow.epoch == epoch, place.replicas.contains(id), id != node, !hasResigned else {
            return actions.append(.answer(stream, .refused(epoch: epoch)))
        }
        guard follow.promised <= epoch else {
            // A failover began and was not finished. This backup can never follow in this epoch.
            actions.append(.answer(stream, .refused(epoch: epoch)))
            return resign(now: now, &actions)
        }
        if mustTransfer.contains(id) {
            // Not before it has left the set: what it holds is not to be relied on.
            guard !effectiveSet.contains(id) else { return actions.append(.answer(stream, .refused(epoch: epoch))) }
            mustTransfer.remove(id)
            return actions.append(.answer(stream, .transfer))
        }
        let agreed = log.history.agreement(with: follow.history)
        if effectiveSet.contains(id), (agreed ?? 0) < committed {
            actions.append(.alarm(lacking(id, agreed: agreed)))
            return actions.append(.answer(stream, .refused(epoch: epoch)))
        }
        guard let agreed else { return actions.append(.answer(stream, .transfer)) }
        // Who has nothing takes a copy, although the log may still have everything: a graph is copied far more quickly than it is built again.
        if follow.history.end == 0, log.checkpointed > 0, !effectiveSet.contains(id) { return actions.append(.answer(stream, .transfer)) }
        var follower = Follower(stream: stream, sent: agreed, toldAt: now, progressAt: now, goal: log.end, goalAt: now)
        if place.inSync.contains(id) { follower.standing = .member }
        followers[id] = follower
        absentSince[id] = nil
        actions.append(.answer(stream, .agreed(at: agreed)))
    }

    private func lacking(_ id: NodeID, agreed: UInt64?) -> NeedletailError {
        NeedletailError(
            .dataLoss,
            "replica \(id) is in sync but its log agrees with the primary's only up to \(agreed ?? 0), and \(committed) is committed: its "
                + "disk lost what it had synced; remove the replica and let it be made anew")
    }

    mutating func drop(_ id: NodeID, now: Duration) {
        followers[id] = nil
        if place.inSync.contains(id) { absentSince[id] = now }
    }

    /// Orders the next message for each follower whose last one is out: records while its window has room, or what is committed now, or
    /// that we are there.
    mutating func order(now: Duration, _ actions: inout [ReplicaAction]) {
        guard !hasResigned else { return }
        for id in followers.keys.sorted() {
            guard var follower = followers[id], follower.hasBegun, follower.ordered == nil else { continue }
            let room = follower.sent < log.end ? max(0, settings.windowBytes - follower.windowBytes) : 0
            guard room > 0 || follower.toldCommitted < committed || now - follower.toldAt >= settings.heartbeat else { continue }
            follower.ordered = room
            follower.toldCommitted = committed
            follower.toldAt = now
            followers[id] = follower
            actions.append(
                .send(
                    SendOrder(stream: follower.stream, epoch: epoch, previous: follower.sent, budgetBytes: room, committed: committed)))
        }
    }

    mutating func noteSent(_ stream: StreamID, last: UInt64, sizeBytes: Int) {
        sentEnd = max(sentEnd, last)
        guard var follower = followers[stream.node], follower.stream == stream else { return }
        follower.ordered = nil
        if last > follower.sent, last > follower.acknowledged {
            follower.window.append((last, sizeBytes))
            follower.windowBytes += sizeBytes
        }
        follower.sent = max(follower.sent, last)
        followers[stream.node] = follower
    }

    mutating func noteProgress(_ stream: StreamID, durable: UInt64, now: Duration, _ actions: inout [ReplicaAction]) {
        guard var follower = followers[stream.node], follower.stream == stream else { return }
        guard durable <= log.end else {
            actions.append(.alarm(NeedletailError(.internal, "replica \(stream.node) has \(durable) and was sent \(log.end); report a bug")))
            return
        }
        follower.hasBegun = true
        if durable > follower.acknowledged { (follower.acknowledged, follower.progressAt) = (durable, now) }
        if durable >= log.end { follower.progressAt = now }
        let count = follower.window.firstIndex { $0.last > durable } ?? follower.window.count
        for entry in follower.window[..<count] { follower.windowBytes -= entry.sizeBytes }
        follower.window.removeFirst(count)
        followers[stream.node] = follower
    }
}
