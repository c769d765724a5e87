internal import Logging
internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

extension Split: LedResharding {
    static var kind: OperationKind { .split }
    static var copies: any WritableKeyPath<MetadataCopy, MapCopy<Split>> & Sendable { \.splits }

    var subject: String { "shard \(parent.number) of \(collection) into \(parts)" }

    private var parts: String { children.map { "\($0.number)" }.joined(separator: " and ") }

    var info: MoveInfo {
        let at = children.first.map { Incarnation($0.range.last).description } ?? ""
        return MoveInfo(order: MoveOrder(collection: collection, shard: parent.number), bytes: 0, cause: reason, reason: "into \(parts), at \(at)")
    }

    var traced: TracedOperation { TracedOperation(self) }
}

/// Cuts shards in two, on the leader.
extension Coordinator {
    /// Until cancelled.
    func runSplits(logger: Logger) async { await run(Split.self) { await self.step($0, logger) } }

    /// The split as it is after one step; nil when there is nothing more to be done now.
    private func step(_ split: Split, _ logger: Logger) async -> Split? {
        guard isCurrent(split) else { return nil }
        do {
            switch Splitter.next(split, await circumstances(of: split)) {
            case .change(let next, let places):
                return try await step(of: split.traced) { try await change(split, to: next, places, logger) }
            case .resign:
                if let place = place(of: split.parent)?.1 { failover.receive(.resigned(split.parent, place.primary, epoch: place.epoch)) }
                return nil
            case .drop(let nodes):
                return await step(of: split.traced) {
                    await drop(split, on: nodes)
                    return nil
                }
            case .close:
                if case .change(let next, let places) = Splitter.next(split, await circumstances(of: split, isClosing: true)) {
                    return try await step(of: split.traced) { try await change(split, to: next, places, logger) }
                }
                try await Task.sleep(for: Self.sealedPause)
                return split
            case .wait:
                guard split.step == .sealing else { return nil }
                try await Task.sleep(for: Self.sealedPause)
                return split
            case .nothing: return nil
            }
        } catch {
            logger.debug("a split waits: \(error)", metadata: ["operation": "\(split.key)"])
            return nil
        }
    }

    private func circumstances(of split: Split, isClosing: Bool = false) async -> Splitter.Circumstances {
        let known = place(of: split.parent)
        var now = Splitter.Circumstances(place: known?.1)
        now.age = age(of: split)
        if split.step == .preparing || split.step == .sealing, let place = known?.1 {
            var order = split.order
            order.isClosing = isClosing
            let request = order
            now.progress = await ask(place.inSync.filter(split.nodes.contains)) { try await $0.split(request, deadline: .after(.seconds(1))) }
        }
        state.withLock { state in
            now.undropped = state.undropped(of: split, lost: lostNodes(state))
            now.isServed = state.serves(split.children.map(split.shard), since: split.sealEpoch)
        }
        return now
    }

    /// The next state of a split, with what takes the parent's place if anything does, in one transaction.
    private func change(_ split: Split, to next: Split, _ places: [ShardPlace], _ logger: Logger) async throws -> Split? {
        var next = next
        next.changedMilliseconds = Self.milliseconds()
        guard try await store(next, replacing: split, places) else { return nil }
        await announce(places, of: split.parent.incarnation)
        return await report(next, after: split, logger)
    }

    /// - Parameter places: what takes the place of the parent; nothing when empty.
    /// - Returns: false when the split or the place were no longer as they are named.
    private func store(_ split: Split, replacing old: Split, _ places: [ShardPlace]) async throws -> Bool {
        if places.isEmpty { return try await store(split, replacing: old) }
        guard let (entry, parent) = place(of: split.parent), places.allSatisfy({ $0.version == parent.version + 1 }) else { return false }
        var changed = entry
        changed.shards = entry.shards.flatMap { $0.number == parent.number ? places : [$0] }
        guard try await store(split, replacing: old, changed, replacing: entry) else { return false }
        if !places.contains(where: { $0.number == parent.number }) { failover.receive(.removed(split.parent)) }
        tellFailover(changed)
        return true
    }

    // MARK: What operators ask for, and what is done unasked

    public func split(_ order: ShardSplitOrder, deadline: Deadline?) async throws -> OperationInfo {
        if let leader = try leaderElsewhere() { return try await leader.split(order, deadline: deadline) }
        return Self.info(try await begin({ try plan(order, $0, reason: "asked for") }, of: order.collection))
    }

    private func plan(_ order: ShardSplitOrder, _ entry: CollectionEntry, reason: String) throws -> Split {
        guard let place = entry.shards.first(where: { $0.number == order.shard }) else {
            throw NeedletailError(.notFound, "collection \"\(order.collection)\" has no shard \(order.shard); see `needletail cluster shards`")
        }
        let middle = place.range.first + (place.range.last - place.range.first) / 2
        let at = order.at ?? middle
        guard place.range.contains(at), at < place.range.last else {
            throw NeedletailError(
                .invalidArgument,
                "a shard is split at a hash of its range, before the last: from \(Incarnation(place.range.first)) to \(Incarnation(place.range.last))")
        }
        guard entry.shards.count < Limits.shardsPerCollection else {
            throw NeedletailError(.failedPrecondition, "a collection has at most \(Limits.shardsPerCollection) shards, and \"\(order.collection)\" has as many")
        }
        let parent = entry.shardID(place)
        if state.withLock({ $0.isUnderWay(parent) }) {
            throw NeedletailError(.aborted, "shard \(order.shard) is being moved, split or merged already; see `needletail cluster operations`")
        }
        return Split(
            id: .random(in: 1...UInt64.max), collection: order.collection, parent: parent, place: place, at: at, firstNumber: entry.nextNumber,
            reason: reason, nowMilliseconds: Self.milliseconds())
    }

    /// Called on the clock: begins to split what has become larger than wanted, one shard at a time.
    func planSplits() async {
        guard isLeader, let limit = policy.splitAboveBytes else { return }
        let due = state.withLock { $0.isPaused || $0.isResharding ? nil : $0.dueSplits(above: limit).first }
        if let due { _ = try? await begin({ try plan(due, $0, reason: Self.splitReason(limit)) }, of: due.collection) }
    }

    static func splitReason(_ limit: UInt64) -> String { "it is larger than \(limit) bytes" }
}

extension Coordinator.State {
    /// A shard of fewer points is not split by itself, however large they are.
    private static let leastSplitPoints: UInt64 = 1_000

    /// Shards with a replica that is larger than wanted.
    func dueSplits(above limit: UInt64) -> [ShardSplitOrder] {
        collections.values.filter { $0.state == .active }.sorted { $0.spec.name < $1.spec.name }.flatMap { entry in
            entry.shards.filter { place in
                guard place.inSync == place.replicas, place.range.first < place.range.last, !isUnderWay(entry.shardID(place)),
                    let status = membership.replica(entry.shardID(place), on: place.primary)
                else { return false }
                return status.pointCount >= Self.leastSplitPoints && status.dataBytes > limit
            }
            .map { ShardSplitOrder(collection: entry.spec.name, shard: $0.number) }
        }
    }
}
