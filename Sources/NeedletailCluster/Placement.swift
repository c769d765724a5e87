public import NeedletailCore

/// Which nodes get which shard of a new collection.
public enum Placement {
    /// What a node is like, and holds.
    public struct Standing: Sendable {
        public var zone: String
        public var weight: Double
        public var bytes: UInt64

        public init(zone: String = "", weight: Double = 1, bytes: UInt64 = 0) {
            self.zone = zone
            self.weight = weight
            self.bytes = bytes
        }
    }

    /// - Throws: `failedPrecondition` when there are fewer nodes than replicas.
    public static func check(replicas: Int, on nodes: Int) throws(NeedletailError) {
        guard nodes < replicas else { return }
        throw NeedletailError(
            .failedPrecondition,
            "replication_factor \(replicas) needs as many shard workers, and \(nodes) are alive; start more, or ask for fewer replicas")
    }

    /// Places `count` shards on `nodes`: each primary on the node that then leads the fewest shards of the collection, and the other
    /// replicas on those that hold the fewest, so that counts differ by at most one and stay even over all collections.
    ///
    /// - Parameters:
    ///   - replicas: of each shard, on as many nodes.
    ///   - load: replicas each node hosts already.
    ///   - standing: of nodes; replicas of a shard go to different zones while there are, and heavier nodes get more shards.
    /// - Throws: `failedPrecondition` when there are fewer nodes than replicas.
    public static func place(
        shards count: Int, replicas: Int, on nodes: [NodeID], load: [NodeID: Int], standing: [NodeID: Standing] = [:]
    ) throws(NeedletailError) -> [ShardPlace] {
        guard !nodes.isEmpty else {
            throw NeedletailError(
                .failedPrecondition,
                "no shard worker takes shards: none is alive, or all are drained; start needletail-shard with --coordinator pointing here, or let a "
                    + "drained one take some: `needletail cluster drain NODE --undo`")
        }
        try check(replicas: replicas, on: nodes.count)
        var led: [NodeID: Int] = [:]
        var here: [NodeID: Int] = [:]
        var places: [ShardPlace] = []
        for (index, range) in HashRange.dividing(into: count).enumerated() {
            var chosen: [NodeID] = []
            // First in zones of their own, then even within the collection, then over all, then by name so that the plan is the same every time.
            func rank(_ node: NodeID) -> (Int, Double, Double, Int, NodeID) {
                let known = standing[node] ?? Standing()
                let isCrowded = chosen.contains { standing[$0]?.zone ?? "" == known.zone }
                return (
                    isCrowded ? 1 : 0, Double(here[node, default: 0] + 1) / known.weight, Double(known.bytes) / known.weight, load[node, default: 0], node
                )
            }
            for _ in 0..<replicas {
                if let next = nodes.filter({ !chosen.contains($0) }).min(by: { rank($0) < rank($1) }) { chosen.append(next) }
            }
            guard let primary = chosen.min(by: { (led[$0, default: 0], $0) < (led[$1, default: 0], $1) }) else { break }
            led[primary, default: 0] += 1
            for node in chosen { here[node, default: 0] += 1 }
            places.append(ShardPlace(number: UInt32(index), range: range, primary: primary, epoch: 1, replicas: chosen))
        }
        return places
    }
}
