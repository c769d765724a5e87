internal import DequeModule
public import NeedletailCore
import Synchronization

/// When a group of records began to be written, and when to be synced.
public struct CommitTimes: Sendable {
    public var writing = ContinuousClock.now
    public var syncing = ContinuousClock.now
}

/// Lets many writers share one fdatasync: appends queue up while the previous commit is on its way to the disk, and the next commit
/// takes them all.
///
/// Commits and completions run on a thread of the committer's own. Completions are called in sequence order, each after the commit
/// that covers its record, and must be quick: the next commit waits for them.
public final class GroupCommitter: @unchecked Sendable {
    public typealias Completion = @Sendable (Result<UInt64, NeedletailError>) -> Void
    /// Is told what was made durable together, and how long that took.
    public typealias Observer = @Sendable (_ records: Int, _ payloadBytes: Int, _ took: Duration) -> Void

    /// Of the last commit; for completions only, which run on the thread that writes it.
    public private(set) var times = CommitTimes()

    private struct Entry {
        let sequence: UInt64
        let epoch: UInt64
        let payload: [UInt8]
        let completion: Completion
    }

    private let log: ReplicaLog
    private let queueLimitBytes: Int
    private let observer: Observer?
    // Everything below is guarded by `monitor`.
    private let monitor = Monitor()
    private var queue: [Entry] = []
    private var queuedBytes = 0
    private var nextSequence: UInt64
    private var lastEpoch: UInt64
    private var committing = false
    /// A commit failed and not everyone has been told: its sequences are not given again before.
    private var isTellingFailure = false
    private var closed = false
    private var thread: DedicatedThread?
    /// The newest records, queued ones included, for those who copy the log; their payloads are shared with the queue.
    private var recent: Deque<LogRecord> = []
    private var recentBytes = 0
    private var recentLimitBytes: Int

    /// Takes over the writing side of `log`. At most `queueLimitBytes` of payload (and one record) wait at a time, and about
    /// `recentLimitBytes` of the newest are kept in memory, none with 0.
    public init(log: ReplicaLog, queueLimitBytes: Int = 64 << 20, recentLimitBytes: Int = 0, observer: Observer? = nil) {
        self.log = log
        self.queueLimitBytes = queueLimitBytes
        self.observer = observer
        self.recentLimitBytes = recentLimitBytes
        nextSequence = log.nextSequence ?? 1
        lastEpoch = log.lastEpoch
        // The thread keeps the committer alive until `close`.
        thread = DedicatedThread { [self] in while commitRound() {} }
    }

    /// Queues a record with the next sequence, which it returns. `completion` is called exactly once, with the sequence when the
    /// record is durable, or with the error that took it back.
    ///
    /// - Throws: `resourceExhausted` when the queue or the disk is full; `failedPrecondition` after `close` or for an epoch that
    ///   is over; the log's error while it is read-only. `completion` is then not called.
    ///
    /// - Parameters:
    ///   - traceparent: goes along with the record to those who copy the log while it is in memory.
    ///   - queued: called with the sequence before the record can reach the disk; may not call the committer.
    @discardableResult
    public func append(
        epoch: UInt64, payload: [UInt8], traceparent: String? = nil, completion: @escaping Completion, queued: (UInt64) -> Void = { _ in }
    ) throws -> UInt64 {
        try enqueue(sequence: nil, epoch: epoch, payload: payload, traceparent, completion, queued)
    }

    /// The same for a record whose sequence a primary assigned.
    ///
    /// - Throws: also `failedPrecondition` when `sequence` is not the next one.
    public func append(sequence: UInt64, epoch: UInt64, payload: [UInt8], completion: @escaping Completion) throws {
        _ = try enqueue(sequence: sequence, epoch: epoch, payload: payload, nil, completion) { _ in }
    }

    private func enqueue(
        sequence: UInt64?, epoch: UInt64, payload: [UInt8], _ traceparent: String?, _ completion: @escaping Completion, _ queued: (UInt64) -> Void
    ) throws -> UInt64 {
        // Asked before the lock, since it may probe the disk.
        try log.resumeIfPossible()
        return try monitor.locked {
            if closed { throw NeedletailError(.failedPrecondition, "The log is closed.", location: log.directory) }
            guard !isTellingFailure else {
                throw NeedletailError(.unavailable, "The disk refused a write just now; retry.", location: log.directory)
            }
            guard queuedBytes == 0 || queuedBytes + payload.count <= queueLimitBytes else {
                throw NeedletailError(
                    .resourceExhausted, "\(queuedBytes) bytes wait for the disk already; send slower or retry.",
                    location: log.directory, retryAfter: .milliseconds(100))
            }
            if let sequence, sequence != nextSequence {
                // A log that was never written begins wherever its first record says.
                guard log.nextSequence == nil, queue.isEmpty, !committing, sequence > 0 else {
                    throw NeedletailError(
                        .failedPrecondition, "Sequence \(sequence) was given, \(nextSequence) comes next; catch up first.",
                        location: log.directory)
                }
                nextSequence = sequence
            }
            // Checked here, so that one wrong record does not fail the batch it would be in.
            try log.checkRecord(epoch: epoch, lastEpoch: lastEpoch, payload: payload)
            lastEpoch = epoch
            let assigned = nextSequence
            queued(assigned)
            queue.append(Entry(sequence: assigned, epoch: epoch, payload: payload, completion: completion))
            queuedBytes += payload.count
            nextSequence += 1
            keep(LogRecord(sequence: assigned, epoch: epoch, payload: payload, traceparent: traceparent))
            monitor.wakeAll()
            return assigned
        }
    }

