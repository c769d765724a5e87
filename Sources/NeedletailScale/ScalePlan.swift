public import NeedletailCore

/// The smallest cluster that carries a workload, and what is expected of it.
public struct ScalePlan: Sendable, Equatable {
    public var nodes: Int
    public var shards: Int
    public var coordinators: Int
    /// What made the number of nodes what it is.
    public var limitedBy: Limit
    /// Of one node at the planned rates.
    public var memoryBytes: Double
    public var diskBytes: Double
    public var coreUse: Double
    public var networkBitsPerSecond: Double
    public var vectorsPerShard: Double
    /// Microseconds of processor time for one search: in coordinators, and in all workers together.
    public var coordinatorMicroseconds: Double
    public var workerMicroseconds: Double
    /// Expected, in milliseconds.
    public var median: Double
    public var tail: Double
    /// The wait for the disk of a write, beside the way there, in milliseconds.
    public var writeTail: Double
    public var warnings: [String]

    public enum Limit: String, Sendable {
        case memory, disk, processors, network, latency, replicas
    }

    /// The largest cluster that is looked at.
    public static let nodeLimit = 20_000

    /// - Throws: `invalidArgument` for a workload that makes no sense; `failedPrecondition` when no cluster can do it, with the reason.
    public static func smallest(for workload: Workload, on profile: MachineProfile) throws(NeedletailError) -> ScalePlan {
        try workload.validate()
        try profile.validate()
        let bytes = workload.vectors * Double(workload.replicas)
        let payload = workload.points * Double(workload.replicas) * workload.payloadBytes
        let byMemory = ((bytes * profile.memoryBytes) / (workload.memoryBytes * workload.memoryShare)).rounded(.up)
        let byDisk = ((bytes * profile.diskBytes + 2 * payload) / (workload.diskBytes * workload.diskShare)).rounded(.up)
        var (least, limit) = (Double(workload.replicas), Limit.replicas)
        if byMemory > least { (least, limit) = (byMemory, .memory) }
        if byDisk > least { (least, limit) = (byDisk, .disk) }
        guard least <= Double(nodeLimit) else {
            throw NeedletailError(
                .failedPrecondition,
                "it takes \(Int(least)) nodes for \(limit == .disk ? "the disk" : "the memory") alone, and \(nodeLimit) are the most; take larger nodes, "
                    + "fewer replicas, or a smaller codec")
        }
        var nodes = Int(least)
        var nearest: ScalePlan?
        while nodes <= nodeLimit {
            // More shards a node walk side by side, but each walk costs: the fewest that are quick enough are best.
            for perNode in shardsPerNode(workload) {
                let plan = expected(workload, profile, nodes: nodes, shardsPerNode: perNode, limit)
                guard let plan else { continue }
                if plan.tail <= workload.milliseconds, plan.coreUse <= workload.coreShare, plan.networkBitsPerSecond <= workload.networkBitsPerSecond / 2 {
                    return plan
                }
                if plan.tail < nearest?.tail ?? .infinity { nearest = plan }
                limit =
                    plan.coreUse > workload.coreShare ? .processors : plan.networkBitsPerSecond > workload.networkBitsPerSecond / 2 ? .network : .latency
            }
            nodes += max(1, nodes / 20)
        }
        if limit == .processors, workload.replicas < 16 {
            throw NeedletailError(
                .failedPrecondition,
                "with \(workload.replicas) of each shard more nodes do not help: a search asks one of each, and \(Int(workload.searches)) searches a second "
                    + "keep them too busy; take more replicas, or nodes with more cores")
        }
        throw NeedletailError(
            .failedPrecondition,
            "no cluster of up to \(nodeLimit) such nodes answers \(workload.percentile)% within \(workload.milliseconds) ms"
                + (nearest.map { "; the best, \($0.nodes) nodes, would take \(Int($0.tail.rounded(.up))) ms" } ?? "")
                + "; allow more time or less recall, or take nodes with more cores")
    }

    private static func shardsPerNode(_ workload: Workload) -> [Int] {
        // Replicas of a shard are on as many nodes, so each node hosts `replicas` times as many.
        var counts = [1]
        while let last = counts.last, last * 2 <= workload.cores { counts.append(last * 2) }
        return counts
    }

