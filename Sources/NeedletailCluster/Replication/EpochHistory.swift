public import NeedletailCore

/// Where each epoch began in a log, which is all that two replicas need in order to find where their logs agree.
///
/// An epoch has one primary, a primary gives a sequence once, and a backup takes a record only after the one before it. So two logs
/// that have a record of the same epoch at the same sequence are the same up to there: the log matching property of Ongaro and
/// Ousterhout, "In Search of an Understandable Consensus Algorithm", 2014, section 5.3. That the epochs' beginnings are enough to
/// find the point, where a mere high watermark is not, is KIP-101 ("Alter Replication Protocol to use Leader Epoch rather than High
/// Watermark for Truncation").
public struct EpochHistory: Sendable, Hashable {
    /// Consecutive records of one epoch.
    public struct Run: Sendable, Hashable {
        public var epoch: UInt64
        /// The sequence of its first record.
        public var first: UInt64

        public init(epoch: UInt64, first: UInt64) {
            self.epoch = epoch
            self.first = first
        }
    }

    /// Epochs and first sequences both grow. When the log's beginning was dropped, the first run is the one that `base` lies in.
    public private(set) var runs: [Run]
    /// The last sequence before the first record that is still there; 0 when all are.
    public private(set) var base: UInt64
    /// The sequence of the last record; `base` when there is none.
    public private(set) var end: UInt64

    /// Of a log that was never written.
    public init() { (runs, base, end) = ([], 0, 0) }

    /// - Throws: `invalidArgument` when the runs do not grow or lie outside the log, since they come from a peer or a file.
    public init(base: UInt64, runs: [Run], end: UInt64) throws(NeedletailError) {
        let inside = runs.allSatisfy { $0.epoch > 0 && (1...max(1, end)).contains($0.first) }
        let growing = zip(runs, runs.dropFirst()).allSatisfy { $0.epoch < $1.epoch && $0.first < $1.first }
        let covered = runs.first.map { $0.first <= max(base, 1) } ?? (end == 0)
        guard base <= end, inside, growing, covered, runs.dropFirst().allSatisfy({ $0.first > base }) else {
            throw NeedletailError(.invalidArgument, "an epoch history contradicts itself; report a bug of the replica that sent it")
        }
        (self.runs, self.base, self.end) = (runs, base, end)
    }

    /// The epoch of the last record; 0 when there never was one.
    public var lastEpoch: UInt64 { runs.last?.epoch ?? 0 }

    /// The epoch of a record from `base` to `end`; 0 for sequence 0, which every log agrees on; nil outside.
    public func epoch(of sequence: UInt64) -> UInt64? {
        guard sequence >= base, sequence <= end else { return nil }
        return sequence == 0 ? 0 : runs.last { $0.first <= sequence }?.epoch
    }

    /// Adds records up to `sequence`, all of one epoch.
    public mutating func append(epoch: UInt64, through sequence: UInt64) {
        precondition(epoch >= lastEpoch && epoch > 0, "epochs grow along a log")
        guard sequence > end else { return }
        if epoch > lastEpoch { runs.append(Run(epoch: epoch, first: end + 1)) }
        end = sequence
    }

    /// Takes the records after `sequence` away.
    public mutating func cut(after sequence: UInt64) {
        guard sequence < end else { return }
        precondition(sequence >= base, "a log is not cut below its beginning")
        end = sequence
        while let last = runs.last, last.first > sequence { runs.removeLast() }
    }

    /// Drops the records up to `sequence`, which a checkpoint holds.
    public mutating func trim(through sequence: UInt64) {
        guard sequence > base else { return }
        base = min(sequence, end)
        while runs.count > 1, runs[1].first <= base { runs.removeFirst() }
    }

    /// The part from the record after `previous` to the one at `last`, as a message that carries these records tells it.
    public func runs(after previous: UInt64, through last: UInt64) -> [Run] {
        guard last > previous, let first = epoch(of: previous + 1) else { return [] }
        return [Run(epoch: first, first: previous + 1)] + runs.filter { $0.first > previous + 1 && $0.first <= last }
    }

    /// The greatest sequence up to which both logs are the same, or nil when it lies before the beginning of one of them, so that
    /// the logs alone cannot tell.
    ///
    /// From the shorter end backwards: where the epochs differ, the run of the younger one cannot be in the other log below this
    /// point, whose epochs there are older still; so the whole run is skipped. At most one step a run.
    public func agreement(with other: EpochHistory) -> UInt64? {
        var sequence = min(end, other.end)
        while let here = run(at: sequence), let there = other.run(at: sequence) {
            if here.epoch == there.epoch { return sequence }
            let first = here.epoch > there.epoch ? here.first : there.first
            sequence = first - 1
        }
        return nil
    }

    private func run(at sequence: UInt64) -> Run? {
        guard sequence >= base, sequence <= end else { return nil }
        return sequence == 0 ? Run(epoch: 0, first: 0) : runs.last { $0.first <= sequence }
    }
}
