public import NeedletailCore

/// Which nodes get which shard of a new collection.
public enum Placement {
    /// Places `count` shards on `nodes`: each primary on the node that then leads the fewest shards of the collection, and the other
    /// replicas on those that hold the fewest, so that counts differ by at most one and stay even over all collections.
    ///
    /// - Parameters:
    ///   - replicas: of each shard, on as many nodes.
    ///   - load: replicas each node hosts already.
    /// - Throws: `failedPrecondition` when there are fewer nodes than replicas.
    public static func place(shards count: Int, replicas: Int, on nodes: [NodeID], load: [NodeID: Int]) throws(NeedletailError) -> [ShardPlace] {
        guard !nodes.isEmpty else {
            throw NeedletailError(
                .failedPrecondition, "no shard worker is alive; start needletail-shard with --coordinator pointing here, then try again")
        }
        guard nodes.count >= replicas else {
            throw NeedletailError(
                .failedPrecondition,
                "replication_factor \(replicas) needs as many shard workers, and \(nodes.count) are alive; start more, or ask for fewer replicas")
        }
        var led: [NodeID: Int] = [:]
        var here: [NodeID: Int] = [:]
        var places: [ShardPlace] = []
        for (index, range) in HashRange.dividing(into: count).enumerated() {
            // First even within the collection, then over all, then by name so that the plan is the same every time.
            func isLess(_ left: NodeID, _ right: NodeID) -> Bool {
                (here[left, default: 0], load[left, default: 0], left) < (here[right, default: 0], load[right, default: 0], right)
            }
            let chosen = nodes.sorted(by: isLess).prefix(replicas)
            guard let primary = chosen.min(by: { (led[$0, default: 0], $0) < (led[$1, default: 0], $1) }) else { break }
            led[primary, default: 0] += 1
            for node in chosen { here[node, default: 0] += 1 }
            places.append(ShardPlace(number: UInt32(index), range: range, primary: primary, epoch: 1, replicas: Array(chosen)))
        }
        return places
    }

    /// Nodes for further replicas of a shard, those that hold the fewest first.
    /// - Throws: `failedPrecondition` when there are too few that do not hold it yet.
    public static func additions(_ count: Int, to place: ShardPlace, on nodes: [NodeID], load: [NodeID: Int]) throws(NeedletailError) -> [NodeID] {
        let free = nodes.filter { !place.replicas.contains($0) }.sorted { (load[$0, default: 0], $0) < (load[$1, default: 0], $1) }
        guard free.count >= count else {
            throw NeedletailError(
                .failedPrecondition,
                "shard \(place.number) would have \(place.replicas.count + count) replicas, and only \(free.count) more shard workers are alive; start more")
        }
        return Array(free.prefix(count))
    }
}
