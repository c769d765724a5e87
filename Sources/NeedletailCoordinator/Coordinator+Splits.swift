internal import Logging
internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

/// Cuts shards in two, on the leader. What is to be done says `Splitter`; whoever leads next finds it in the metadata.
extension Coordinator {
    /// Until cancelled.
    func runSplits(logger: Logger) async {
        await withDiscardingTaskGroup { steps in
            while !Task.isCancelled {
                for split in dueSplits() {
                    steps.addTask {
                        await self.advance(split, logger)
                        self.state.withLock { _ = $0.advancing.remove(split.id) }
                    }
                }
                await forgetOldSplits()
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Those to be gone on with now; each is marked as being so.
    private func dueSplits() -> [Split] {
        guard isLeader else { return [] }
        return state.withLock { state in
            state.copy.splits.values.values.filter { split in
                // A pause holds what has not begun to be final; what waits with writes, or has files to remove, ends.
                !split.step.hasEnded && (split.step != .preparing || split.isCancelled || !state.isPaused)
            }
            .sorted { $0.id < $1.id }.filter { state.advancing.insert($0.id).inserted }
        }
    }

    private func advance(_ split: Split, _ logger: Logger) async {
        var split = split
        while isLeader, !Task.isCancelled, let next = await step(split, logger) { split = next }
    }

    /// While writes wait.
    static let sealedPause = Duration.milliseconds(3)

    /// The split as it is after one step; nil when there is nothing more to be done now.
    private func step(_ split: Split, _ logger: Logger) async -> Split? {
        guard state.withLock({ $0.copy.splits.values[split.key] }) == split else { return nil }
        do {
            switch Splitter.next(split, await circumstances(of: split)) {
            case .change(let next, let places):
                return try await step(of: TracedOperation(split)) { try await change(split, to: next, places, logger) }
            case .resign:
                if let place = place(of: split.parent)?.1 { failover.receive(.resigned(split.parent, place.primary, epoch: place.epoch)) }
                return nil
            case .drop(let nodes):
                return await step(of: TracedOperation(split)) {
                    let done = await drop(split.dropped, on: nodes)
                    state.withLock { state in
                        let known = state.splitDrops[split.id].flatMap { $0.step == split.step ? $0.nodes : nil } ?? []
                        state.splitDrops[split.id] = (split.step, known.union(done))
                    }
                    return nil
                }
            case .close:
                if case .change(let next, let places) = Splitter.next(split, await circumstances(of: split, isClosing: true)) {
                    return try await step(of: TracedOperation(split)) { try await change(split, to: next, places, logger) }
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
        now.age = .milliseconds(max(0, Self.milliseconds() - split.changedMilliseconds))
        if split.step == .preparing || split.step == .sealing, let place = known?.1 {
            var order = split.order
            order.isClosing = isClosing
            let request = order
            now.progress = await ask(place.inSync.filter(split.nodes.contains)) { try await $0.split(request, deadline: .after(.seconds(1))) }
        }
        state.withLock { state in
            let lost = lostNodes(state)
            let (step, done) = state.splitDrops[split.id] ?? (split.step, [])
            now.undropped = split.nodes.filter { !lost.contains($0) && (step != split.step || !done.contains($0)) }
            now.isServed = state.serves(split.children.map(split.shard), since: split.sealEpoch)
        }
        return now
    }

    /// What living nodes answer, as far as they do.
    func ask<Answer: Sendable>(
        _ nodes: [NodeID], _ question: @escaping @Sendable (any ReplicationOperations) async throws -> Answer
    ) async -> [NodeID: Answer] {
        let links = state.withLock { state in
            nodes.filter { state.membership.isAlive($0, now: .now) }.compactMap { node in state.workers[node].map { (node, $0.replication) } }
        }
        return await withTaskGroup(of: (NodeID, Answer?).self) { group in
            for (node, replication) in links {
                group.addTask {
                    let answer = try? await question(replication)
                    return (node, answer)
                }
            }
            var answers: [NodeID: Answer] = [:]
            for await (node, answer) in group { answers[node] = answer }
            return answers
        }
    }

    /// - Returns: the nodes that have removed all of these shards' files.
    func drop(_ shards: [ShardID], on nodes: [NodeID]) async -> [NodeID] {
        await withTaskGroup(of: NodeID?.self) { group in
            for node in nodes {
                group.addTask {
                    for shard in shards {
                        do {
                            try await self.ask(node, about: [shard]) { try await $0.dropReplica(shard, deadline: .after(.seconds(60))) }
                            self.state.withLock { $0.membership.dropped(shard, by: node) }
                        } catch { return nil }
                    }
                    return node
                }
            }
            return await group.reduce(into: []) { done, node in if let node { done.append(node) } }
        }
    }

    /// The next state of a split, with what takes the parent's place if anything does, in one transaction.
    private func change(_ split: Split, to next: Split, _ places: [ShardPlace], _ logger: Logger) async throws -> Split? {
        var next = next
        next.changedMilliseconds = Self.milliseconds()
        guard let entry = try await store(next, replacing: split, places) else { return nil }
        await withTaskGroup(of: Void.self) { group in for place in places { group.addTask { await self.announce(place, of: entry) } } }
        if next.step.hasEnded { state.withLock { $0.splitDrops[split.id] = nil } }
        var message = Self.account(of: next)
        if split.step == .sealing, next.step == .dropping { message += "; writes waited for \(next.changedMilliseconds - split.changedMilliseconds) ms" }
        logger.info("\(message)", metadata: ["operation": "\(next.key)"])
        if next.step.hasEnded || next.step == .dropping || next.step == .unsealing { await note("split", message) }
        return next.step.hasEnded ? nil : next
    }

    /// - Parameter places: what takes the place of the parent; nothing when empty.
    /// - Returns: the collection as it is then; nil when the split or the place were no longer as they are named.
    private func store(_ split: Split, replacing old: Split, _ places: [ShardPlace]) async throws -> CollectionEntry? {
        let path = MetadataCopy.operationsPrefix + split.key
        guard let revision = state.withLock({ $0.copy.splits.values[old.key] == old ? $0.copy.splits.revision(old.key) : nil }) else { return nil }
        guard !places.isEmpty else {
            let outcome = try await transactAsLeader(if: [.revision(path, revision)], [.put(path, split.encoded)])
            guard outcome.succeeded else { return nil }
            state.withLock { $0.copy.splits.change(split.key, to: split, revision: outcome.revision) }
            ended(TracedOperation(split))
            return place(of: split.parent)?.0 ?? state.withLock { $0.collections[split.collection] } ?? Self.nowhere(split)
        }
        guard let (entry, parent) = place(of: split.parent), places.allSatisfy({ $0.version == parent.version + 1 }) else { return nil }
        var changed = entry
        changed.shards = entry.shards.flatMap { $0.number == parent.number ? places : [$0] }
        guard let outcome = try await store(changed, replacing: entry, with: path, split.encoded, if: .revision(path, revision)) else { return nil }
        state.withLock { $0.copy.splits.change(split.key, to: split, revision: outcome) }
        ended(TracedOperation(split))
        if !places.contains(where: { $0.number == parent.number }) { failover.receive(.removed(split.parent)) }
        tellFailover(changed)
        return changed
    }

    /// - Returns: the revision; nil when something was no longer as it is named.
    func store(
        _ changed: CollectionEntry, replacing entry: CollectionEntry, with path: String, _ operation: [UInt8], if comparison: MetadataComparison
    ) async throws -> UInt64? {
        try changed.validate()
        let (name, key) = (entry.spec.name, MetadataCopy.collectionsPrefix + entry.spec.name)
        guard let revision = state.withLock({ $0.collections[name] == entry ? $0.copy.collections.revision(name) : nil }) else { return nil }
        let outcome = try await transactAsLeader(
            if: [comparison, .revision(key, revision)],
            [.put(path, operation), .put(key, changed.encoded)])
        guard outcome.succeeded else { return nil }
        state.withLock { $0.copy.collections.change(name, to: changed, revision: outcome.revision) }
        return outcome.revision
    }

    private static func nowhere(_ split: Split) -> CollectionEntry {
        CollectionEntry(
            spec: CollectionSpec(name: split.collection, fields: [], shardCount: 0), incarnation: split.parent.incarnation, state: .deleting, shards: [])
    }

    /// How many splits that have ended are kept.
    static let keptSplits = 64

    private func forgetOldSplits() async {
        guard isLeader else { return }
        let ended = state.withLock { $0.copy.splits.values.values.filter(\.step.hasEnded) }
        guard ended.count > Self.keptSplits else { return }
        for split in ended.sorted(by: { ($0.changedMilliseconds, $0.id) < ($1.changedMilliseconds, $1.id) }).prefix(ended.count - Self.keptSplits) {
            guard let outcome = try? await transactAsLeader(if: [], [.delete(MetadataCopy.operationsPrefix + split.key)]), outcome.succeeded else { return }
            state.withLock { $0.copy.splits.change(split.key, to: nil, revision: outcome.revision) }
        }
    }

    static func account(of split: Split) -> String {
        let parts = split.children.map { "\($0.number)" }.joined(separator: " and ")
        return "shard \(split.parent.number) of \(split.collection) into \(parts): \(split.step.name) "
            + "(\(split.problem.isEmpty ? split.reason : split.problem))"
    }

    // MARK: What operators ask for, and what is done unasked

    public func split(_ order: ShardSplitOrder, deadline: Deadline?) async throws -> OperationInfo {
        if let leader = try leaderElsewhere() { return try await leader.split(order, deadline: deadline) }
        return Self.info(try await begin(order, reason: "asked for"))
    }

    private func begin(_ order: ShardSplitOrder, reason: String) async throws -> Split {
        let entry = try entry(order.collection)
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
        let split = Split(
            id: .random(in: 1...UInt64.max), collection: order.collection, parent: parent, place: place, at: at, firstNumber: entry.nextNumber,
            reason: reason, nowMilliseconds: Self.milliseconds())
        var changed = entry
        changed.nextNumber += 2
        let path = MetadataCopy.operationsPrefix + split.key
        guard let revision = try await store(changed, replacing: entry, with: path, split.encoded, if: .absent(path)) else {
            throw NeedletailError(.aborted, "the cluster has changed meanwhile; see `needletail cluster operations`, then try again")
        }
        state.withLock { $0.copy.splits.change(split.key, to: split, revision: revision) }
        await note("split", Self.account(of: split))
        return split
    }

    /// Called on the clock: begins to split what has become larger than wanted, one shard at a time.
    func planSplits() async {
        guard isLeader, let limit = policy.splitAboveBytes else { return }
        let due = state.withLock { $0.isPaused || $0.isResharding ? nil : $0.dueSplits(above: limit).first }
        if let due { _ = try? await begin(due, reason: Self.splitReason(limit)) }
    }

    static func splitReason(_ limit: UInt64) -> String { "it is larger than \(limit) bytes" }

    /// nil when there is no split of this id.
    func cancelSplit(_ id: UInt64) async throws -> OperationInfo? {
        for _ in 0..<20 {
            guard let split = state.withLock({ $0.copy.splits.values[Incarnation(id).description] }) else { return nil }
            if split.isCancelled, !split.step.hasEnded { return Self.info(split) }
            guard split.step.holdsParent else {
                throw NeedletailError(.failedPrecondition, "operation \(Incarnation(id)) is \(split.step.name): it cannot be undone")
            }
            var cancelled = split
            (cancelled.isCancelled, cancelled.problem) = (true, "cancelled by the operator")
            if try await store(cancelled, replacing: split, []) != nil { return Self.info(cancelled) }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw NeedletailError(.aborted, "operation \(Incarnation(id)) goes on too quickly to be cancelled; try again")
    }

    static func info(_ split: Split) -> OperationInfo {
        let parts = split.children.map { "\($0.number)" }.joined(separator: " and ")
        let at = split.children.first.map { Incarnation($0.range.last).description } ?? ""
        let info = MoveInfo(
            order: MoveOrder(collection: split.collection, shard: split.parent.number), bytes: 0, cause: split.reason, reason: "into \(parts), at \(at)")
        return OperationInfo(
            id: split.id, kind: "split", move: info, step: split.step.name, problem: split.problem, createdMilliseconds: split.createdMilliseconds,
            changedMilliseconds: split.changedMilliseconds)
    }
}

extension Coordinator.State {
    /// Whether somebody is at work on the shard.
    func isUnderWay(_ shard: ShardID) -> Bool {
        copy.operations.values.values.contains { $0.shard == shard && !$0.step.hasEnded } || isSplitting(shard)
    }

    /// Whether the shard is being split or merged, or was a moment ago.
    func isSplitting(_ shard: ShardID) -> Bool {
        copy.splits.values.values.contains { $0.parent == shard && !$0.step.hasEnded }
            || copy.merges.values.values.contains { !$0.step.hasEnded && $0.parents.contains { $0.shard == shard } }
    }

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

    /// Whether any shard is being split or merged.
    var isResharding: Bool {
        copy.splits.values.values.contains { !$0.step.hasEnded } || copy.merges.values.values.contains { !$0.step.hasEnded }
    }

    /// Parts of shards that a node may be making, and what shards are merged into.
    func kept(on node: NodeID) -> [ShardID] {
        let parts = copy.splits.values.values.filter { $0.nodes.contains(node) }.flatMap(\.kept)
        return (parts + copy.merges.values.values.filter { $0.nodes.contains(node) }.flatMap(\.kept)).sorted()
    }

    /// Whether the nodes of these shards of one collection know of their places in this epoch, as far as they are there.
    func serves(_ shards: [ShardID], since epoch: UInt64) -> Bool {
        let now = ContinuousClock.now
        guard let entry = collections.values.first(where: { $0.incarnation == shards.first?.incarnation }) else { return true }
        let places = entry.shards.filter { shards.contains(entry.shardID($0)) }
        return places.allSatisfy { place in
            let living = place.inSync.filter { membership.isAlive($0, now: now) }
            return !living.isEmpty
                && living.allSatisfy { node in (membership.replica(entry.shardID(place), on: node)?.epoch ?? 0) >= epoch }
        }
    }
}

extension Split.Step {
    var name: String {
        switch self {
        case .preparing: "preparing"
        case .sealing: "sealing"
        case .dropping: "dropping"
        case .done: "done"
        case .unsealing: "unsealing"
        case .undropping: "undropping"
        case .cancelled: "cancelled"
        case .failed: "failed"
        }
    }
}
