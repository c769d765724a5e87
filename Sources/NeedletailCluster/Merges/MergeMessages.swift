public import NeedletailCore

/// What a leader asks of a node that has replicas of two shards which are being merged. Asked again and again until it is over; asking twice does
/// nothing twice.
public struct MergeOrder: Sendable, Hashable {
    public struct Parent: Sendable, Hashable {
        public var shard: ShardID
        public var range: HashRange
        /// The primary of the epoch before this one takes no more writes in that epoch; 0: it goes on.
        public var sealEpoch: UInt64

        public init(shard: ShardID, range: HashRange, sealEpoch: UInt64 = 0) {
            self.shard = shard
            self.range = range
            self.sealEpoch = sealEpoch
        }
    }

    /// In the order of their ranges.
    public var parents: [Parent]
    /// The merged shard, under a number that was never used before.
    public var child: SplitOrder.Child
    /// The parents' replicas answer no reads of epochs before the seals either: the merged shard is about to take their place.
    public var isClosing: Bool

    public init(parents: [Parent], child: SplitOrder.Child, isClosing: Bool = false) {
        self.parents = parents
        self.child = child
        self.isClosing = isClosing
    }

    public var shard: ShardID { ShardID(incarnation: parents[0].shard.incarnation, number: child.number) }
}

/// How far the merged replica of a node is.
public struct MergeProgress: Sendable, Hashable {
    public struct Parent: Sendable, Hashable {
        /// Where its log ends here.
        public var end: UInt64
        /// This replica led the epoch before the seal, and nothing follows `end` in that epoch, whatever happens to it.
        public var isSealed: Bool
        /// This replica answers no reads of epochs before the seal, whatever happens to it.
        public var isClosed: Bool
        /// Every record of the parent up to here is in the merged replica's log.
        public var taken: UInt64

        public init(end: UInt64, isSealed: Bool = false, isClosed: Bool = false, taken: UInt64) {
            self.end = end
            self.isSealed = isSealed
            self.isClosed = isClosed
            self.taken = taken
        }
    }

    /// In the order of the parents in the order.
    public var parents: [Parent]
    /// It is made, and has all points of both parents up to `taken`, but for those that wait.
    public var isReady: Bool
    /// Records in the merged replica's log that are not visible to searches yet or, once the parents are sealed, not on its disk.
    public var waiting: UInt64

    public init(parents: [Parent], isReady: Bool, waiting: UInt64) {
        self.parents = parents
        self.isReady = isReady
        self.waiting = waiting
    }

    /// Whether the merged replica has everything of the parents up to these ends, or is at most so many records behind.
    public func hasReached(_ ends: [UInt64], within records: UInt64 = 0) -> Bool {
        guard isReady, parents.count == ends.count else { return false }
        return zip(parents, ends).reduce(waiting) { $0 + ($1.1 > $1.0.taken ? $1.1 - $1.0.taken : 0) } <= records
    }
}
