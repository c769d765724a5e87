public import NeedletailCore

/// Which node gets which shard of a new collection.
public enum Placement {
    /// Places `count` shards on `nodes`, each on the node that then holds the fewest, so that counts differ by at most one per
    /// collection and stay even over all collections.
    ///
    /// - Parameter load: replicas each node hosts already.
    /// - Throws: `failedPrecondition` when there is no node.
    public static func place(shards count: Int, on nodes: [NodeID], load: [NodeID: Int]) throws(NeedletailError) -> [ShardPlace] {
        guard !nodes.isEmpty else {
            throw NeedletailError(
                .failedPrecondition, "no shard worker is alive; start needletail-shard with --coordinator pointing here, then try again")
        }
        var here = [NodeID: Int](uniqueKeysWithValues: nodes.map { ($0, 0) })
        var places: [ShardPlace] = []
        for (index, range) in HashRange.dividing(into: count).enumerated() {
            // First even within the collection, then over all, then by name so that the plan is the same every time.
            let node = nodes.min { left, right in
                (here[left, default: 0], load[left, default: 0], left) < (here[right, default: 0], load[right, default: 0], right)
            }
            guard let node else { break }
            here[node, default: 0] += 1
            places.append(ShardPlace(number: UInt32(index), range: range, primary: node, epoch: 1))
        }
        return places
    }
}