    private func keep(_ record: LogRecord) {
        guard recentLimitBytes > 0 else { return }
        recent.append(record)
        recentBytes += record.payload.count
        forgetOldest()
    }

    private func forgetOldest() {
        while recentBytes > recentLimitBytes, recent.count > 1, let oldest = recent.popFirst() { recentBytes -= oldest.payload.count }
    }

    /// Of how many bytes of the newest records are kept from now on.
    public func setRecentLimit(bytes: Int) {
        monitor.locked {
            recentLimitBytes = bytes
            if bytes == 0 { (recent, recentBytes) = ([], 0) } else { forgetOldest() }
        }
    }

    /// The last sequence that was queued or, before anything was, the log's.
    public var lastQueued: UInt64 { monitor.locked { nextSequence - 1 } }

    /// The records from `sequence` on, in order, those that wait for the disk included: at least one if there is any, beyond that as many
    /// as have `maximumBytes` of payload. Nil when they are no longer in memory: then the log has them.
    public func recentRecords(from sequence: UInt64, maximumBytes: Int) -> [LogRecord]? {
        monitor.locked {
            if sequence >= nextSequence { return [] }
            guard let first = recent.first?.sequence, first <= sequence else { return nil }
            var bytes = 0
            return Array(
                recent.dropFirst(Int(min(sequence - first, UInt64(recent.count)))).prefix { record in
                    defer { bytes += record.payload.count }
                    return bytes == 0 || bytes + record.payload.count <= maximumBytes
                })
        }
    }

    /// Forgets records after the log's end: they were taken back.
    private func dropTakenBack() {
        while let last = recent.last, last.sequence >= nextSequence {
            recent.removeLast()
            recentBytes -= last.payload.count
        }
    }

    /// Waits until everything queued so far has completed.
    public func drain() {
        monitor.locked { while !queue.isEmpty || committing { monitor.wait() } }
    }

    /// Runs `body` while nothing is queued or being committed and appends wait, then goes on after the log's new end: for cutting or
    /// resetting the log.
    public func whileIdle<Value>(_ body: (ReplicaLog) throws -> Value) rethrows -> Value {
        try monitor.locked {
            while !queue.isEmpty || committing { monitor.wait() }
            defer {
                nextSequence = log.nextSequence ?? 1
                lastEpoch = log.lastEpoch
                (recent, recentBytes) = ([], 0)
            }
            return try body(log)
        }
    }

    /// Commits what is queued, then ends the thread. Not to be called from a completion.
    public func close() {
        monitor.locked {
            closed = true
            monitor.wakeAll()
        }
        let ending = monitor.locked {
            defer { thread = nil }
            return thread
        }
        ending?.join()
    }

    /// Takes what is queued, commits it and calls the completions; false when the committer is closed and nothing is left.
    private func commitRound() -> Bool {
        let batch: [Entry] = monitor.locked {
            while queue.isEmpty && !closed { monitor.wait() }
            let batch = queue
            queue = []
            queuedBytes = 0
            committing = !batch.isEmpty
            return batch
        }
        if batch.isEmpty { return false }
        let failure = write(batch)
        // A failure takes back later sequences too: those who queued meanwhile built on a record that is gone.
        let orphans: [Entry] = monitor.locked {
            guard failure != nil else { return [] }
            isTellingFailure = true
            let orphans = queue
            queue = []
            queuedBytes = 0
            nextSequence = log.nextSequence ?? batch[0].sequence
            lastEpoch = log.lastEpoch
            dropTakenBack()
            return orphans
        }
        for entry in batch + orphans { entry.completion(failure.map { .failure($0) } ?? .success(entry.sequence)) }
        monitor.locked {
            committing = false
            isTellingFailure = false
            monitor.wakeAll()
        }
        return true
    }

    private func write(_ batch: [Entry]) -> NeedletailError? {
        do {
            times.writing = .now
            for entry in batch { try log.append(sequence: entry.sequence, epoch: entry.epoch, payload: entry.payload) }
            times.syncing = .now
            try log.commit()
            observer?(batch.count, batch.reduce(0) { $0 + $1.payload.count }, times.writing.duration(to: .now))
            return nil
        } catch {
            log.discardPending()
            return error as? NeedletailError ?? NeedletailError(.internal, "The log cannot be written.", cause: error)
        }
    }
}

extension ReplicaLog {
    /// Forgets what was appended and not committed.
    func discardPending() {
        state.withLock { state in
            state.pending.removeAll()
            state.lastEpoch = state.committedEpoch
        }
    }
}
