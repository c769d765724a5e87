internal import Logging
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailShard
internal import Synchronization

/// Makes the replicas of shards that two others are being merged into, and keeps them in step with the replicas here of both.
final class MergeFeeds: Sendable {
    private let world: ReplicationWorld
    private let feeds = Mutex<[ShardID: Task<Void, Never>]>([:])

    init(_ world: ReplicationWorld) { self.world = world }

    /// How far a merged replica has each parent, whether it is made, and how many records of it wait; begins to make it if nobody does.
    /// - Parameter isLast: writes wait: what is not on the disk yet is put there.
    func progress(of order: MergeOrder, isLast: Bool) async -> (taken: [UInt64], isReady: Bool, waiting: UInt64) {
        feeds.withLock { feeds in
            guard feeds[order.shard] == nil else { return }
            feeds[order.shard] = Task { await self.run(order) }
        }
        guard let merged = try? world.local.hosted(order.shard), merged.isMerged else { return (order.parents.map { _ in 0 }, false, 0) }
        // First what it has taken: what is safe is asked for after, and never less than it was then.
        let lineage = merged.lineage
        if isLast { try? await merged.syncNow() }
        let reached = isLast ? merged.safeSequence : merged.appliedSequence
        let isReady = merged.isTidy && merged.isMerged && (isLast || !merged.isWritingCheckpoint)
        return (lineage.parents.map(\.sequence), isReady, lineage.end > reached ? lineage.end - reached : 0)
    }

    /// The merged replica goes, or has a place of its own.
    func end(_ shard: ShardID) async {
        let task = feeds.withLock { $0.removeValue(forKey: shard) }
        task?.cancel()
        await task?.value
    }

    func close() async { for shard in feeds.withLock({ Array($0.keys) }) { await end(shard) } }

    private static let pieceBytes = 2 << 20
    private static let aheadRecords: UInt64 = 64
    private static let idle = Duration.milliseconds(2)
    private static let pause = Duration.milliseconds(200)

    private func run(_ order: MergeOrder) async {
        var problem: String?
        while !Task.isCancelled {
            do {
                let parents = order.parents.compactMap { try? world.local.hosted($0.shard) }
                guard parents.count == order.parents.count else {
                    try await Task.sleep(for: Self.pause)
                    continue
                }
                guard let merged = try await made(order, of: parents) else { break }
                var isNew = false
                for parent in parents where try await step(merged, parent) { isNew = true }
                if !isNew { try await Task.sleep(for: Self.idle) }
                problem = nil
            } catch {
                if problem != "\(error)", !Task.isCancelled {
                    world.logger.warning("a shard that two are merged into does not follow them, trying again: \(error)", metadata: ["shard": "\(order.shard)"])
                }
                problem = "\(error)"
                try? await Task.sleep(for: Self.pause)
            }
        }
        for parent in order.parents { (try? world.local.hosted(parent.shard))?.keepLog(after: nil, for: order.shard) }
    }

    /// The merged replica, made if it is not there; nil once it has a place of its own.
    private func made(_ order: MergeOrder, of parents: [HostedReplica]) async throws -> HostedReplica? {
        let known: HostedReplica?
        do {
            known = try world.local.hosted(order.shard)
        } catch {
            switch error.code {
            case .notFound: break
            case .unavailable: throw error
            // Its files are damaged; those of the parents are not.
            default: try await world.local.dropReplica(order.shard, deadline: nil)
            }
            known = nil
        }
        if let known {
            if !known.isUnborn { return nil }
            if known.isMerged { return known }
            // Its disk took records back.
            try await world.local.dropReplica(order.shard, deadline: nil)
        }
        var assignment = parents[0].assignment
        (assignment.shard, assignment.range, assignment.epoch, assignment.version) = (order.shard, order.child.range, 0, 0)
        try await world.local.makeMerged(assignment, of: parents)
        return try world.local.hosted(order.shard)
    }

    /// One piece of a parent's log. False when there is nothing new.
    private func step(_ merged: HostedReplica, _ parent: HostedReplica) async throws -> Bool {
        let lineage = merged.lineage
        guard let taken = lineage.parents.first(where: { $0.number == parent.shard.number })?.sequence else {
            try await world.local.dropReplica(merged.shard, deadline: nil)
            throw NeedletailError(.dataLoss, "the merged replica is of other shards; it is made anew")
        }
        let committed = parent.logEnd.committed
        parent.keepLog(after: taken, for: merged.shard)
        guard taken < committed else { return false }
        let records: [LogRecord]
        do {
            records = try await parent.records(from: taken + 1, maximumBytes: Self.pieceBytes).filter { $0.sequence <= committed }
        } catch let error as NeedletailError where error.code == .outOfRange {
            // The parent was filled anew from another node, beyond where this is.
            try await world.local.dropReplica(merged.shard, deadline: nil)
            throw error
        }
        // Never far ahead of the graphs; but one parent's records need not wait for the other's to be applied.
        try await merged.waitUntilApplied(lineage.end - min(lineage.end, Self.aheadRecords), deadline: nil)
        try await merged.follow(records, of: parent.shard.number)
        return !records.isEmpty
    }
}
