public import NeedletailCore
import Synchronization

/// The write-ahead log of one replica: segment files in a directory, records with consecutive sequence numbers.
///
/// `append` buffers, `commit` writes everything buffered with one write and (by default) one fdatasync. One thread appends and
/// commits (see `GroupCommitter`); replays and the figures may be asked for from any thread meanwhile.
///
/// **When the disk fails.** A commit that fails takes all appended records back: the file is cut at the last committed record, and
/// the log is read-only.
/// - Disk full (ENOSPC, EDQUOT): appends throw `resourceExhausted` at once. Every `retryInterval` one of them looks at the free
///   space; when there is enough, the tail is cut and synced once more and writing goes on.
/// - Any other failure, above all EIO from fdatasync: appends throw until the process restarts. After a failed fdatasync Linux
///   marks the pages clean although they were never written, so neither a second fdatasync nor reading back tells the truth; a
///   restart reads the file again and checks every record. In `.interval` mode this holds for a full disk during `sync()` too,
///   since records were then acknowledged that are no longer sure to reach the disk.
///
/// A sequence number whose commit failed is used again. A primary that had already sent it to others must begin a new epoch.
public final class ReplicaLog: Sendable {
    public let directory: String
    public let configuration: LogConfiguration
    let disk: Disk

    struct PendingRecord: Sendable {
        let sequence: UInt64
        let epoch: UInt64
        let payload: [UInt8]
    }

    struct Failure: Sendable {
        let error: NeedletailError
        let resumable: Bool
        var lastProbe: ContinuousClock.Instant
    }

    /// What any thread may ask for. Held for moments only.
    struct State: Sendable {
        var segments: [LogSegment] = []
        var pending: [PendingRecord] = []
        var durableSequence: UInt64 = 0
        var lastEpoch: UInt64 = 0
        var committedEpoch: UInt64 = 0
        /// Where the epochs of the committed records begin, oldest first.
        var epochs: [LogEpoch] = []
        var failure: Failure?

        var committedSequence: UInt64 { segments.last?.lastSequence ?? 0 }
        /// The sequence the next append must have; nil when the log has no segment and takes any.
        var nextSequence: UInt64? { pending.last.map { $0.sequence + 1 } ?? segments.last.map { $0.lastSequence &+ 1 } }
    }

    /// The file being written. Held during writes and syncs; taken before `state`.
    struct Active: Sendable {
        var file: File?
        var hasUnsynced = false
    }

    let state: Mutex<State>
    let active: Mutex<Active>

    init(directory: String, configuration: LogConfiguration, disk: Disk, state: State, file: File?) {
        self.directory = directory
        self.configuration = configuration
        self.disk = disk
        self.state = Mutex(state)
        active = Mutex(Active(file: file))
    }

    // MARK: Figures

    /// The last committed sequence; one less than `firstSequence` when the log is empty.
    public var lastSequence: UInt64 { state.withLock { $0.committedSequence } }
    /// The first sequence in the log, or the one it will begin with (1 when that is open).
    public var firstSequence: UInt64 { state.withLock { $0.segments.first?.firstSequence ?? 1 } }
    /// The last sequence that survives a power cut.
    public var durableSequence: UInt64 { state.withLock { $0.durableSequence } }
    /// The epoch of the last committed record; 0 when the log holds none.
    public var lastEpoch: UInt64 { state.withLock { $0.committedEpoch } }
    /// Where the epochs of the committed records begin, oldest first. Of records that are no longer in the log, that of the last may be there.
    public var epochs: [LogEpoch] { state.withLock { $0.epochs } }
    public var sizeBytes: Int { state.withLock { $0.segments.reduce(0) { $0 + $1.sizeBytes } } }
    /// The sequence the next append must carry; nil for a log that was never written, which takes any.
    public var nextSequence: UInt64? { state.withLock { $0.nextSequence } }

    public var isReadOnly: Bool { readOnlyReason != nil }
    /// Why appends are refused, or nil.
    public var readOnlyReason: NeedletailError? { state.withLock { $0.failure?.error } }

    // MARK: Writing

    /// Buffers a record; `commit()` makes it last.
    ///
    /// - Throws: `failedPrecondition` when `sequence` is not the next one or `epoch` is below the last; `invalidArgument` for a
    ///   payload above 256 MiB; `resourceExhausted` while the disk is full; `dataLoss` (or another code) after a failed disk.
    public func append(sequence: UInt64, epoch: UInt64, payload: [UInt8]) throws {
        try resumeIfPossible()
        try state.withLock { state in
            if let failure = state.failure { throw failure.error }
            guard LogFormat.sequences.contains(sequence), sequence == state.nextSequence ?? sequence else {
                throw NeedletailError(
                    .failedPrecondition, "Sequence \(sequence) was given, \(state.nextSequence ?? 1) comes next; catch up first.",
                    location: directory)
            }
            try checkRecord(epoch: epoch, lastEpoch: state.lastEpoch, payload: payload)
            state.lastEpoch = epoch
            state.pending.append(PendingRecord(sequence: sequence, epoch: epoch, payload: payload))
        }
    }

