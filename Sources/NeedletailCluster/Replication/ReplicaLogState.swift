/// What the machines know of their replica's log; it goes from one role's machine to the next.
public struct ReplicaLogState: Sendable, Hashable {
    /// Of all records appended, durable or not.
    public internal(set) var history: EpochHistory
    /// The last sequence that survives a power cut, and all before it.
    public internal(set) var durable: UInt64
    /// A sequence known to be committed: on the disks of every member of the in-sync set. What is really committed may be more. Never
    /// beyond `durable`.
    public internal(set) var committed: UInt64
    /// The newest checkpoint has everything up to here; 0 when there is none.
    public internal(set) var checkpointed: UInt64 = 0
    /// The log is being cut or replaced. Nothing is appended, promised or followed meanwhile, so that what is told of commits made
    /// before is not taken for news of the records that come after.
    public internal(set) var isChanging = false

    /// - Parameters:
    ///   - history: of the log as the disk has it after a start; all of it must be synced by then.
    ///   - committed: the last hint that the disk holds, such as the sequence of the newest checkpoint; 0 when there is none.
    public init(history: EpochHistory = EpochHistory(), committed: UInt64 = 0) {
        self.history = history
        durable = history.end
        self.committed = max(history.base, min(committed, durable))
    }

    public var end: UInt64 { history.end }

    mutating func becomeDurable(through sequence: UInt64) { durable = max(durable, min(sequence, end)) }

    /// The records after `lastKept` are gone: a commit failed, or they were cut.
    mutating func lose(after lastKept: UInt64) {
        history.cut(after: max(lastKept, history.base))
        durable = min(durable, end)
    }
}

/// What a replica has promised about epochs. It is on the disk before anybody may rely on it.
public struct ReplicaPromise: Sendable, Hashable {
    /// No record, stream or fence of an older epoch is accepted.
    public var epoch: UInt64
    /// The last epoch in which this replica was the primary. After a restart it may have lost records of that epoch which others
    /// hold, so it never gives sequences in that epoch again.
    public var led: UInt64

    public init(epoch: UInt64 = 0, led: UInt64 = 0) {
        self.epoch = epoch
        self.led = led
    }
}
