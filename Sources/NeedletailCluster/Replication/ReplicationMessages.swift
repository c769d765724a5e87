public import NeedletailCore

/// One stream of records from a primary to a backup. The backup numbers its streams; a number is not used twice while messages of the
/// older stream may be on their way.
public struct StreamID: Sendable, Hashable {
    /// The backup.
    public var node: NodeID
    public var number: UInt64

    public init(node: NodeID, number: UInt64) {
        self.node = node
        self.number = number
    }
}

/// A backup opens a stream.
public struct Follow: Sendable, Hashable {
    public var stream: StreamID
    /// The epoch in which the backup believes the primary to be one.
    public var epoch: UInt64
    /// The newest epoch that the backup has promised. When it is above `epoch` the backup cannot follow any more, and the primary must
    /// have a new epoch to go on.
    public var promised: UInt64
    /// Of the backup's whole log, durable or not.
    public var history: EpochHistory

    public init(stream: StreamID, epoch: UInt64, promised: UInt64, history: EpochHistory) {
        self.stream = stream
        self.epoch = epoch
        self.promised = promised
        self.history = history
    }
}

/// The first message of a primary on a stream.
public enum FollowAnswer: Sendable, Hashable {
    /// The logs are the same up to here; records after it follow on the stream.
    case agreed(at: UInt64)
    /// The primary's log begins too late to tell, or to go on from there: take a checkpoint.
    case transfer
    /// Not from this replica, not in this epoch or not for this backup; ask again after metadata were read again. Carries the epoch of
    /// the replica that was asked.
    case refused(epoch: UInt64)
}

/// What a primary sends on a stream, beside the records' payloads.
public struct StreamedRecords: Sendable, Hashable {
    /// The primary's epoch. The records may be of older ones.
    public var epoch: UInt64
    /// The sequence before the first record.
    public var previous: UInt64
    /// What the primary knows to be committed.
    public var committed: UInt64
    /// The epochs of the records (see `EpochHistory.runs(after:through:)`); empty when there are no records.
    public var runs: [EpochHistory.Run]
    /// The sequence of the last record; `previous` when there is none.
    public var last: UInt64

    public init(epoch: UInt64, previous: UInt64, committed: UInt64, runs: [EpochHistory.Run], last: UInt64) {
        self.epoch = epoch
        self.previous = previous
        self.committed = committed
        self.runs = runs
        self.last = last
    }
}

/// What a primary asks its world to put on a stream.
public struct SendOrder: Sendable, Hashable {
    public var stream: StreamID
    public var epoch: UInt64
    /// Records from the one after this on, as far as the log has them now.
    public var previous: UInt64
    /// At most so many bytes of payload; one record if the first alone is larger; none when 0.
    public var budgetBytes: Int
    public var committed: UInt64
}

/// A primary asks for another in-sync set. A leader makes the change when the shard's place still has the version named here.
public struct Proposal: Sendable, Hashable {
    public var epoch: UInt64
    public var version: UInt64
    public var inSync: [NodeID]

    public init(epoch: UInt64, version: UInt64, inSync: [NodeID]) {
        self.epoch = epoch
        self.version = version
        self.inSync = inSync
    }
}

/// A leader asks a replica to take nothing of an epoch before this one any more, and to say how far its log goes.
public struct Fence: Sendable, Hashable {
    public var epoch: UInt64
    /// Of the leader that asks.
    public var term: UInt64

    public init(epoch: UInt64, term: UInt64) {
        self.epoch = epoch
        self.term = term
    }
}

/// How far a fenced replica's log goes. All of it is durable.
public struct FenceAnswer: Sendable, Hashable {
    public var fence: Fence
    public var node: NodeID
    public var lastEpoch: UInt64
    public var end: UInt64

    public init(fence: Fence, node: NodeID, lastEpoch: UInt64, end: UInt64) {
        self.fence = fence
        self.node = node
        self.lastEpoch = lastEpoch
        self.end = end
    }
}