    /// Throws when a record may not follow one of `lastEpoch` or is too large.
    func checkRecord(epoch: UInt64, lastEpoch: UInt64, payload: [UInt8]) throws {
        guard payload.count <= LogFormat.maximumPayloadBytes else {
            throw NeedletailError(
                .invalidArgument,
                "A record of \(payload.count) bytes exceeds \(LogFormat.maximumPayloadBytes); send smaller batches.",
                location: directory)
        }
        guard epoch >= lastEpoch else {
            throw NeedletailError(
                .failedPrecondition, "Epoch \(epoch) is over, the log is in epoch \(lastEpoch); read the shard map again.",
                location: directory)
        }
    }

    /// Writes what was appended, all or nothing, and in `.everyCommit` mode makes it durable.
    ///
    /// - Throws: what the disk said; every record appended since the last commit is then gone and the log is read-only.
    public func commit() throws {
        try active.withLock { active in
            let batch = state.withLock { state in
                let batch = state.pending
                if state.failure == nil { return batch }
                return []
            }
            guard let first = batch.first, let last = batch.last else {
                if let reason = readOnlyReason { throw reason }
                return
            }
            do {
                try rollIfNeeded(&active, firstSequence: first.sequence)
                let written = try write(batch, &active)
                if configuration.syncMode == .everyCommit { try syncFile(&active) }
                publish(written, batch, last: last)
            } catch {
                throw fail(error, &active)
            }
        }
    }

    /// Makes what was committed durable; in `.interval` mode the owner calls this from a timer.
    public func sync() throws {
        try active.withLock { active in
            if let reason = readOnlyReason { throw reason }
            guard active.hasUnsynced else { return }
            do {
                try syncFile(&active)
            } catch {
                throw fail(error, &active)
            }
            state.withLock { $0.durableSequence = $0.committedSequence }
        }
    }

    /// A segment as it will be once the batch counts.
    private func write(_ batch: [PendingRecord], _ active: inout Active) throws -> LogSegment {
        let (current, durable) = state.withLock { ($0.segments.last, $0.durableSequence) }
        guard var segment = current, let file = active.file else {
            throw NeedletailError(.internal, "The log has no segment to write to.", location: directory)
        }
        var buffer: [UInt8] = []
        buffer.reserveCapacity(batch.reduce(0) { $0 + $1.payload.count + LogFormat.recordHeaderBytes })
        for record in batch {
            segment.mark(sequence: record.sequence, offset: segment.sizeBytes + buffer.count)
            LogFormat.appendRecord(
                to: &buffer, salt: segment.salt, sequence: record.sequence, epoch: record.epoch, durable: durable,
                payload: record.payload)
        }
        active.hasUnsynced = true
        do {
            try file.write(buffer, at: segment.sizeBytes)
        } catch {
            throw StageError(stage: .write, error: error)
        }
        segment.sizeBytes += buffer.count
        segment.lastSequence = batch[batch.count - 1].sequence
        return segment
    }

    private func publish(_ segment: LogSegment, _ batch: [PendingRecord], last: PendingRecord) {
        state.withLock { state in
            state.segments[state.segments.count - 1] = segment
            // Records appended while this batch was being written stay for the next commit.
            state.pending.removeFirst(batch.count)
            state.committedEpoch = last.epoch
            for record in batch { state.epochs.note(epoch: record.epoch, sequence: record.sequence) }
            if configuration.syncMode == .everyCommit { state.durableSequence = last.sequence }
        }
    }

    func syncFile(_ active: inout Active) throws {
        do {
            try active.file?.sync()
        } catch {
            throw StageError(stage: .sync, error: error)
        }
        active.hasUnsynced = false
    }

    // MARK: Segments

    /// Begins a new segment when there is none or the last is full. The full one is synced first: a segment that has a successor is
    /// whole on disk, which is what lets recovery call any damage in it damage.
    private func rollIfNeeded(_ active: inout Active, firstSequence: UInt64) throws {
        let last = state.withLock { $0.segments.last }
        if let last, last.sizeBytes < configuration.segmentBytes { return }
        if active.hasUnsynced {
            try syncFile(&active)
            state.withLock { $0.durableSequence = $0.committedSequence }
        }
        do {
            try startSegment(&active, firstSequence: firstSequence)
        } catch {
            throw StageError(stage: .write, error: error)
        }
    }

    /// Creates a segment, durable with its name, and makes it the last one.
    func startSegment(_ active: inout Active, firstSequence: UInt64) throws {
        let path = directory + "/" + LogFormat.name(firstSequence: firstSequence)
        let salt = UInt32.random(in: .min ... .max)
        let file = try disk.open(path, .createOrTruncate)
        do {
            try file.write(LogFormat.header(firstSequence: firstSequence, salt: salt), at: 0)
            try file.sync()
            try disk.syncDirectory(directory)
        } catch {
            // Best effort: recovery tells a segment with no record and no whole header from damage.
            try? disk.remove(path)
            throw error
        }
        active.file = file
        state.withLock { $0.segments.append(LogSegment(firstSequence: firstSequence, path: path, salt: salt)) }
    }
}
