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
    /// - Parameter scope: points are looked for by their own vectors, the same ones on every replica.
    /// - Throws: `deadlineExceeded` when the mark is not applied in time, `notFound` when it is too long ago.
    public func digest(at mark: UInt64, _ scope: ReplicaDigest.Scope, deadline: Deadline?) async throws -> ReplicaDigest {
        try await replica.waitUntilApplied(mark, deadline: deadline)
        guard let sums = replica.contents.sums(at: mark) else {
            throw NeedletailError(.notFound, "shard \(shard) does not remember what it held after write \(mark); compare anew")
        }
        let (replica, pool) = (replica, replica.resources.samplingPool)
        switch scope {
        case .contents: return ReplicaDigest(sums: sums)
        case .answers(let queries): return ReplicaDigest(sums: sums, answers: try await pool.run { try replica.answers(queries: queries, scratch: &$0) })
        case .recall(let queries): return ReplicaDigest(sums: sums, recall: try await pool.run { try replica.recall(queries: queries, scratch: &$0) })
        }
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

    private static let comparedLimit = 10

    /// A hash of the ids that walks find as clients get them by default; never 0.
    fileprivate func answers(queries: Int, scratch: inout SearchScratch) throws -> UInt64 {
        var hash: UInt64 = 1
        for (graph, vectors) in lookedFor(queries) {
            for vector in vectors {
                for slot in try found(vector, in: graph, scratch: &scratch) {
                    hash = ContentHash.value(points.id(slot), sequence: hash, vectors: 0, payload: 0)
                }
            }
        }
        return max(1, hash)
    }

    /// Recall@10 of those walks, mean over fields; 1 when there is nothing to find.
    fileprivate func recall(queries: Int, scratch: inout SearchScratch) throws -> Double {
        var (hits, wanted) = (0, 0)
        for (graph, vectors) in lookedFor(queries) {
            let precedes = { [points] in points.id($0) < points.id($1) }
            let truths = try graph.exactSearch(batch: vectors, limit: Self.comparedLimit, deadline: nil, scratch: &scratch, precedes: precedes)
            for (vector, truth) in zip(vectors, truths) {
                let found = Set(try found(vector, in: graph, scratch: &scratch))
                hits += truth.nearest.count { found.contains($0.slot) }
                wanted += truth.nearest.count
            }
        }
        return wanted == 0 ? 1 : Double(hits) / Double(wanted)
    }

    private func found(_ vector: DenseVector, in graph: HNSWIndex, scratch: inout SearchScratch) throws -> [UInt32] {
        let ef = SearchQuery.defaultEf(limit: Self.comparedLimit)
        return try graph.search(vector, limit: Self.comparedLimit, ef: ef, deadline: nil, scratch: &scratch).nearest.prefix(Self.comparedLimit).map(\.slot)
    }

    /// By field, the vectors of those points whose ids have the smallest hashes.
    private func lookedFor(_ queries: Int) -> [(HNSWIndex, [DenseVector])] {
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
        return fields.map(\.graph).map { graph in (graph, chosen.compactMap { _, slot in graph.live[Int(slot)] ? graph.vector(slot: slot) : nil }) }
    }
}
