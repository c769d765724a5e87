/// Names a shard worker for life: made when its data folder is first used.
public struct NodeID: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var value: UInt64
    public init(_ value: UInt64) { self.value = value }
    public var description: String { Incarnation(value).description }
    public static func < (left: NodeID, right: NodeID) -> Bool { left.value < right.value }
}
