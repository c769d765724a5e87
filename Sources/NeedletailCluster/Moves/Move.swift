public import NeedletailCore

/// A change of who holds a shard, as the metadata keep it under `operations/ID` from its beginning on: whoever leads goes on with it.
public struct Move: Sendable, Hashable {
    public enum Step: UInt8, Sendable, CaseIterable {
        /// Waits for its turn; then the new replica joins the shard's place.
        case adding = 1
        /// The new replica follows the primary, until it is in sync.
        case catchingUp = 2
        /// The old replica is the primary: it hands over.
        case leading = 3
        /// The old replica is about to leave the place.
        case removing = 4
        /// It has left; its node removes its files.
        case dropping = 5
        case done = 6
        /// Cancelled: the new replica is about to leave the place.
        case undoing = 7
        /// It has left; its node removes its files.
        case undropping = 8
        case cancelled = 9
        case failed = 10

        public var hasEnded: Bool { self == .done || self == .cancelled || self == .failed }
        /// Whether anything has happened to the shard and is not over.
        public var isUnderWay: Bool { self != .adding && !hasEnded }
    }

    public var id: UInt64
    public var collection: String
    public var shard: ShardID
    /// As in `PlannedMove`.
    public var from: NodeID?
    public var to: NodeID?
    public var isLeadOnly: Bool
    public var step: Step
    /// Somebody asked for it not to be done.
    public var isCancelled: Bool
    public var cause: PlannedMove.Cause
    public var reason: String
    /// Why it failed, was undone, or waits.
    public var problem: String
    /// To be copied, as far as was known when it was planned.
    public var bytes: UInt64
    /// By the leader's clock, in milliseconds since 1970.
    public var createdMilliseconds: Int64
    public var changedMilliseconds: Int64

    public init(_ planned: PlannedMove, id: UInt64, nowMilliseconds: Int64) {
        self.id = id
        collection = planned.collection
        shard = planned.shard
        (from, to, isLeadOnly) = (planned.from, planned.to, planned.isLeadOnly)
        step = .adding
        isCancelled = false
        (cause, reason, problem, bytes) = (planned.cause, planned.reason, "", planned.bytes)
        (createdMilliseconds, changedMilliseconds) = (nowMilliseconds, nowMilliseconds)
    }

    public var key: String { Incarnation(id).description }

    /// The nodes that it keeps busy.
    public var nodes: [NodeID] { [from, to].compactMap { $0 } }

    /// A replica that is no longer of the shard and whose files its node may remove.
    public var dropped: NodeID? {
        switch step {
        case .dropping: from
        case .undropping: to
        default: nil
        }
    }
}

extension Move {
    /// It tells moves from the other operations as well.
    private static let format = OperationKind.move.rawValue

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(Self.format)
        writer.u64(id)
        writer.string(collection)
        writer.u64(shard.incarnation.value)
        writer.u32(shard.number)
        for node in [from, to] {
            writer.u8(node == nil ? 0 : 1)
            writer.u64(node?.value ?? 0)
        }
        writer.u8(isLeadOnly ? 1 : 0)
        writer.u8(step.rawValue)
        writer.u8(isCancelled ? 1 : 0)
        writer.u8(cause.rawValue)
        writer.string(reason)
        writer.string(problem)
        writer.u64(bytes)
        writer.u64(UInt64(bitPattern: createdMilliseconds))
        writer.u64(UInt64(bitPattern: changedMilliseconds))
        return writer.bytes
    }

    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        let format = try reader.u8()
        guard format == Self.format else {
            throw NeedletailError(.unimplemented, "an operation has format \(format), this build reads \(Self.format); upgrade the coordinator")
        }
        id = try reader.u64()
        collection = try reader.string()
        shard = ShardID(incarnation: Incarnation(try reader.u64()), number: try reader.u32())
        from = try Self.node(&reader)
        to = try Self.node(&reader)
        isLeadOnly = try reader.u8() != 0
        guard let step = Step(rawValue: try reader.u8()) else { throw NeedletailError(.dataLoss, "an operation is damaged: unknown step") }
        self.step = step
        isCancelled = try reader.u8() != 0
        guard let cause = PlannedMove.Cause(rawValue: try reader.u8()) else { throw NeedletailError(.dataLoss, "an operation is damaged: unknown cause") }
        self.cause = cause
        reason = try reader.string()
        problem = try reader.string()
        self.bytes = try reader.u64()
        createdMilliseconds = Int64(bitPattern: try reader.u64())
        changedMilliseconds = Int64(bitPattern: try reader.u64())
    }

    private static func node(_ reader: inout ByteReader) throws(NeedletailError) -> NodeID? {
        let isThere = try reader.u8() != 0
        let value = try reader.u64()
        return isThere ? NodeID(value) : nil
    }
}
