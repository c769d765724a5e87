internal import Logging
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

/// A split or a merge as the leader carries it out.
protocol LedResharding: Resharding {
    static var kind: OperationKind { get }
    /// Where the copy of the metadata has those of this kind.
    static var copies: any WritableKeyPath<MetadataCopy, MapCopy<Self>> & Sendable { get }
    /// What becomes of what, for operators: "shard 3 of notes into 7 and 8".
    var subject: String { get }
    /// As the list of operations shows it.
    var info: MoveInfo { get }
    var traced: TracedOperation { get }
}

/// What carrying out splits and carrying out merges have in common. What is to be done say `Splitter` and `Merger`; whoever leads next finds it in
/// the metadata.
extension Coordinator {
    /// Until cancelled.
    ///
    /// - Parameter step: goes on with one; returns it as it is then, nil when there is nothing more to be done now.
    func run<One: LedResharding>(_: One.Type, _ step: @escaping @Sendable (One) async -> One?) async {
        await withDiscardingTaskGroup { steps in
            while !Task.isCancelled {
                for one in due(One.self) {
                    steps.addTask {
                        var one = one
                        while self.isLeader, !Task.isCancelled, let next = await step(one) { one = next }
                        self.state.withLock { _ = $0.advancing.remove(one.id) }
                    }
                }
                await forgetOld(One.self)
                try? await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// Those to be gone on with now; each is marked as being so.
    private func due<One: LedResharding>(_: One.Type) -> [One] {
        guard isLeader else { return [] }
        return state.withLock { state in
            state.copy[keyPath: One.copies].values.values.filter { one in
                // A pause holds what has not begun to be final; what waits with writes, or has files to remove, ends.
                !one.step.hasEnded && (one.step != .preparing || one.isCancelled || !state.isPaused)
            }
            .sorted { $0.id < $1.id }.filter { state.advancing.insert($0.id).inserted }
        }
    }

    /// While writes wait.
    static let sealedPause = Duration.milliseconds(3)

    /// Whether it is still as the metadata have it.
    func isCurrent<One: LedResharding>(_ one: One) -> Bool { state.withLock { $0.copy[keyPath: One.copies].values[one.key] } == one }

    /// Since its last change.
    func age(of one: some Resharding) -> Duration { .milliseconds(max(0, Self.milliseconds() - one.changedMilliseconds)) }

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

    /// Has these nodes remove the files of the shards that are not wanted, and remembers which did.
    func drop(_ one: some LedResharding, on nodes: [NodeID]) async {
        let done = await withTaskGroup(of: NodeID?.self) { group in
            for node in nodes {
                group.addTask {
                    for shard in one.dropped {
                        do {
                            try await self.ask(node, about: [shard]) { try await $0.dropReplica(shard, deadline: .after(.seconds(60))) }
                            self.state.withLock { $0.membership.dropped(shard, by: node) }
                        } catch { return nil }
                    }
                    return node
                }
            }
            return await group.reduce(into: Set<NodeID>()) { done, node in if let node { done.insert(node) } }
        }
        state.withLock { state in
            let known = state.reshardingDrops[one.id].flatMap { $0.step == one.step ? $0.nodes : nil } ?? []
            state.reshardingDrops[one.id] = (one.step, known.union(done))
        }
    }

    // MARK: Its entry

    /// - Returns: false when it was no longer as it is named.
    func store<One: LedResharding>(_ one: One, replacing old: One) async throws -> Bool {
        guard let revision = revision(of: old) else { return false }
        let path = MetadataCopy.operationsPrefix + one.key
        let outcome = try await transactAsLeader(if: [.revision(path, revision)], [.put(path, one.encoded)])
        if outcome.succeeded { changed(one, revision: outcome.revision) }
        return outcome.succeeded
    }

    /// Together with a change of its collection.
    ///
    /// - Returns: false when one of the two was no longer as it is named.
    func store<One: LedResharding>(_ one: One, replacing old: One, _ entry: CollectionEntry, replacing oldEntry: CollectionEntry) async throws -> Bool {
        guard let revision = revision(of: old) else { return false }
        return try await store(one, entry, replacing: oldEntry, if: .revision(MetadataCopy.operationsPrefix + one.key, revision))
    }

    private func store<One: LedResharding>(
        _ one: One, _ entry: CollectionEntry, replacing old: CollectionEntry, if comparison: MetadataComparison
    ) async throws -> Bool {
        try entry.validate()
        let (name, key) = (old.spec.name, MetadataCopy.collectionsPrefix + old.spec.name)
        guard let revision = state.withLock({ $0.collections[name] == old ? $0.copy.collections.revision(name) : nil }) else { return false }
        let outcome = try await transactAsLeader(
            if: [comparison, .revision(key, revision)], [.put(MetadataCopy.operationsPrefix + one.key, one.encoded), .put(key, entry.encoded)])
        guard outcome.succeeded else { return false }
        state.withLock { $0.copy.collections.change(name, to: entry, revision: outcome.revision) }
        changed(one, revision: outcome.revision)
        return true
    }

    private func revision<One: LedResharding>(of one: One) -> UInt64? {
        state.withLock { $0.copy[keyPath: One.copies].values[one.key] == one ? $0.copy[keyPath: One.copies].revision(one.key) : nil }
    }

    private func changed<One: LedResharding>(_ one: One, revision: UInt64) {
        state.withLock { $0.copy[keyPath: One.copies].change(one.key, to: one, revision: revision) }
        ended(one.traced)
    }

    /// Tells the nodes of those places that are still so.
    func announce(_ places: [ShardPlace], of incarnation: Incarnation) async {
        await withDiscardingTaskGroup { group in
            for place in places {
                guard let (entry, current) = self.place(of: ShardID(incarnation: incarnation, number: place.number)), current == place else { continue }
                group.addTask { await self.announce(place, of: entry) }
            }
        }
    }

    /// Says of a step that was made what there is to say.
    ///
    /// - Returns: what there is to go on with.
    func report<One: LedResharding>(_ next: One, after old: One, _ logger: Logger) async -> One? {
        if next.step.hasEnded { state.withLock { $0.reshardingDrops[next.id] = nil } }
        if next.step == old.step { return next }
        var message = Self.account(of: next)
        if old.step == .sealing, next.step == .dropping { message += "; writes waited for \(next.changedMilliseconds - old.changedMilliseconds) ms" }
        logger.info("\(message)", metadata: ["operation": "\(next.key)"])
        if next.step.hasEnded || next.step == .dropping || next.step == .unsealing { await note("\(One.kind)", message) }
        return next.step.hasEnded ? nil : next
    }

    static func account(of one: some LedResharding) -> String {
        "\(one.subject): \(one.step.name) (\(one.problem.isEmpty ? one.reason : one.problem))"
    }

    static func info<One: LedResharding>(_ one: One) -> OperationInfo {
        OperationInfo(
            id: one.id, kind: "\(One.kind)", move: one.info, step: one.step.name, problem: one.problem, createdMilliseconds: one.createdMilliseconds,
            changedMilliseconds: one.changedMilliseconds)
    }

    /// How many that have ended are kept of each kind.
    private static let keptReshardings = 64

    private func forgetOld<One: LedResharding>(_: One.Type) async {
        guard isLeader else { return }
        let ended = state.withLock { $0.copy[keyPath: One.copies].values.values.filter(\.step.hasEnded) }
        guard ended.count > Self.keptReshardings else { return }
        for one in ended.sorted(by: { ($0.changedMilliseconds, $0.id) < ($1.changedMilliseconds, $1.id) }).prefix(ended.count - Self.keptReshardings) {
            guard let outcome = try? await transactAsLeader(if: [], [.delete(MetadataCopy.operationsPrefix + one.key)]), outcome.succeeded else { return }
            state.withLock { $0.copy[keyPath: One.copies].change(one.key, to: nil, revision: outcome.revision) }
        }
    }

    // MARK: What operators ask for

    /// Writes a new one down, whose shards have the next numbers of the collection.
    ///
    /// - Parameter plan: what is to begin, of the collection as it is; asked again when that changed meanwhile, as it does whenever a replica of any of its
    ///   shards joins or leaves the in-sync set.
    func begin<One: LedResharding>(_ plan: (CollectionEntry) throws -> One, of collection: String) async throws -> One {
        for _ in 0..<20 {
            let entry = try entry(collection)
            let one = try plan(entry)
            var changed = entry
            changed.nextNumber += UInt32(one.made.count)
            if try await store(one, changed, replacing: entry, if: .absent(MetadataCopy.operationsPrefix + one.key)) {
                await note("\(One.kind)", Self.account(of: one))
                return one
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw NeedletailError(.aborted, "the cluster has changed meanwhile; see `needletail cluster operations`, then try again")
    }

    /// nil when there is none of this id.
    func cancel<One: LedResharding>(_: One.Type, _ id: UInt64) async throws -> OperationInfo? {
        for _ in 0..<20 {
            guard let one = state.withLock({ $0.copy[keyPath: One.copies].values[Incarnation(id).description] }) else { return nil }
            if one.isCancelled, !one.step.hasEnded { return Self.info(one) }
            guard one.step.holdsReplaced else {
                throw NeedletailError(.failedPrecondition, "operation \(Incarnation(id)) is \(one.step.name): it cannot be undone")
            }
            var cancelled = one
            (cancelled.isCancelled, cancelled.problem) = (true, "cancelled by the operator")
            if try await store(cancelled, replacing: one) { return Self.info(cancelled) }
            try await Task.sleep(for: .milliseconds(20))
        }
        throw NeedletailError(.aborted, "operation \(Incarnation(id)) goes on too quickly to be cancelled; try again")
    }
}

extension Coordinator.State {
    /// Whether somebody is at work on the shard.
    func isUnderWay(_ shard: ShardID) -> Bool {
        copy.operations.values.values.contains { $0.shard == shard && !$0.step.hasEnded } || isSplitting(shard)
    }

    /// Whether the shard is being split or merged, or was a moment ago.
    func isSplitting(_ shard: ShardID) -> Bool { reshardings.contains { !$0.step.hasEnded && $0.replaced.contains(shard) } }

    /// Whether any shard is being split or merged.
    var isResharding: Bool { reshardings.contains { !$0.step.hasEnded } }

    /// Parts of shards that a node may be making, and what shards are merged into.
    func kept(on node: NodeID) -> [ShardID] { reshardings.filter { $0.nodes.contains(node) }.flatMap(\.kept).sorted() }

    var reshardings: [any Resharding] { Array(copy.splits.values.values) + Array(copy.merges.values.values) }

    /// Those that still have files of its to remove, as far as is known; without nodes that are gone.
    func undropped(of one: some Resharding, lost: Set<NodeID>) -> [NodeID] {
        let (step, done) = reshardingDrops[one.id] ?? (one.step, [])
        return one.nodes.filter { !lost.contains($0) && (step != one.step || !done.contains($0)) }
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
