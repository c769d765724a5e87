/// What a client can ask of where replicas are: part of `ClusterOperations`. Nodes are named by their ids.
public protocol MoveOperations: Sendable {
    /// What would be moved now, and why.
    func plan(deadline: Deadline?) async throws -> MovePlan
    func move(_ order: MoveOrder, deadline: Deadline?) async throws -> OperationInfo
    func split(_ order: ShardSplitOrder, deadline: Deadline?) async throws -> OperationInfo
    /// Makes two neighbouring shards one.
    func merge(_ order: ShardMergeOrder, deadline: Deadline?) async throws -> OperationInfo
    /// Ends a move, a split or a merge.
    func cancelMove(_ id: UInt64, deadline: Deadline?) async throws -> OperationInfo
    /// Has a node emptied and kept empty, or no longer.
    func drain(_ node: UInt64, isDrained: Bool, deadline: Deadline?) async throws -> NodeInfo
    /// Removes one that is gone for good from the cluster's list.
    func forget(_ node: UInt64, deadline: Deadline?) async throws -> NodeInfo
    func pauseMoves(_ isPaused: Bool, deadline: Deadline?) async throws -> OperationList
    func operations(deadline: Deadline?) async throws -> OperationList
    /// Those with a greater number, oldest first.
    func events(after number: UInt64, deadline: Deadline?) async throws -> [EventInfo]
}

/// What a shard worker is, for placement.
public struct NodeFacts: Sendable, Hashable {
    /// Workers of one zone may fail together.
    public var zone: String
    /// Its share of the bytes, compared with others'.
    public var weight: Double
    /// What replicas may take; 0: not known.
    public var memoryLimitBytes: UInt64
    public var diskLimitBytes: UInt64
    /// Free in the file system of its data folder.
    public var diskFreeBytes: UInt64

    public init(zone: String = "", weight: Double = 1, memoryLimitBytes: UInt64 = 0, diskLimitBytes: UInt64 = 0, diskFreeBytes: UInt64 = 0) {
        self.zone = zone
        self.weight = weight
        self.memoryLimitBytes = memoryLimitBytes
        self.diskLimitBytes = diskLimitBytes
        self.diskFreeBytes = diskFreeBytes
    }
}

/// A move that somebody asks for: see `Proto/needletail/v1/cluster.proto`.
public struct MoveOrder: Sendable, Hashable {
    public var collection: String
    public var shard: UInt32
    public var from: UInt64?
    public var to: UInt64?
    public var isLeadOnly: Bool

    public init(collection: String, shard: UInt32, from: UInt64? = nil, to: UInt64? = nil, isLeadOnly: Bool = false) {
        self.collection = collection
        self.shard = shard
        self.from = from
        self.to = to
        self.isLeadOnly = isLeadOnly
    }
}

/// A shard that somebody wants cut in two.
public struct ShardSplitOrder: Sendable, Hashable {
    public var collection: String
    public var shard: UInt32
    /// The last hash of the first part; the middle of the shard's range when nil.
    public var at: UInt64?

    public init(collection: String, shard: UInt32, at: UInt64? = nil) {
        self.collection = collection
        self.shard = shard
        self.at = at
    }
}

/// Neighbouring shards that somebody wants to be one.
public struct ShardMergeOrder: Sendable, Hashable {
    public var collection: String
    public var shard: UInt32
    /// Its neighbour, on either side.
    public var other: UInt32

    public init(collection: String, shard: UInt32, other: UInt32) {
        self.collection = collection
        self.shard = shard
        self.other = other
    }
}

/// One move with what it costs, and why.
public struct MoveInfo: Sendable, Hashable {
    public var order: MoveOrder
    /// To be copied.
    public var bytes: UInt64
    public var cause: String
    public var reason: String

    public init(order: MoveOrder, bytes: UInt64, cause: String, reason: String) {
        self.order = order
        self.bytes = bytes
        self.cause = cause
        self.reason = reason
    }
}

public struct MovePlan: Sendable, Hashable {
    /// In the order in which they would begin.
    public var moves: [MoveInfo]
    /// Why none begins at this moment; empty when they do.
    public var held: String
    /// Splits and merges, in the order in which they would begin, one after the other.
    public var reshardings: [ReshardingInfo]

    public init(moves: [MoveInfo], held: String, reshardings: [ReshardingInfo] = []) {
        self.moves = moves
        self.held = held
        self.reshardings = reshardings
    }
}

/// A split or a merge that is due, and why.
public struct ReshardingInfo: Sendable, Hashable {
    public enum Change: Sendable, Hashable {
        case split(ShardSplitOrder)
        case merge(ShardMergeOrder)
    }

    public var change: Change
    public var reason: String

    public init(_ change: Change, reason: String) {
        self.change = change
        self.reason = reason
    }
}

/// A move, a split or a merge, from when it was asked for or planned.
public struct OperationInfo: Sendable, Hashable {
    public var id: UInt64
    /// "move", "split" or "merge"; of the latter two `move` names the collection and the shard, of a merge the first.
    public var kind: String
    public var move: MoveInfo
    public var step: String
    public var problem: String
    /// By the leader's clock, since 1970.
    public var createdMilliseconds: Int64
    public var changedMilliseconds: Int64

    public init(
        id: UInt64, kind: String = "move", move: MoveInfo, step: String, problem: String, createdMilliseconds: Int64, changedMilliseconds: Int64
    ) {
        self.id = id
        self.kind = kind
        self.move = move
        self.step = step
        self.problem = problem
        self.createdMilliseconds = createdMilliseconds
        self.changedMilliseconds = changedMilliseconds
    }
}

public struct OperationList: Sendable, Hashable {
    public var isPaused: Bool
    /// Oldest first.
    public var operations: [OperationInfo]

    public init(isPaused: Bool, operations: [OperationInfo]) {
        self.isPaused = isPaused
        self.operations = operations
    }
}

/// Something the leader did or saw.
public struct EventInfo: Sendable, Hashable {
    public var number: UInt64
    public var milliseconds: Int64
    public var kind: String
    public var message: String

    public init(number: UInt64, milliseconds: Int64, kind: String, message: String) {
        self.number = number
        self.milliseconds = milliseconds
        self.kind = kind
        self.message = message
    }
}
