internal import Logging
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailShard
internal import NeedletailTelemetry
internal import Synchronization

/// Makes the parts of shards that are being split, and keeps them in step with the replicas here of which they are parts.
final class PartFeeds: Sendable {
    private let world: ReplicationWorld
    private let feeds = Mutex<[ShardID: Task<Void, Never>]>([:])

    init(_ world: ReplicationWorld) { self.world = world }

    /// How far a part is; begins to make it if nobody does.
    /// - Parameter isLast: writes wait: what is not on the disk yet is put there.
    func progress(of shard: ShardID, _ range: HashRange, from parent: ShardID, isLast: Bool) async -> SplitProgress.Child {
        feeds.withLock { feeds in
            guard feeds[shard] == nil else { return }
            feeds[shard] = RequestScope.outside { Task { await self.run(shard, range, from: parent) } }
        }
        guard let part = try? world.local.hosted(shard) else { return SplitProgress.Child(isReady: false, end: 0) }
        if isLast { try? await part.syncNow() }
        return SplitProgress.Child(isReady: part.isTidy && (isLast || !part.isWritingCheckpoint), end: isLast ? part.safeSequence : part.appliedSequence)
    }

    /// The part goes, or has a place of its own.
    func end(_ shard: ShardID) async {
        let task = feeds.withLock { $0.removeValue(forKey: shard) }
        task?.cancel()
        await task?.value
    }

    func close() async { for shard in feeds.withLock({ Array($0.keys) }) { await end(shard) } }

    private static let pieceBytes = 4 << 20
    private static let idle = Duration.milliseconds(2)
    private static let pause = Duration.milliseconds(200)

    private func run(_ shard: ShardID, _ range: HashRange, from parent: ShardID) async {
        var problem: String?
        while !Task.isCancelled {
            do {
                guard let whole = try? world.local.hosted(parent) else {
                    try await Task.sleep(for: Self.pause)
                    continue
                }
                guard let part = try await made(shard, range, of: whole) else { break }
                if try await !step(part, whole) { try await Task.sleep(for: Self.idle) }
                problem = nil
            } catch {
                if problem != "\(error)", !Task.isCancelled {
                    world.logger.warning("a part of a shard does not follow it, trying again: \(error)", metadata: ["shard": "\(shard)", "parent": "\(parent)"])
                }
                problem = "\(error)"
                try? await Task.sleep(for: Self.pause)
            }
        }
        (try? world.local.hosted(parent))?.keepLog(after: nil, for: shard)
    }

    /// The part, made if it is not there; nil once it has a place of its own.
    private func made(_ shard: ShardID, _ range: HashRange, of whole: HostedReplica) async throws -> HostedReplica? {
        do {
            let part = try world.local.hosted(shard)
            return part.isUnborn ? part : nil
        } catch {
            switch error.code {
            case .notFound: break
            case .unavailable: throw error
            // Its files are damaged; those of the whole are not.
            default: try await world.local.dropReplica(shard, deadline: nil)
            }
        }
        var assignment = whole.assignment
        (assignment.shard, assignment.range, assignment.epoch, assignment.version) = (shard, range, 0, 0)
        try await world.local.makeChild(assignment, of: whole)
        return try world.local.hosted(shard)
    }

    /// One piece of the log. False when there is nothing new.
    private func step(_ part: HostedReplica, _ whole: HostedReplica) async throws -> Bool {
        let (end, committed) = (part.logEnd.last, whole.logEnd.committed)
        whole.keepLog(after: end, for: part.shard)
        guard end < committed else { return false }
        let records: [LogRecord]
        do {
            records = try await whole.records(from: end + 1, maximumBytes: Self.pieceBytes).filter { $0.sequence <= committed }
        } catch let error as NeedletailError where error.code == .outOfRange {
            // The whole was filled anew from another node, beyond where the part is.
            try await world.local.dropReplica(part.shard, deadline: nil)
            throw error
        }
        // Never more than a piece ahead of the graphs.
        try await part.waitUntilApplied(end, deadline: nil)
        try await part.follow(records)
        return !records.isEmpty
    }
}
