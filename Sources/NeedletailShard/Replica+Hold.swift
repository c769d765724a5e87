public import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

/// Writes are held back for the moment in which a backup is cut: so that whatever was acknowledged, on any shard, before a write that is in
/// the backup is in it too.
struct WriteHold {
    let token: UInt64
    let began: ContinuousClock.Instant
    /// Then it ends by itself.
    let end: Deadline
}

/// The write is to be tried again when the hold has ended.
struct WritesAreHeld: Error {}

extension Replica {
    var isHeld: Bool { hold.withLock { $0.map { !$0.end.isPast } ?? false } }

    func untilReleased(_ deadline: Deadline?) async throws {
        let ticket = holdChange.ticket
        guard let end = hold.withLock({ $0?.end }), !end.isPast else { return }
        if let deadline, deadline.isPast {
            throw NeedletailError(.deadlineExceeded, "a backup held the write back until its deadline; nothing was written")
        }
        try await holdChange.wait(after: ticket, until: deadline.map { min($0, end) } ?? end)
    }

    /// - Throws: `aborted` when the epoch is another or somebody else holds the writes, what a read of the primary throws.
    fileprivate func holdWrites(_ token: UInt64, epoch: UInt64, atMost limit: Duration) async throws -> UInt64 {
        let last = try operations.withLock { _ in
            try checkPrimary(epoch: epoch)
            try hold.withLock { hold in
                if let other = hold, other.token != token, !other.end.isPast {
                    throw NeedletailError(.aborted, "another backup of shard \(assignment.shard) is being cut; try again")
                }
                hold = WriteHold(token: token, began: .now, end: .after(limit))
            }
            return lastQueued ?? log.lastSequence
        }
        // What was admitted before is on its way to the disks of all in-sync replicas.
        while gate.withLock({ $0.committed }) < last {
            guard isHeld else {
                throw NeedletailError(.unavailable, "writes to shard \(assignment.shard) were not safe on all replicas in time; try again")
            }
            try await Task.sleep(for: .milliseconds(1))
        }
        return last
    }

    private func checkPrimary(epoch: UInt64) throws(NeedletailError) {
        let (current, isAlone) = standing.withLock { ($0.epoch, $0.isAlone) }
        guard current == epoch else {
            throw NeedletailError(.aborted, "shard \(assignment.shard) is at epoch \(current), the backup is of \(epoch); read the cluster map again")
        }
        if let observer = observer.withLock({ $0 }) {
            _ = try observer.admitPrimaryRead()
        } else if !isAlone {
            throw NeedletailError(.unavailable, "shard \(assignment.shard) does not know yet who its primary is; try again")
        }
    }

    /// - Throws: `aborted` when the hold was over before, or another replica may have led meanwhile.
    fileprivate func releaseWrites(_ token: UInt64, epoch: UInt64) throws -> Duration {
        defer { holdChange.signal() }
        return try operations.withLock { _ in
            let held = hold.withLock { hold -> WriteHold? in
                guard hold?.token == token else { return nil }
                defer { hold = nil }
                return hold
            }
            guard let held, !held.end.isPast else {
                throw NeedletailError(.aborted, "writes to shard \(assignment.shard) went on before the backup was cut; it is cut again")
            }
            // With the lease still held nobody else has admitted a write.
            try checkPrimary(epoch: epoch)
            return held.began.duration(to: .now)
        }
    }
}

extension HostedReplica {
    /// Holds writes back until `release`, or the limit; as the primary.
    /// - Returns: the last write that was admitted before; it and all before it are committed.
    /// - Throws: `aborted`, `unavailable`: then nothing is held any longer than the limit.
    public func holdWrites(_ token: UInt64, epoch: UInt64, atMost limit: Duration) async throws -> UInt64 {
        do {
            return try await replica.holdWrites(token, epoch: epoch, atMost: limit)
        } catch {
            _ = try? replica.releaseWrites(token, epoch: epoch)
            throw error
        }
    }

    /// - Returns: for how long writes were held.
    /// - Throws: `aborted` when they were not held all the time.
    public func releaseWrites(_ token: UInt64, epoch: UInt64) throws -> Duration { try replica.releaseWrites(token, epoch: epoch) }

    /// Waits until this replica has every write up to `sequence` and knows it to be committed.
    /// - Throws: `unavailable`.
    public func waitUntilCommitted(_ sequence: UInt64, deadline: Deadline) async throws {
        while replica.gate.withLock({ min($0.committed, $0.durable) }) < sequence {
            guard !deadline.isPast, !replica.isClosing else {
                throw NeedletailError(.unavailable, "this replica of shard \(shard) does not have write \(sequence) yet; ask another one")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}
