internal import Logging
internal import NeedletailCore
internal import NeedletailShard

/// The coordinator belongs to another cluster than the worker: trying again cannot help.
struct WrongCluster: Error {
    let reason: NeedletailError
}

/// Tells the coordinator once a second, and at once when asked, that the worker is there and how its replicas are; sets aside
/// replicas of collections that no longer exist.
struct HeartbeatLoop: Sendable {
    let folder: NodeFolder
    let node: LocalNode
    let replication: ReplicatedNode
    let membership: any MembershipOperations
    let lease: HeldLease
    let nudges: Nudges
    let address: String
    let logger: Logger

    /// Runs until cancelled, or until the coordinator turns out to be another cluster's.
    func run() async throws(WrongCluster) {
        var isConnected = true
        var problems: [String] = []
        while !Task.isCancelled {
            do {
                try await beat(isDraining: false)
                if !isConnected { logger.info("coordinator reached again") }
                isConnected = true
            } catch let error as WrongCluster {
                throw error
            } catch {
                if isConnected, !Task.isCancelled {
                    let reason = (error as? NeedletailError)?.message ?? "\(error)"
                    logger.warning("the heartbeat failed, still trying: \(reason)")
                }
                isConnected = false
            }
            node.tick()
            let present = codecProblems()
            for problem in present where !problems.contains(problem) { logger.warning("\(problem)") }
            problems = present
            // Faster while something changes, so that a coordinator learns soon that a replica has been loaded. A lease wants four chances.
            let pause = lease.length.map { min($0 / 4, .seconds(1)) } ?? .seconds(1)
            await nudges.wait(atMost: node.isLoaded && isConnected ? pause : .milliseconds(200))
        }
    }

    /// What keeps codecs of replicas from going on.
    private func codecProblems() -> [String] {
        node.currentStatus().flatMap { replica in
            replica.codecs.sorted { $0.key < $1.key }.filter { !$0.value.problem.isEmpty }
                .map { "shard \(replica.shard), field number \($0.key): \($0.value.problem)" }
        }
    }

    func beat(isDraining: Bool) async throws {
        let replicas = node.currentStatus()
        let number = lease.send()
        let answer = try await exchange(
            Heartbeat(
                node: folder.nodeID, address: address, cluster: folder.clusterID, status: NodeStatus(replicas: replicas), isDraining: isDraining))
        if let granted = answer.lease { lease.granted(number, length: granted.length, epochs: granted.epochs) }
        for assignment in answer.assignments { try await take(assignment) }
        await replication.reconcile()
        for model in answer.models {
            do {
                try await node.take(model)
            } catch {
                // Graphs go on with the stored vectors; the coordinator offers it again.
                logger.warning("a codec's model was not taken: \(error)", metadata: ["collection": "\(model.incarnation)"])
            }
        }
        // Judged by what was reported: a replica made since then is in nobody's list yet.
        let wanted = Set(answer.assignments.map(\.shard))
        for replica in replicas where !wanted.contains(replica.shard) {
            let folder = try await node.setAside(replica.shard)
            logger.warning(
                "the cluster does not know this replica; it no longer serves. Remove its files if its collection was deleted",
                metadata: ["shard": "\(replica.shard)", "files": "\(folder)"])
        }
    }

    /// A replica that is not here is made if it is to be filled by its primary; one that ought to have every write is not: it would pass
    /// for a shard without points.
    private func take(_ assignment: ReplicaAssignment) async throws {
        let isAwaited = assignment.members.contains { $0.node.value == folder.nodeID && !$0.isInSync }
        if isAwaited, !node.currentStatus().contains(where: { $0.shard == assignment.shard }) {
            try await node.createReplica(assignment, deadline: nil)
        } else {
            try await node.update(assignment)
        }
    }

    private func exchange(_ heartbeat: Heartbeat) async throws -> HeartbeatAnswer {
        do {
            let answer = try await membership.heartbeat(heartbeat)
            try folder.join(answer.cluster)
            return answer
        } catch let error as NeedletailError where error.code == .failedPrecondition {
            throw WrongCluster(reason: error)
        }
    }
}
