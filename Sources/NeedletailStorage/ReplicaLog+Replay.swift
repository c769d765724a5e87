public import NeedletailCore
import Synchronization

extension ReplicaLog {
    /// The committed records from `sequence` on, in order: at least one if there is any, beyond that as many as have `maximumBytes` of
    /// payload. May run beside appends, from any thread.
    ///
    /// - Throws: as `replay`.
    public func records(from sequence: UInt64, maximumBytes: Int) throws -> [LogRecord] {
        struct Enough: Error {}
        var records: [LogRecord] = []
        var bytes = 0
        do {
            try replay(from: sequence) { sequence, epoch, payload in
                guard records.isEmpty || bytes + payload.count <= maximumBytes else { throw Enough() }
                bytes += payload.count
                records.append(LogRecord(sequence: sequence, epoch: epoch, payload: payload))
            }
        } catch is Enough {}
        return records
    }

    /// Calls `body` for every committed record from `sequence` through `last` (what is committed when the call begins), in order.
    /// May run beside appends, from any thread. A `sequence` beyond the end gives nothing.
    ///
    /// - Throws: `outOfRange` when the log begins after `sequence`; `dataLoss` for a damaged record; what `body` throws.
    public func replay(
        from sequence: UInt64, through last: UInt64 = .max,
        body: (_ sequence: UInt64, _ epoch: UInt64, _ payload: [UInt8]) throws -> Void
    ) throws {
        let segments = state.withLock { $0.segments }
        guard let first = segments.first else { return }
        guard sequence >= first.firstSequence else {
            throw NeedletailError(
                .outOfRange,
                "Sequence \(sequence) is no longer in the log, which begins at \(first.firstSequence); start from a checkpoint.",
                location: directory)
        }
        for segment in segments where !segment.isEmpty && segment.lastSequence >= sequence && segment.firstSequence <= last {
            try replay(segment, from: sequence, through: last, body)
        }
    }

    private func replay(
        _ segment: LogSegment, from sequence: UInt64, through last: UInt64, _ body: (UInt64, UInt64, [UInt8]) throws -> Void
    ) throws {
        let file = try disk.open(segment.path, .read)
        let start = segment.start(for: sequence)
        let reader = LogSegmentReader(
            file: file, salt: segment.salt, offset: start.offset, sequence: start.sequence, end: segment.sizeBytes)
        while true {
            switch try reader.next() {
            case .end: return
            case .record(let record):
                if record.sequence > last { return }
                if record.sequence >= sequence { try body(record.sequence, record.epoch, record.payload) }
            case .bad(let offset, let reason):
                throw NeedletailError(
                    .dataLoss, "The log is damaged: \(reason). \(LogFormat.advice(segment.path))",
                    location: "\(segment.path):\(offset)")
            }
        }
    }

    /// Removes the segments whose records are all at or before `sequence`; the last segment always stays.
    public func truncatePrefix(upTo sequence: UInt64) throws {
        try active.withLock { _ in
            // Oldest first and one at a time: a crash in between leaves a log without a gap.
            while let first = state.withLock({
                $0.segments.count > 1 && $0.segments[0].lastSequence <= sequence ? $0.segments[0] : nil
            }) {
                try disk.remove(first.path)
                state.withLock { _ = $0.segments.removeFirst() }
            }
        }
    }

    /// Removes the committed records after `sequence`, for a replica whose unacknowledged end differs from the new primary's.
    /// No replay may run meanwhile.
    ///
    /// - Throws: `outOfRange` when the log begins after `sequence` + 1; `failedPrecondition` with records appended and not committed.
    public func truncateSuffix(after sequence: UInt64) throws {
        try active.withLock { active in
            let (segments, hasPending) = state.withLock { ($0.segments, !$0.pending.isEmpty) }
            if let reason = readOnlyReason { throw reason }
            guard !hasPending else {
                throw NeedletailError(.failedPrecondition, "Commit the log before cutting it.", location: directory)
            }
            guard let first = segments.first, let last = segments.last, sequence < last.lastSequence else { return }
            guard sequence &+ 1 >= first.firstSequence else {
                throw NeedletailError(
                    .outOfRange,
                    "The log begins at \(first.firstSequence) and cannot be cut after \(sequence); start from a checkpoint.",
                    location: directory)
            }
            // Newest first, for the same reason as above.
            for segment in segments.reversed()
            where segment.firstSequence > sequence && segment.firstSequence != first.firstSequence {
                try disk.remove(segment.path)
                state.withLock { _ = $0.segments.removeLast() }
            }
            try disk.syncDirectory(directory)
            try cutLastSegment(after: sequence, &active)
        }
    }

    private func cutLastSegment(after sequence: UInt64, _ active: inout Active) throws {
        guard var segment = state.withLock({ $0.segments.last }) else { return }
        let file = try disk.open(segment.path, .readWrite)
        active.file = file
        let start = segment.start(for: sequence)
        let reader = LogSegmentReader(
            file: file, salt: segment.salt, offset: start.offset, sequence: start.sequence, end: segment.sizeBytes)
        var cut = start.offset
        var epoch = sequence < segment.firstSequence ? 0 : state.withLock { $0.committedEpoch }
        while case .record(let record) = try reader.next(), record.sequence <= sequence {
            cut = reader.offset
            epoch = record.epoch
        }
        try file.truncate(to: cut)
        try file.sync()
        segment.sizeBytes = cut
        segment.lastSequence = sequence
        segment.forgetMarks(from: cut)
        state.withLock { state in
            state.segments[state.segments.count - 1] = segment
            state.durableSequence = sequence
            state.epochs.removeAll { $0.firstSequence > sequence }
            // With no record left of the segment, what stood before it says the epoch.
            let last = epoch > 0 ? epoch : state.epochs.last?.epoch ?? 0
            state.committedEpoch = last
            state.lastEpoch = last
        }
        active.hasUnsynced = false
    }

    /// Empties the log and lets it begin at `nextSequence`, for a replica that was given a checkpoint of a later state, the last record of
    /// which was of `epoch`.
    public func reset(nextSequence: UInt64, epoch: UInt64 = 0) throws {
        precondition(LogFormat.sequences.contains(nextSequence), "sequences begin at 1 and end before the last number")
        try active.withLock { active in
            while let first = state.withLock({ $0.segments.first }) {
                try disk.remove(first.path)
                state.withLock { _ = $0.segments.removeFirst() }
            }
            active = Active()
            state.withLock { $0 = State() }
            try startSegment(&active, firstSequence: nextSequence)
            state.withLock { state in
                state.durableSequence = nextSequence - 1
                (state.committedEpoch, state.lastEpoch) = (epoch, epoch)
                if epoch > 0, nextSequence > 1 { state.epochs.note(epoch: epoch, sequence: nextSequence - 1) }
            }
        }
    }
}
