internal import Logging
internal import NeedletailCore
internal import NeedletailShard

/// The coordinator belongs to another cluster than the worker: trying again cannot help.
struct WrongCluster: Error {
    let reason: NeedletailError
}

/// Tells every coordinator once a second that the worker is there and how its replicas are. Does what the one that leads says: takes
/// assignments and models, sets aside replicas of collections that no longer exist.
struct HeartbeatLoop: Sendable {
    let folder: NodeFolder
    let node: LocalNode
    let replication: ReplicatedNode
    let coordinators: KnownCoordinators
    let lease: HeldLease
    let nudges: Nudges
    let address: String
    /// As they are now.
    let facts: @Sendable () -> NodeFacts
    let logger: Logger
    /// Done beside the heartbeats and not between them: making and opening replicas waits for disks, and a lease waits for nobody.
    private let orders = LatestOnly<Order>()

    init(
        folder: NodeFolder, node: LocalNode, replication: ReplicatedNode, coordinators: KnownCoordinators, lease: HeldLease, nudges: Nudges,
        address: String, facts: @escaping @Sendable () -> NodeFacts, logger: Logger
    ) {
        self.folder = folder
        self.node = node
        self.replication = replication
        self.coordinators = coordinators
        self.lease = lease
        self.nudges = nudges
        self.address = address
        self.facts = facts
        self.logger = logger
    }

    /// What the leader said of the replicas that it was told of.
    private struct Order: Sendable {
        var answer: HeartbeatAnswer
        var reported: [ReplicaStatus]
    }

    /// Runs until cancelled, or until a coordinator named at the start turns out to be another cluster's.
    func run() async throws(WrongCluster) {
        let mismatch = await withTaskGroup(of: Step.self) { group in
            group.addTask { await .found(coordinators.arrivals.first { _ in true }) }
            group.addTask {
                await tend()
                return .ended
            }
            group.addTask {
                await obey()
                return .ended
            }
            for await step in group {
                switch step {
                case .found(let coordinator?):
                    group.addTask { await talk(to: coordinator) }
                    group.addTask { await .found(coordinators.arrivals.first { _ in true }) }
                case .mismatch(let mismatch):
                    group.cancelAll()
                    return mismatch as WrongCluster?
                case .found(nil), .ended: break
                }
            }
            return nil
        }
        if let mismatch { throw mismatch }
    }

    private enum Step {
        /// nil: none will be found any more.
        case found(KnownCoordinator?)
        case mismatch(WrongCluster)
        case ended
    }

    /// As long as it is one of those that count.
    private func talk(to coordinator: KnownCoordinator) async -> Step {
        var isConnected = true
        while !Task.isCancelled, coordinators.isKnown(coordinator.address) {
            let ticket = nudges.ticket
            do {
                try await beat(to: coordinator, isDraining: false)
                if !isConnected { logger.info("coordinator \(coordinator.address) reached again") }
                isConnected = true
            } catch let error as WrongCluster where coordinator.isConfigured {
                return .mismatch(error)
            } catch {
                if isConnected, !Task.isCancelled {
                    let reason = ((error as? WrongCluster)?.reason ?? error as? NeedletailError)?.message ?? "\(error)"
                    logger.warning("the heartbeat to \(coordinator.address) failed, still trying: \(reason)")
                }
                isConnected = false
            }
            // Faster while something changes, so that a coordinator learns soon that a replica has been loaded; a lease wants four chances.
            let pause = min(lease.length / 4, .seconds(1))
            await nudges.wait(after: ticket, atMost: node.isLoaded && isConnected ? pause : .milliseconds(200))
        }
        if !Task.isCancelled { await coordinator.close() }
        return .ended
    }

    /// What is to be done every second whether or not a coordinator is there.
    private func tend() async {
        var problems: [String] = []
        while !Task.isCancelled {
            node.tick()
            let present = codecProblems()
            for problem in present where !problems.contains(problem) { logger.warning("\(problem)") }
            problems = present
            try? await Task.sleep(for: .seconds(1))
        }
    }

