public import NeedletailCore

/// What a leader asks of a replica whose shard is being split. Asked again and again until it is over; asking twice does nothing twice.
public struct SplitOrder: Sendable, Hashable {
    /// One part of the parent's range, under a number that was never used before.
    public struct Child: Sendable, Hashable {
        public var number: UInt32
        public var range: HashRange

        public init(number: UInt32, range: HashRange) {
            self.number = number
            self.range = range
        }
    }

    public var parent: ShardID
    public var children: [Child]
    /// The primary of the epoch before this one takes no more writes in that epoch; 0: it goes on.
    public var sealEpoch: UInt64
    /// The replica answers no reads of epochs before the seal's either: its parts are about to take the parent's place.
    public var isClosing: Bool

    public init(parent: ShardID, children: [Child], sealEpoch: UInt64 = 0, isClosing: Bool = false) {
        self.parent = parent
        self.children = children
        self.sealEpoch = sealEpoch
        self.isClosing = isClosing
    }

    public func shard(_ child: Child) -> ShardID { ShardID(incarnation: parent.incarnation, number: child.number) }
}

/// How far a replica's children are.
public struct SplitProgress: Sendable, Hashable {
    public struct Child: Sendable, Hashable {
        /// It is made, and the points of its sibling are cut out of its graphs.
        public var isReady: Bool
        /// Every record up to here is visible to searches and, once the parent is sealed, on its disk.
        public var end: UInt64

        public init(isReady: Bool, end: UInt64) {
            self.isReady = isReady
            self.end = end
        }
    }

    /// Where the parent's log ends.
    public var end: UInt64
    /// This replica led the epoch before the seal, and nothing follows `end` in that epoch, whatever happens to it.
    public var isSealed: Bool
    /// This replica answers no reads of epochs before the seal, whatever happens to it.
    public var isClosed: Bool
    /// In the order of the children in the order.
    public var children: [Child]

    public init(end: UInt64, isSealed: Bool = false, isClosed: Bool = false, children: [Child]) {
        self.end = end
        self.isSealed = isSealed
        self.isClosed = isClosed
        self.children = children
    }

    /// Whether all children are ready and have everything up to `end`, or are at most so many records behind.
    public func hasReached(_ end: UInt64, within records: UInt64 = 0) -> Bool {
        !children.isEmpty && children.allSatisfy { $0.isReady && $0.end + records >= end }
    }
}
