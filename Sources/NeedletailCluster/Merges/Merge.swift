public import NeedletailCore

/// Two neighbouring shards being made one. Its steps are those of a split, with the parents' parts changed for the one shard that both are merged into.
public struct Merge: Resharding {
    public var id: UInt64
    public var collection: String
    /// In the order of their ranges, which touch each other.
    public var parents: [MergeOrder.Parent]
    public var child: SplitOrder.Child
    /// Nodes with files of the parents, and maybe of the child.
    public var nodes: [NodeID]
    public var step: ReshardingStep
    public var isCancelled: Bool
    public var reason: String
    /// Why it failed, was undone, or began to seal once more.
    public var problem: String
    /// By the leader's clock, in milliseconds since 1970.
    public var createdMilliseconds: Int64
    public var changedMilliseconds: Int64

    /// - Parameter places: the parents', in the order of their ranges.
    public init(
        id: UInt64, collection: String, incarnation: Incarnation, places: [ShardPlace], number: UInt32, reason: String, nowMilliseconds: Int64
    ) {
        precondition(places.count == 2 && places[0].range.last < places[1].range.first, "two neighbours are merged, in the order of their ranges")
        self.id = id
        self.collection = collection
        parents = places.map { MergeOrder.Parent(shard: ShardID(incarnation: incarnation, number: $0.number), range: $0.range) }
        child = SplitOrder.Child(number: number, range: HashRange(first: places[0].range.first, last: places[1].range.last))
        nodes = Set(places.flatMap(\.replicas)).sorted()
        (step, isCancelled) = (.preparing, false)
        (self.reason, problem) = (reason, "")
        (createdMilliseconds, changedMilliseconds) = (nowMilliseconds, nowMilliseconds)
    }

    public var replaced: [ShardID] { parents.map(\.shard) }
    public var made: [ShardID] { [shard] }

    public var shard: ShardID { ShardID(incarnation: parents[0].shard.incarnation, number: child.number) }

    /// The epoch in which the child begins, in which nobody led a parent.
    public var epoch: UInt64 { parents.map(\.sealEpoch).max() ?? 0 }

    /// What the nodes are asked.
    public var order: MergeOrder {
        var order = MergeOrder(parents: parents, child: child)
        if step != .sealing { for index in parents.indices { order.parents[index].sealEpoch = 0 } }
        return order
    }
}

extension Merge {
    private static let format: UInt8 = 1

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(OperationKind.merge.rawValue)
        writer.u8(Self.format)
        writer.u64(id)
        writer.string(collection)
        writer.u64(parents[0].shard.incarnation.value)
        for parent in parents {
            writer.u32(parent.shard.number)
            writer.u64(parent.range.first)
            writer.u64(parent.range.last)
            writer.u64(parent.sealEpoch)
        }
        writer.u32(child.number)
        writer.varint(UInt64(nodes.count))
        for node in nodes { writer.u64(node.value) }
        writer.u8(step.rawValue)
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
            throw NeedletailError(.unimplemented, "a merge has format \(format), this build reads \(Self.format); upgrade the coordinator")
        }
        id = try reader.u64()
        collection = try reader.string()
        let incarnation = Incarnation(try reader.u64())
        parents = []
        for _ in 0..<2 {
            let number = try reader.u32()
            let (first, last) = (try reader.u64(), try reader.u64())
            guard first <= last else { throw NeedletailError(.dataLoss, "a merge is damaged: a hash range runs backwards") }
            parents.append(
                MergeOrder.Parent(
                    shard: ShardID(incarnation: incarnation, number: number), range: HashRange(first: first, last: last), sealEpoch: try reader.u64()))
        }
        guard parents[0].range.last < parents[1].range.first else { throw NeedletailError(.dataLoss, "a merge is damaged: its ranges overlap") }
        child = SplitOrder.Child(number: try reader.u32(), range: HashRange(first: parents[0].range.first, last: parents[1].range.last))
        nodes = []
        for _ in 0..<(try reader.count(minimumItemBytes: 8)) { nodes.append(NodeID(try reader.u64())) }
        guard let step = ReshardingStep(rawValue: try reader.u8()) else { throw NeedletailError(.dataLoss, "a merge is damaged: unknown step") }
        self.step = step
        isCancelled = try reader.u8() != 0
        reason = try reader.string()
        problem = try reader.string()
        createdMilliseconds = Int64(bitPattern: try reader.u64())
        changedMilliseconds = Int64(bitPattern: try reader.u64())
    }
}