    /// What keeps codecs of replicas from going on.
    private func codecProblems() -> [String] {
        node.currentStatus().flatMap { replica in
            replica.codecs.sorted { $0.key < $1.key }.filter { !$0.value.problem.isEmpty }
                .map { "shard \(replica.shard), field number \($0.key): \($0.value.problem)" }
        }
    }

    /// One heartbeat to each coordinator, side by side. Those that do not answer learn later.
    /// - Throws: `WrongCluster` when one named at the start is another cluster's.
    func beat(isDraining: Bool) async throws(WrongCluster) {
        let mismatch = await withTaskGroup(of: WrongCluster?.self) { group in
            for coordinator in coordinators.all {
                group.addTask {
                    do { try await beat(to: coordinator, isDraining: isDraining) } catch { return coordinator.isConfigured ? error as? WrongCluster : nil }
                    return nil
                }
            }
            return await group.reduce(nil) { $0 ?? $1 }
        }
        if let mismatch { throw mismatch }
    }

    private func beat(to coordinator: KnownCoordinator, isDraining: Bool) async throws {
        let replicas = node.currentStatus()
        let heartbeat = Heartbeat(
            node: folder.nodeID, address: address, cluster: folder.clusterID, status: NodeStatus(replicas: replicas), isDraining: isDraining,
            facts: facts())
        let number = lease.send()
        let answer = try await exchange(heartbeat, with: coordinator)
        coordinators.answered(coordinator)
        coordinators.learn(answer.coordinators, isComplete: answer.leadership != nil)
        guard let leadership = answer.leadership, lease.take(leadership, of: number) else { return }
        coordinators.setLeader(coordinator)
        orders.put(Order(answer: answer, reported: replicas))
    }

    /// Does what the leader says. What fails is said again with the next answer.
    private func obey() async {
        var problem: String?
        while let order = await orders.next() {
            do {
                try await follow(order.answer, reported: order.reported)
                problem = nil
            } catch {
                let reason = (error as? NeedletailError)?.message ?? "\(error)"
                if problem != reason, !Task.isCancelled { logger.warning("what the leader said could not be done, still trying: \(reason)") }
                problem = reason
            }
        }
    }

    private func follow(_ answer: HeartbeatAnswer, reported replicas: [ReplicaStatus]) async throws {
        // First of all: what takes long comes after it, and by then a replica may have been moved back here.
        for shard in answer.dropped where replicas.contains(where: { $0.shard == shard }) { try await replication.dropReplica(shard, deadline: nil) }
        // What cannot be done for one shard says nothing about the others.
        var problem: (any Error)?
        for assignment in answer.assignments {
            do { try await take(assignment) } catch { problem = problem ?? error }
        }
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
        let wanted = Set(answer.assignments.map(\.shard) + answer.dropped + answer.kept)
        for replica in replicas where !wanted.contains(replica.shard) {
            let folder = try await node.setAside(replica.shard)
            logger.warning(
                "the cluster does not know this replica; it no longer serves. Remove its files if its collection was deleted",
                metadata: ["shard": "\(replica.shard)", "files": "\(folder)"])
        }
        if let problem { throw problem }
    }

    private func take(_ assignment: ReplicaAssignment) async throws {
        if let aside = try await node.setAsideDamaged(assignment, on: NodeID(folder.nodeID)) {
            logger.warning(
                "a replica's files are damaged; others are in sync, and it is filled anew. Look at the disk, and remove the damaged files",
                metadata: ["shard": "\(assignment.shard)", "files": "\(aside)"])
        }
        if replication.isToBeFilled(assignment) {
            try await node.createReplica(assignment, isUnfilled: true, deadline: nil)
        } else {
            guard try await replication.prepare(assignment) else { return }
            try await node.update(assignment)
        }
    }

    private func exchange(_ heartbeat: Heartbeat, with coordinator: KnownCoordinator) async throws -> HeartbeatAnswer {
        do {
            let answer = try await coordinator.membership.heartbeat(heartbeat)
            try folder.join(answer.cluster)
            return answer
        } catch let error as NeedletailError where error.code == .failedPrecondition {
            throw WrongCluster(reason: error)
        }
    }
}
