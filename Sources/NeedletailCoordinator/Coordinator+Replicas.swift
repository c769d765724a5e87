internal import Logging
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

extension Coordinator {
    /// Until cancelled: while this coordinator leads, carries out what is decided about primaries.
    func decide(logger: Logger) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.failover.run(self, logger: logger) }
            group.addTask { await self.runMoves(logger: logger) }
            group.addTask { await self.runSplits(logger: logger) }
            group.addTask { await self.runMerges(logger: logger) }
            group.addTask {
                while !Task.isCancelled {
                    self.tellLeadership()
                    try? await Task.sleep(for: .milliseconds(50))
                }
            }
        }
    }

    /// Tells the machine that decides about primaries whether this coordinator leads, and for how long it surely does.
    func tellLeadership() {
        let term = term
        if failover.isNews(term) {
            guard let term else { return failover.receive(.deposed) }
            failover.receive(.elected(term: term))
            // The copy shows this coordinator as the leader, and so all that its predecessors did.
            for entry in state.withLock({ Array($0.collections.values) }) { tellFailover(entry) }
            failover.receive(.loaded(term: term))
        }
        guard term != nil else { return }
        // With a store of its own nobody else can lead.
        failover.renew(until: metadata.isExclusive ? .now + .seconds(10) : state.withLock { $0.lease?.counted.end } ?? .now)
    }

    // MARK: Whom to ask

    /// The replicas of a shard that may answer a read, the one that is expected to be quickest first. When none seems to serve, the
    /// primary, whose node then says what is the matter.
    func readers(of place: ShardPlace, _ shard: ShardID, _ consistency: ReadConsistency) -> [NodeID] {
        guard consistency == .anyInSync, place.inSync.count > 1 else { return [place.primary] }
        let now = ContinuousClock.now
        let serving = state.withLock { state in
            place.inSync.filter { state.membership.serves(shard, on: $0, now: now) && state.workers[$0] != nil }
                .map { (node: $0, estimate: state.loads[$0]?.estimate(now: now) ?? 0) }
        }
        // Equals in random order, so that several coordinators do not all choose the same.
        return serving.isEmpty ? [place.primary] : serving.shuffled().sorted { $0.estimate < $1.estimate }.map(\.node)
    }

    /// `ask` for a read: what it takes counts for the next choice.
    func askReader<Value>(
        _ node: NodeID, about shards: [ShardID], _ body: (any ShardOperations) async throws -> Value
    ) async throws(NeedletailError) -> Value {
        let began = ContinuousClock.now
        state.withLock { $0.loads[node, default: NodeLoad()].begin() }
        do throws(NeedletailError) {
            let value = try await ask(node, about: shards, body)
            let now = ContinuousClock.now
            state.withLock { $0.loads[node]?.end(after: began.duration(to: now), now: now) }
            return value
        } catch {
            // One that was cancelled since another replica was quicker has taken at least so long.
            let now = ContinuousClock.now
            state.withLock { state in
                if error.code == .cancelled { state.loads[node]?.end(after: began.duration(to: now), now: now) } else { state.loads[node]?.end() }
            }
            throw error
        }
    }

    /// Whether another replica, or the same a little later, may answer what this one did not.
    static func mayPass(_ error: NeedletailError) -> Bool {
        switch error.code {
        case .unavailable, .aborted, .notFound, .resourceExhausted, .failedPrecondition, .dataLoss: true
        default: false
        }
    }

    /// How long a request that has no deadline goes on trying while a shard has no primary.
    static let patience = Duration.seconds(10)

    /// Reads from one shard: from one replica after the other, and all over again while there is time, if there are several.
    func readShard<Value>(
        _ place: ShardPlace, of entry: CollectionEntry, _ read: ReadOptions, _ deadline: Deadline?,
        _ body: (any ShardOperations, ShardID, ReadCondition) async throws -> Value
    ) async throws(NeedletailError) -> Value {
        let (shard, end) = (entry.shardID(place), deadline ?? .after(Self.patience))
        var place = place
        var pause = RetryPause()
        while true {
            var failure: NeedletailError?
            for node in readers(of: place, shard, read.consistency) {
                do throws(NeedletailError) {
                    return try await askReader(node, about: [shard]) { try await body($0, shard, read.condition(shard)) }
                } catch {
                    guard Self.mayPass(error) else { throw error }
                    failure = failure ?? error
                }
            }
            // One replica alone is asked once, unless it has become another meanwhile.
            guard let failure else { throw NeedletailError(.unavailable, "shard \(shard) has no replica that serves; try again") }
            guard failure.code != .resourceExhausted, let newer = await newer(than: place, of: shard, &pause, before: end) else { throw failure }
            place = newer
        }
    }
}

extension Coordinator {
    /// Waits a little after a failure. nil when another attempt would come too late, or is in vain: the shard has one replica and is as it was.
    func newer(than place: ShardPlace, of shard: ShardID, _ pause: inout RetryPause, before end: Deadline) async -> ShardPlace? {
        guard await pause.wait(before: end) else { return nil }
        guard place.replicas.count == 1, !isSplitting(shard) else { return self.place(of: shard)?.1 }
        // One that had fellows may not know yet that they have left.
        if place.version > 1, pause.age < Self.lease { return self.place(of: shard)?.1 }
        // News of a move may have come to its nodes before they come here.
        let patience = min(end, Deadline.after(.milliseconds(200)))
        while !patience.isPast, !Task.isCancelled {
            guard let newer = self.place(of: shard)?.1 else { return nil }
            if newer.version != place.version { return newer }
            try? await Task.sleep(for: .milliseconds(5))
        }
        return nil
    }
}

extension Coordinator.State {
    /// Of nodes that were heard of, for the placement of new collections. Bytes are told apart by GiB only: what is nearly even is even.
    var standings: [NodeID: Placement.Standing] {
        membership.nodes.mapValues { node in
            let bytes = node.replicas.values.reduce(0) { $0 + $1.memoryBytes + $1.diskBytes }
            return Placement.Standing(zone: node.facts.zone, weight: node.facts.weight, bytes: bytes >> 30)
        }
    }

    /// Replicas that each node hosts or is to host.
    var replicaCounts: [NodeID: Int] {
        var counts: [NodeID: Int] = [:]
        for entry in collections.values { for place in entry.shards { for node in place.replicas { counts[node, default: 0] += 1 } } }
        return counts
    }
}

/// Pauses between attempts that grow, each a random part of its length so that those who failed together do not come back together.
struct RetryPause {
    private var length = Duration.milliseconds(10)
    private let began = ContinuousClock.now

    var age: Duration { began.duration(to: .now) }

    private static let longest = Duration.milliseconds(200)

    /// False when the next attempt would come too late; then it has not waited.
    mutating func wait(before end: Deadline) async -> Bool {
        let pause = length * Double.random(in: 0.5...1)
        guard end.remaining > pause, !Task.isCancelled else { return false }
        try? await Task.sleep(for: pause)
        length = min(length * 2, Self.longest)
        return !Task.isCancelled
    }
}
