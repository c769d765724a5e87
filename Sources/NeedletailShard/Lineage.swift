internal import NeedletailCore

/// How far a merged replica has taken over what its shard was merged of; empty for other replicas.
///
/// Each record of a parent is one record here, in the order in which they came on this node. So the log ends where the sum of the parents' ends says,
/// on every node, and up to there the order of the records is each node's own.
public struct Lineage: Sendable, Equatable {
    public struct Parent: Sendable, Equatable {
        public var number: UInt32
        /// The last record of the parent that is here.
        public var sequence: UInt64

        public init(number: UInt32, sequence: UInt64) {
            self.number = number
            self.sequence = sequence
        }
    }

    /// In the order of their ranges.
    public var parents: [Parent] = []

    public init(_ parents: [Parent] = []) { self.parents = parents }

    /// That of all records that came of a parent, and so of those after which all nodes' logs are the same.
    static let epoch: UInt64 = 1

    /// The last record that came of a parent.
    public var end: UInt64 { parents.reduce(0) { $0 + $1.sequence } }

    mutating func advance(_ parent: Parent) {
        for index in parents.indices where parents[index].number == parent.number { parents[index].sequence = parent.sequence }
    }

    func encode(to writer: inout ByteWriter) {
        writer.varint(UInt64(parents.count))
        for parent in parents {
            writer.u32(parent.number)
            writer.u64(parent.sequence)
        }
    }

    init(from reader: inout ByteReader) throws(NeedletailError) {
        for _ in 0..<(try reader.count(minimumItemBytes: 12)) { parents.append(Parent(number: try reader.u32(), sequence: try reader.u64())) }
    }
}
