internal import Logging
internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

extension Merge: LedResharding {
    static var kind: OperationKind { .merge }
    static var copies: any WritableKeyPath<MetadataCopy, MapCopy<Merge>> & Sendable { \.merges }

    var subject: String { "shards \(parents[0].shard.number) and \(parents[1].shard.number) of \(collection) into \(child.number)" }

    var info: MoveInfo {
        MoveInfo(
            order: MoveOrder(collection: collection, shard: parents[0].shard.number), bytes: 0, cause: reason,
            reason: "with \(parents[1].shard.number), into \(child.number)")
    }

    var traced: TracedOperation { TracedOperation(self) }
}

/// Makes two neighbouring shards one, on the leader.
extension Coordinator {
    /// Until cancelled.
    func runMerges(logger: Logger) async { await run(Merge.self) { await self.step($0, logger) } }

    /// The merge as it is after one step; nil when there is nothing more to be done now.
    private func step(_ merge: Merge, _ logger: Logger) async -> Merge? {
        guard isCurrent(merge) else { return nil }
        do {
            let now = await circumstances(of: merge)
            switch Merger.next(merge, now) {
            case .change(let next, let place):
                return try await step(of: merge.traced) { try await change(merge, to: next, place, now.places, logger) }
            case .resign(let place):
                failover.receive(.resigned(ShardID(incarnation: merge.shard.incarnation, number: place.number), place.primary, epoch: place.epoch))
                return nil
            case .drop(let nodes):
                return await step(of: merge.traced) {
                    await drop(merge, on: nodes)
                    return nil
                }
            case .close:
                let closed = await circumstances(of: merge, isClosing: true)
                if case .change(let next, let place) = Merger.next(merge, closed) {
                    return try await step(of: merge.traced) { try await change(merge, to: next, place, closed.places, logger) }
                }
                try await Task.sleep(for: Self.sealedPause)
                return merge
            case .wait:
                guard merge.step == .sealing else { return nil }
                try await Task.sleep(for: Self.sealedPause)
                return merge
            case .nothing: return nil
            }
        } catch {
            logger.debug("a merge waits: \(error)", metadata: ["operation": "\(merge.key)"])
            return nil
        }
    }

    private func circumstances(of merge: Merge, isClosing: Bool = false) async -> Merger.Circumstances {
        let places = merge.parents.map { place(of: $0.shard)?.1 }
        var now = Merger.Circumstances(places: places)
        now.age = age(of: merge)
        if merge.step == .preparing || merge.step == .sealing {
            var order = merge.order
            order.isClosing = isClosing
            let members = Set(places.compactMap { $0?.inSync }.flatMap { $0 })
            let request = order
            now.progress = await ask(members.filter(merge.nodes.contains).sorted()) { try await $0.merge(request, deadline: .after(.seconds(1))) }
        }
        state.withLock { state in
            now.undropped = state.undropped(of: merge, lost: lostNodes(state))
            now.isServed = state.serves([merge.shard], since: merge.epoch)
        }
        return now
    }

    /// The next state of a merge, with the place that changes if one does, in one transaction.
    private func change(
        _ merge: Merge, to next: Merge, _ place: ShardPlace?, _ parents: [ShardPlace?], _ logger: Logger
    ) async throws -> Merge? {
        var next = next
        next.changedMilliseconds = Self.milliseconds()
        guard try await store(next, replacing: merge, place, parents) else { return nil }
        await announce(place.map { [$0] } ?? [], of: merge.shard.incarnation)
        return await report(next, after: merge, logger)
    }

    /// - Parameter parents: their places as the decision knew them.
    /// - Returns: false when the merge or a place were no longer as they are named.
    private func store(_ merge: Merge, replacing old: Merge, _ place: ShardPlace?, _ parents: [ShardPlace?]) async throws -> Bool {
        guard let place else { return try await store(merge, replacing: old) }
        // The transaction names the revision of the entry in which both places are as they were when it was decided.
        guard let entry = self.place(of: merge.parents[0].shard)?.0,
            parents == merge.parents.map({ parent in entry.shards.first { $0.number == parent.shard.number } })
        else { return false }
        var changed = entry
        let isCutOver = merge.step == .dropping
        let replaced = isCutOver ? merge.parents.map(\.shard.number) : [place.number]
        guard let first = changed.shards.firstIndex(where: { replaced.contains($0.number) }) else { return false }
        changed.shards.removeAll { replaced.contains($0.number) }
        changed.shards.insert(place, at: first)
        guard try await store(merge, replacing: old, changed, replacing: entry) else { return false }
        if isCutOver { for parent in merge.parents { failover.receive(.removed(parent.shard)) } }
        tellFailover(changed)
        return true
    }

