public import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import Synchronization

extension HostedReplica {
    /// Writes a mark into the log: replicas remember what they hold at that point. As the primary; returns when it is applied here.
    /// - Throws: what `write` throws.
    public func mark() async throws -> UInt64 {
        let replica = replica
        return try await withCheckedThrowingContinuation { continuation in
            do {
                try replica.logMark { continuation.resume(with: $0.map(\.sequence)) }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }

    /// What the replica holds as of a mark, and how well its graphs find it.
    /// - Parameter queries: how many points are looked for by their own vectors, the same ones on every replica.
    /// - Throws: `deadlineExceeded` when the mark is not applied in time, `notFound` when it is too long ago.
    public func digest(at mark: UInt64, queries: Int, deadline: Deadline?) async throws -> ReplicaDigest {
        try await replica.waitUntilApplied(mark, deadline: deadline)
        guard let sums = replica.contents.sums(at: mark) else {
            throw NeedletailError(.notFound, "shard \(shard) does not remember what it held after write \(mark); compare anew")
        }
        let replica = replica
        let recall = queries == 0 ? 1 : try await replica.resources.samplingPool.run { try replica.recall(queries: queries, scratch: &$0) }
        return ReplicaDigest(sums: sums, recall: recall)
    }
}

extension Replica {
    /// A batch without operations.
    fileprivate func logMark(_ acknowledge: @escaping CommitGate.Acknowledge) throws {
        let epoch = standing.withLock { $0.epoch }
        guard let observer = observer.withLock({ $0 }) else {
            throw NeedletailError(.failedPrecondition, "shard \(assignment.shard) has one replica: there is nothing to compare it with")
        }
        let record = LoggedWrite(committed: gate.withLock { $0.committed }, operation: nil, batch: WriteBatch([]).encoded).encoded
        try operations.withLock { _ in
            try checkOpen(epoch)
            try observer.admitMark(epoch: epoch)
            _ = try withCommitter { committer in
                try committer.append(epoch: epoch, payload: record) { [self] result in
                    logged(result, epoch: epoch, operation: nil, PreparedBatch(operations: []))
                } queued: { [self] sequence in
                    gate.withLock { $0.expect(sequence, at: nil, acknowledge) }
                    observer.appended(through: sequence)
                }
            }
        }
    }

    /// Recall@10 of walks as clients get them by default, mean over fields; 1 when there is nothing to find. Queries are the vectors of those
    /// points whose ids have the smallest hashes.
    fileprivate func recall(queries: Int, scratch: inout SearchScratch) throws -> Double {
        var chosen: [(hash: UInt64, slot: UInt32)] = []
        func keepSmallest() {
            chosen.sort { $0.hash < $1.hash }
            chosen.removeLast(max(0, chosen.count - queries))
        }
        for slot in 0..<UInt32(points.slab.slotCount) where points.state(slot) == .current {
            chosen.append((ContentHash.value(points.id(slot), sequence: 0, vectors: 0, payload: 0), slot))
            if chosen.count > 8 * queries { keepSmallest() }
        }
        keepSmallest()
        var (hits, wanted) = (0, 0)
        let limit = 10
        for graph in fields.map(\.graph) {
            let vectors = chosen.compactMap { _, slot in graph.live[Int(slot)] ? graph.vector(slot: slot) : nil }
            let precedes = { [points] in points.id($0) < points.id($1) }
            let truths = try graph.exactSearch(batch: vectors, limit: limit, deadline: nil, scratch: &scratch, precedes: precedes)
            for (vector, truth) in zip(vectors, truths) {
                let walked = try graph.search(vector, limit: limit, ef: SearchQuery.defaultEf(limit: limit), deadline: nil, scratch: &scratch)
                let found = Set(walked.nearest.prefix(limit).map(\.slot))
                hits += truth.nearest.count { found.contains($0.slot) }
                wanted += truth.nearest.count
            }
        }
        return wanted == 0 ? 1 : Double(hits) / Double(wanted)
    }
}