    /// What so many nodes would do; nil when that many shards cannot be.
    ///
    /// - Parameter shardsPerNode: that one search asks of a node.
    public static func expected(
        _ workload: Workload, _ profile: MachineProfile, nodes: Int, shardsPerNode: Int, _ limit: Limit = .replicas
    ) -> ScalePlan? {
        let asked = max(1, nodes / workload.replicas)
        let shards = asked * shardsPerNode
        let size = max(1, workload.vectors / Double(shards))
        let walk = profile.walk.cost.microseconds(size: size)
        let rpc = profile.rpc
        // A message has a turn of its own on a core that was idle, and each search its calls, unless loops are nearly full: they are not planned to be.
        func wake(_ searches: Double) -> Double { rpc.wake + rpc.deepWake * ClusterSimulation.depth(after: 1e6 / max(1, searches)) }
        let workerWake = wake(workload.searches / Double(workload.replicas))
        let message = rpc.turn + wake(workload.searches)
        // A short walk is done where its request arrived; others by threads that wake for it, and wake the loop with what they found.
        let usesThreads = shardsPerNode > 1 || walk >= ClusterSimulation.shortTime
        let request =
            rpc.worker + rpc.workerCall + (rpc.turn + workerWake) * (usesThreads ? 2 : 1) + (usesThreads ? Double(shardsPerNode) * workerWake : 0)
        let workers = Double(asked) * (request + Double(shardsPerNode) * (rpc.workerShard + walk))
        let gather = rpc.coordinator + 2 * message + Double(asked) * (rpc.coordinatorNode + rpc.coordinatorCall)
        // Answers come over as long a time as walks differ by, and those that come in one turn share it.
        let spread = walk * (profile.walk.spread.value(at: 0.99) - profile.walk.spread.value(at: 0.01))
        let coordinator = gather + message * (message > 0 ? min(Double(asked) - 1, spread / message) : 0)
        let inserts = workload.writes * workload.vectorsPerPoint * Double(workload.replicas) * profile.insert.microseconds(size: size)
        let coreUse = (workload.searches * workers + inserts) / Double(nodes) / Double(workload.cores) / 1e6
        // Each has one event loop, whatever cores there are.
        let coordinators = max(2, Int((workload.searches * coordinator / 1e6 / workload.coreShare).rounded(.up)))
        let scale = walk / 1000
        let walks = Quantiles(of: (0...200).map { profile.walk.spread.value(at: Double($0) / 200) * scale })
        // Into the coordinator, into the worker, to a thread and from it, back to the coordinator.
        let hops = usesThreads ? 5.0 : 3
        // Searching threads take turns with everything else that the node's cores do.
        let inParallel = min(shardsPerNode, workload.cores)
        let constant =
            (gather + request + Double(shardsPerNode) * rpc.workerShard + hops * rpc.stir - 3 * rpc.rest) / 1000 + 2 * workload.roundTripMilliseconds
            + scale * (Double(shardsPerNode) / Double(inParallel) - 1)
        let tail = FanOutTail(walk: walks, cores: workload.cores, utilisation: coreUse, constant: constant)
        let vectorBytes = Double(4 * profile.dimensions) * workload.vectorsPerPoint + workload.payloadBytes
        let answers = Double(asked) * (Double(4 * profile.dimensions) + 40 * Double(profile.limit) + 400)
        let network = 8 * (workload.searches * answers + workload.writes * vectorBytes * Double(workload.replicas + 1)) / Double(nodes)
        let replicaVectors = workload.vectors * Double(workload.replicas) / Double(nodes)
        var warnings: [String] = []
        if size > 4 * profile.walk.cost.to {
            warnings.append(
                "walks were measured up to \(Int(profile.walk.cost.to)) vectors, and shards have \(Int(size)): times and recall there are extrapolated")
        }
        if profile.recall < 0.9 { warnings.append("the profile's searches have a recall of \(profile.recall) only") }
        return ScalePlan(
            nodes: nodes, shards: shards, coordinators: coordinators, limitedBy: limit, memoryBytes: replicaVectors * profile.memoryBytes,
            diskBytes: replicaVectors * profile.diskBytes + 2 * workload.points * Double(workload.replicas) * workload.payloadBytes / Double(nodes),
            coreUse: coreUse, networkBitsPerSecond: network, vectorsPerShard: size, coordinatorMicroseconds: coordinator,
            workerMicroseconds: workers, median: tail.value(at: 50, shards: Double(shards)),
            tail: tail.value(at: workload.percentile, shards: Double(shards)), writeTail: profile.sync.value(at: workload.percentile / 100),
            warnings: warnings)
    }
}

extension MachineProfile {
    /// - Throws: `invalidArgument` for a file that `calibrate` has not written.
    public func validate() throws(NeedletailError) {
        guard format == Self.format else { throw Self.otherFormat(format) }
        let costs = [
            walk.cost.least, insert.least, rpc.coordinator, rpc.coordinatorNode, rpc.coordinatorCall, rpc.worker, rpc.workerShard, rpc.workerCall,
            rpc.client, rpc.turn, rpc.rest, rpc.wake, rpc.deepWake, rpc.stir, memoryBytes, diskBytes,
        ]
        guard costs.allSatisfy({ $0.isFinite && $0 >= 0 }), rpc.rest <= rpc.turn, walk.spread.isSound, sync.isSound, dimensions > 0, limit > 0 else {
            throw NeedletailError(.invalidArgument, "the profile is damaged; calibrate again")
        }
    }
}
