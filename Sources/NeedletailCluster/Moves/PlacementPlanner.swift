internal import NeedletailCore

/// Decides which replicas ought to be elsewhere. Pure and deterministic: equal pictures give equal plans, and the picture as it is once a
/// plan has been carried out gives one that at most changes primaries, and after that an empty one.
///
/// It changes a draft of who holds what, urgent things first: replicas that are missing, too many, on lost or drained nodes, over a node's
/// limit, in one zone; then the balance of bytes and of work by weight. Each step of the balance lowers the sum of squared distances from what
/// each node ought to hold, so it ends; for bytes it takes the largest replica that neither empties the fuller node below its share nor fills
/// the emptier one above, so little more is moved than lacks at the end. The plan is the difference between the draft and what is.
public struct PlacementPlanner: Sendable {
    /// Nothing moves for balance while the fullest and the emptiest node differ by less than this share of the mean.
    public static let hysteresis = 0.1
    /// The same for work, which changes with the hour.
    public static let workHysteresis = 0.3
    /// Threads that a node of weight 1 keeps busy. Where there is less to do on average, differences count relative to this and not to the mean: little
    /// work varies by much of itself, and is not worth a move. There is no work from which on it counts: moves for bytes and moves for work would undo
    /// each other around it.
    public static let leastWork = 0.6
    /// Share of a limit up to which a node is given replicas.
    static let fillLimit = 0.9

    let nodes: [NodeID: ClusterPicture.Node]
    let order: [NodeID]
    var shards: [ClusterPicture.Shard]
    /// By the shard's position: who holds it in the draft.
    var holders: [[NodeID]]
    var causes: [[NodeID: (PlannedMove.Cause, String)]]
    var bytes: [NodeID: Double] = [:]
    var work: [NodeID: Double] = [:]
    var memory: [NodeID: Double] = [:]
    var disk: [NodeID: Double] = [:]
    let zoneCount: Int

    public static func plan(_ picture: ClusterPicture) -> [PlannedMove] {
        var planner = PlacementPlanner(picture)
        planner.mend()
        planner.spreadZones()
        planner.obeyLimits()
        planner.balance()
        let moves = planner.moves()
        // Primaries are spread once replicas are where they belong.
        return moves.isEmpty ? planner.leads() : moves
    }

    init(_ picture: ClusterPicture) {
        nodes = Dictionary(picture.nodes.map { ($0.id, $0) }) { $1 }
        order = picture.nodes.map(\.id)
        shards = picture.shards
        holders = shards.map(\.place.replicas)
        causes = shards.map { _ in [:] }
        zoneCount = Set(picture.nodes.filter(\.mayTake).map(\.zone)).count
        for index in shards.indices { for node in holders[index] { count(index, on: node, 1) } }
    }

    private mutating func count(_ index: Int, on node: NodeID, _ sign: Double) {
        bytes[node, default: 0] += sign * Double(shards[index].bytes)
        work[node, default: 0] += sign * shards[index].workOfReplica
        memory[node, default: 0] += sign * Double(shards[index].memoryBytes)
        disk[node, default: 0] += sign * Double(shards[index].diskBytes)
    }

    mutating func add(_ index: Int, _ node: NodeID, _ cause: PlannedMove.Cause, _ reason: String) {
        holders[index].append(node)
        causes[index][node] = (cause, reason)
        count(index, on: node, 1)
    }

    mutating func remove(_ index: Int, _ node: NodeID, _ cause: PlannedMove.Cause, _ reason: String) {
        holders[index].removeAll { $0 == node }
        if causes[index][node] == nil || shards[index].place.replicas.contains(node) { causes[index][node] = (cause, reason) }
        count(index, on: node, -1)
    }

    mutating func move(_ index: Int, from: NodeID, to: NodeID, _ cause: PlannedMove.Cause, _ reason: String) {
        remove(index, from, cause, reason)
        add(index, to, cause, reason)
    }

    // MARK: Which node

    func zone(_ node: NodeID) -> String { nodes[node]?.zone ?? "" }

    func zones(_ holders: [NodeID]) -> Int { Set(holders.map(zone)).count }

    /// What the node holds of its share, as bytes of a node of weight 1.
    func fill(_ node: NodeID) -> Double { bytes[node, default: 0] / (nodes[node]?.weight ?? 1) }

    /// Whether a further replica of a shard fits on a node beside what it has.
    func fits(_ index: Int, on node: NodeID) -> Bool {
        guard let limits = nodes[node] else { return false }
        let (memory, disk) = (memory[node, default: 0] + Double(shards[index].memoryBytes), disk[node, default: 0] + Double(shards[index].diskBytes))
        if let limit = limits.memoryLimitBytes, memory > Double(limit) * Self.fillLimit { return false }
        if let limit = limits.diskLimitBytes, disk > Double(limit) * Self.fillLimit { return false }
        return true
    }

