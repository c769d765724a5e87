public import NeedletailCore

/// A shard being cut in two.
public struct Split: Resharding {
    public var id: UInt64
    public var collection: String
    public var parent: ShardID
    public var children: [SplitOrder.Child]
    /// Nodes with files of the parent, and maybe of the children.
    public var nodes: [NodeID]
    public var step: ReshardingStep
    /// The epoch before which the parent was sealed last; 0: never. The children begin with an epoch that is no smaller.
    public var sealEpoch: UInt64
    public var isCancelled: Bool
    public var reason: String
    /// Why it failed, was undone, or began to seal once more.
    public var problem: String
    /// By the leader's clock, in milliseconds since 1970.
    public var createdMilliseconds: Int64
    public var changedMilliseconds: Int64

    /// - Parameter at: the last hash of the first child; in the parent's range, and not its last.
    public init(
        id: UInt64, collection: String, parent: ShardID, place: ShardPlace, at: UInt64, firstNumber: UInt32, reason: String, nowMilliseconds: Int64
    ) {
        self.id = id
        self.collection = collection
        self.parent = parent
        children = [
            SplitOrder.Child(number: firstNumber, range: HashRange(first: place.range.first, last: at)),
            SplitOrder.Child(number: firstNumber + 1, range: HashRange(first: at + 1, last: place.range.last)),
        ]
        nodes = place.replicas
        (step, sealEpoch, isCancelled) = (.preparing, 0, false)
        (self.reason, problem) = (reason, "")
        (createdMilliseconds, changedMilliseconds) = (nowMilliseconds, nowMilliseconds)
    }

    public var replaced: [ShardID] { [parent] }
    public var made: [ShardID] { children.map(shard) }

    public func shard(_ child: SplitOrder.Child) -> ShardID { ShardID(incarnation: parent.incarnation, number: child.number) }

    /// What the nodes are asked.
    public var order: SplitOrder { SplitOrder(parent: parent, children: children, sealEpoch: step == .sealing ? sealEpoch : 0) }
}

extension Split {
    private static let format: UInt8 = 1

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(OperationKind.split.rawValue)
        writer.u8(Self.format)
        writer.u64(id)
        writer.string(collection)
        writer.u64(parent.incarnation.value)
        writer.u32(parent.number)
        writer.varint(UInt64(children.count))
        for child in children {
            writer.u32(child.number)
            writer.u64(child.range.first)
            writer.u64(child.range.last)
        }
        writer.varint(UInt64(nodes.count))
        for node in nodes { writer.u64(node.value) }
        writer.u8(step.rawValue)
        writer.u64(sealEpoch)
        writer.u8(isCancelled ? 1 : 0)
        writer.string(reason)
        writer.string(problem)
        writer.u64(UInt64(bitPattern: createdMilliseconds))
        writer.u64(UInt64(bitPattern: changedMilliseconds))
        return writer.bytes
    }

    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        _ = try reader.u8()
        let format = try reader.u8()
        guard format == Self.format else {
            throw NeedletailError(.unimplemented, "a split has format \(format), this build reads \(Self.format); upgrade the coordinator")
        }
        id = try reader.u64()
        collection = try reader.string()
        parent = ShardID(incarnation: Incarnation(try reader.u64()), number: try reader.u32())
        children = []
        for _ in 0..<(try reader.count(minimumItemBytes: 20)) {
            let number = try reader.u32()
            let (first, last) = (try reader.u64(), try reader.u64())
            guard first <= last else { throw NeedletailError(.dataLoss, "a split is damaged: a hash range runs backwards") }
            children.append(SplitOrder.Child(number: number, range: HashRange(first: first, last: last)))
        }
        nodes = []
        for _ in 0..<(try reader.count(minimumItemBytes: 8)) { nodes.append(NodeID(try reader.u64())) }
        guard let step = ReshardingStep(rawValue: try reader.u8()) else { throw NeedletailError(.dataLoss, "a split is damaged: unknown step") }
        self.step = step
        sealEpoch = try reader.u64()
        isCancelled = try reader.u8() != 0
        reason = try reader.string()
        problem = try reader.string()
        createdMilliseconds = Int64(bitPattern: try reader.u64())
        changedMilliseconds = Int64(bitPattern: try reader.u64())
    }
}