    // MARK: What operators ask for, and what is done unasked

    public func merge(_ order: ShardMergeOrder, deadline: Deadline?) async throws -> OperationInfo {
        if let leader = try leaderElsewhere() { return try await leader.merge(order, deadline: deadline) }
        return Self.info(try await begin({ try plan(order, $0, reason: "asked for") }, of: order.collection))
    }

    private func plan(_ order: ShardMergeOrder, _ entry: CollectionEntry, reason: String) throws -> Merge {
        let numbers = [order.shard, order.other]
        for number in numbers where !entry.shards.contains(where: { $0.number == number }) {
            throw NeedletailError(.notFound, "collection \"\(order.collection)\" has no shard \(number); see `needletail cluster shards`")
        }
        let places = entry.shards.filter { numbers.contains($0.number) }
        guard places.count == 2, places[0].range.last + 1 == places[1].range.first else {
            throw NeedletailError(
                .failedPrecondition, "shards \(order.shard) and \(order.other) are no neighbours; `needletail cluster shards` shows the ranges")
        }
        try checkNodes(places, of: entry)
        if state.withLock({ state in places.contains { state.isUnderWay(entry.shardID($0)) } }) {
            throw NeedletailError(.aborted, "one of the shards is being moved, split or merged already; see `needletail cluster operations`")
        }
        return Merge(
            id: .random(in: 1...UInt64.max), collection: order.collection, incarnation: entry.incarnation, places: places, number: entry.nextNumber,
            reason: reason, nowMilliseconds: Self.milliseconds())
    }

    /// - Throws: `failedPrecondition` when the same nodes do not hold both, with the moves that help.
    private func checkNodes(_ places: [ShardPlace], of entry: CollectionEntry) throws(NeedletailError) {
        let nodes = places.map { Set($0.replicas) }
        if nodes[0] != nodes[1] {
            let (from, to) = (nodes[1].subtracting(nodes[0]).sorted(), nodes[0].subtracting(nodes[1]).sorted())
            guard from.count == to.count, !from.isEmpty else {
                throw NeedletailError(
                    .failedPrecondition, "shards \(places[0].number) and \(places[1].number) have different numbers of replicas; wait until both have as many")
            }
            let moves = zip(from, to).map { "`needletail cluster move \(entry.spec.name) \(places[1].number) --from \($0) --to \($1)`" }
            throw NeedletailError(
                .failedPrecondition,
                "shards \(places[0].number) and \(places[1].number) are on different nodes, and are merged where both are; first "
                    + moves.joined(separator: ", "))
        }
        for place in places where place.inSync != place.replicas {
            throw NeedletailError(
                .failedPrecondition, "not all replicas of shard \(place.number) are in sync; `needletail cluster shards` shows when they are")
        }
    }

    /// Called on the clock: begins to merge neighbours that are together smaller than wanted, two at a time.
    func planMerges() async {
        guard isLeader, let limit = policy.mergeBelowBytes else { return }
        let due = state.withLock { $0.isPaused || $0.isResharding ? nil : $0.dueMerges(below: limit).first }
        if let due { _ = try? await begin({ try plan(due, $0, reason: Self.mergeReason(limit)) }, of: due.collection) }
    }

    static func mergeReason(_ limit: UInt64) -> String { "together they are smaller than \(limit) bytes" }
}

extension Coordinator.State {
    /// Neighbours on the same nodes that are together smaller than wanted. A collection keeps as many shards as it was asked for with, and a shard is in
    /// one pair at most.
    func dueMerges(below limit: UInt64) -> [ShardMergeOrder] {
        collections.values.filter { $0.state == .active }.sorted { $0.spec.name < $1.spec.name }.flatMap { entry -> [ShardMergeOrder] in
            func bytes(_ place: ShardPlace) -> UInt64? {
                guard place.inSync == place.replicas, !isUnderWay(entry.shardID(place)) else { return nil }
                return membership.replica(entry.shardID(place), on: place.primary)?.dataBytes
            }
            var orders: [ShardMergeOrder] = []
            for (first, second) in zip(entry.shards, entry.shards.dropFirst()) where entry.shards.count - orders.count > entry.spec.shardCount {
                guard Set(first.replicas) == Set(second.replicas), orders.last?.other != first.number, let one = bytes(first), let other = bytes(second),
                    one + other < limit
                else { continue }
                orders.append(ShardMergeOrder(collection: entry.spec.name, shard: first.number, other: second.number))
            }
            return orders
        }
    }
}