    /// The best node for a further replica beside `others`: in a zone that none of them is in if there is one, else the one that is least
    /// full of its share then.
    func best(_ index: Int, beside others: [NodeID]) -> NodeID? {
        let here = Set(others.map(zone))
        return order.filter { nodes[$0]?.mayTake == true && !holders[index].contains($0) && !others.contains($0) && fits(index, on: $0) }.min {
            rank(index, $0, here) < rank(index, $1, here)
        }
    }

    private func rank(_ index: Int, _ node: NodeID, _ zones: Set<String>) -> (Int, Double, NodeID) {
        let after = (bytes[node, default: 0] + Double(shards[index].bytes)) / (nodes[node]?.weight ?? 1)
        return (zones.contains(zone(node)) ? 1 : 0, after, node)
    }
}

// MARK: What must be

extension PlacementPlanner {
    /// Enough replicas and not too many, none on nodes that are lost or drained.
    mutating func mend() {
        for index in shards.indices where !shards[index].isBusy {
            removeSurplus(index)
            for node in holders[index] { mendReplica(index, on: node) }
            addMissing(index)
        }
    }

    private mutating func mendReplica(_ index: Int, on node: NodeID) {
        let known = nodes[node]
        let isLost = known?.isLost ?? false
        guard isLost || known?.isDrained == true else { return }
        guard let target = best(index, beside: holders[index].filter { $0 != node }) else { return }
        if isLost {
            move(index, from: node, to: target, .lost, "node \(node) has been gone for long")
        } else {
            move(index, from: node, to: target, .drain, "node \(node) is drained")
        }
    }

    private mutating func addMissing(_ index: Int) {
        while holders[index].count < shards[index].replicationFactor, let target = best(index, beside: holders[index]) {
            add(index, target, .replicas, "the collection wants \(shards[index].replicationFactor) replicas, and there are \(holders[index].count)")
        }
    }

    private mutating func removeSurplus(_ index: Int) {
        let place = shards[index].place
        while holders[index].count > max(1, shards[index].replicationFactor) {
            // The primary stays, unless its node is to be empty.
            let candidates = holders[index].filter { $0 != place.primary || isUnwanted($0) }
            // Rather one that is not in sync, or not wanted where it is; then one whose zone has another, then the fullest node's.
            let doomed = candidates.max { left, right in keepRank(index, left) < keepRank(index, right) }
            guard let doomed else { return }
            remove(index, doomed, .replicas, "the collection wants \(shards[index].replicationFactor) replicas, and there are \(holders[index].count)")
        }
    }

    private func isUnwanted(_ node: NodeID) -> Bool { nodes[node]?.isLost == true || nodes[node]?.isDrained == true }

    private func keepRank(_ index: Int, _ node: NodeID) -> (Int, Int, Int, Double, NodeID) {
        let others = holders[index].filter { $0 != node }
        return (
            isUnwanted(node) ? 1 : 0, shards[index].place.inSync.contains(node) ? 0 : 1,
            zones(others) == zones(holders[index]) ? 1 : 0, fill(node), node
        )
    }

    /// A shard's replicas in as many zones as there can be.
    mutating func spreadZones() {
        for index in shards.indices where !shards[index].isBusy {
            while zones(holders[index]) < min(holders[index].count, zoneCount), let (from, to) = zoneMove(index) {
                move(index, from: from, to: to, .zone, "two replicas are in zone \"\(zone(from))\", and none in \"\(zone(to))\"")
            }
        }
    }

    private func zoneMove(_ index: Int) -> (NodeID, NodeID)? {
        let crowded = holders[index].filter { node in holders[index].contains { $0 != node && zone($0) == zone(node) } }
        // The primary's replica stays if it can: its move interrupts writes for a moment.
        let sorted = crowded.sorted { ($0 == shards[index].place.primary ? 1 : 0, -fill($0), $0) < ($1 == shards[index].place.primary ? 1 : 0, -fill($1), $1) }
        for from in sorted {
            let others = holders[index].filter { $0 != from }
            if let to = best(index, beside: others), zones(others + [to]) > zones(holders[index]) { return (from, to) }
        }
        return nil
    }

    /// Nodes over their limits give their smallest replicas away, as long as others have room.
    mutating func obeyLimits() {
        for node in order {
            while isOverLimit(node), let (index, target) = relief(of: node) {
                move(index, from: node, to: target, .limit, "node \(node) holds more than its limit of memory or disk")
            }
        }
    }

    private func isOverLimit(_ node: NodeID) -> Bool {
        guard let limits = nodes[node] else { return false }
        return limits.memoryLimitBytes.map { memory[node, default: 0] > Double($0) } ?? false
            || limits.diskLimitBytes.map { disk[node, default: 0] > Double($0) } ?? false
    }

    private func relief(of node: NodeID) -> (Int, NodeID)? {
        let mine = shards.indices.filter { !shards[$0].isBusy && holders[$0].contains(node) }
        for index in mine.sorted(by: { (shards[$0].bytes, $0) < (shards[$1].bytes, $1) }) {
            let others = holders[index].filter { $0 != node }
            if let target = best(index, beside: others), zones(others + [target]) >= zones(holders[index]) { return (index, target) }
        }
        return nil
    }
}
