internal import Logging
internal import NeedletailAPI
internal import NeedletailBackup
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailGRPC
internal import NeedletailShard
internal import NeedletailTelemetry
internal import Synchronization

/// A node's replicas, kept in step with their fellows on other nodes.
final class ReplicatedNode: ShardOperations, ReplicationOperations {
    let local: LocalNode
    let world: ReplicationWorld
    private let drivers = Mutex<[ShardID: ReplicaDriver]>([:])
    /// Shards whose driver is being made or ended.
    private let busy = Mutex<Set<ShardID>>([])
    let copies: Copies
    /// Opens places for backups.
    let backups: BackupPlaces
    private let parts: PartFeeds
    private let merges: MergeFeeds

    init(_ local: LocalNode, world: ReplicationWorld, backups: BackupPlaces = BackupPlaces()) {
        self.local = local
        self.world = world
        self.backups = backups
        copies = Copies(rate: world.copyRate)
        parts = PartFeeds(world)
        merges = MergeFeeds(world)
    }

    /// Gives each replica that has fellows a driver, takes that of others away, and tells all how things are.
    func reconcile() async {
        let hosted = local.hosted
        for replica in hosted { await reconcile(replica) }
        let present = Set(hosted.map(\.shard))
        for shard in drivers.withLock({ Array($0.keys) }) where !present.contains(shard) { await end(shard) }
    }

    private func reconcile(_ replica: HostedReplica) async {
        // A part of a shard that is being split follows the whole, beside it; and what shards are merged into follows these.
        if replica.isUnborn { return }
        let shard = replica.shard
        guard busy.withLock({ $0.insert(shard).inserted }) else { return }
        defer { _ = busy.withLock { $0.remove(shard) } }
        let existing = drivers.withLock { $0[shard] }
        if let existing, existing.hosted.isSame(as: replica), !replica.assignment.isAlone { return existing.receivePlace() }
        if let existing {
            drivers.withLock { $0[shard] = nil }
            await existing.stop()
        }
        guard !replica.assignment.isAlone else { return }
        do {
            let driver = try await ReplicaDriver(replica, world: world)
            drivers.withLock { $0[shard] = driver }
            driver.start()
        } catch {
            world.logger.error("a replica cannot take part in replication: \(error)", metadata: ["shard": "\(shard)"])
        }
    }

    /// How things stand, whenever somebody asks.
    func report(to registry: MetricsRegistry) {
        registry.onCollect { [weak self] report in
            guard let self else { return }
            let drivers = drivers.withLock { $0 }
            for replica in local.hosted {
                let labels = [replica.assignment.collection.name, "\(replica.shard.number)"]
                let primary = drivers[replica.shard].flatMap { $0.state.withLock { $0.machine.primary.map { ($0.place.inSync.count, $0.lag) } } }
                let leads = replica.assignment.isAlone || primary != nil
                report.add(.replicaIsPrimary, labels, leads ? 1 : 0)
                guard leads else { continue }
                report.add(.inSyncSize, labels, primary?.0 ?? 1)
                report.add(.replicationLag, labels, primary?.1 ?? 0)
            }
        }
    }

    /// A replica was opened anew.
    func reconcile(_ shard: ShardID) async { if let replica = try? local.hosted(shard) { await reconcile(replica) } }

    private func end(_ shard: ShardID) async { await drivers.withLock { $0.removeValue(forKey: shard) }?.stop() }

    /// Until cancelled: lets time pass for the machines.
    func run() async {
        while !Task.isCancelled {
            for driver in drivers.withLock({ Array($0.values) }) { driver.tick() }
            copies.removeForgotten()
            try? await Task.sleep(for: .milliseconds(50))
        }
    }

    func close() async {
        let all = drivers.withLock { drivers in
            defer { drivers = [:] }
            return Array(drivers.values)
        }
        await parts.close()
        await merges.close()
        for driver in all { await driver.stop() }
        copies.close()
    }

    private func driver(_ shard: ShardID) throws(NeedletailError) -> ReplicaDriver {
        if let driver = drivers.withLock({ $0[shard] }) { return driver }
        _ = try local.hosted(shard)
        throw NeedletailError(.unavailable, "shard \(shard) takes no part in replication yet; try again")
    }

    // MARK: ReplicationOperations

    func fence(_ shard: ShardID, _ fence: Fence, deadline: Deadline?) async throws -> FenceAnswer { try await driver(shard).fence(fence) }

    func handOver(_ shard: ShardID, epoch: UInt64, deadline: Deadline?) async throws { try driver(shard).receive(.handOver(epoch: epoch)) }

    func split(_ order: SplitOrder, deadline: Deadline?) async throws -> SplitProgress {
        let parent = try local.hosted(order.parent)
        let mayLead = order.sealEpoch > 0 && leads(parent, before: order.sealEpoch)
        let end = mayLead ? try await parent.seal(before: order.sealEpoch) : parent.logEnd.last
        if order.isClosing, order.sealEpoch > 0 { try await parent.close(before: order.sealEpoch) }
        let isClosed = order.sealEpoch > 0 && parent.isClosed(before: order.sealEpoch)
        var children: [SplitProgress.Child] = []
        for child in order.children {
            children.append(await parts.progress(of: order.shard(child), child.range, from: order.parent, isLast: order.sealEpoch > 0))
        }
        guard mayLead else { return SplitProgress(end: end, isClosed: isClosed, children: children) }
        // Asked again: whoever gave its epoch up meanwhile did not lead to the end.
        return SplitProgress(end: end, isSealed: leads(parent, before: order.sealEpoch), isClosed: isClosed, children: children)
    }

    func merge(_ order: MergeOrder, deadline: Deadline?) async throws -> MergeProgress {
        let parents = try order.parents.map { try local.hosted($0.shard) }
        // Side by side: writes wait for both.
        async let first = seal(parents[0], order.parents[0].sealEpoch, isClosing: order.isClosing)
        async let second = seal(parents[1], order.parents[1].sealEpoch, isClosing: order.isClosing)
        let ends = [try await first, try await second]
        let merged = await merges.progress(of: order, isLast: order.parents.allSatisfy { $0.sealEpoch > 0 })
        let progress = parents.indices.map { index in
            // Asked again: whoever gave its epoch up meanwhile did not lead to the end.
            MergeProgress.Parent(
                end: ends[index].end, isSealed: ends[index].mayLead && leads(parents[index], before: order.parents[index].sealEpoch),
                isClosed: ends[index].isClosed, taken: merged.taken[index])
        }
        return MergeProgress(parents: progress, isReady: merged.isReady, waiting: merged.waiting)
    }

    private func seal(_ parent: HostedReplica, _ epoch: UInt64, isClosing: Bool) async throws -> (end: UInt64, mayLead: Bool, isClosed: Bool) {
        guard epoch > 0 else { return (parent.logEnd.last, false, false) }
        let mayLead = leads(parent, before: epoch)
        let end = mayLead ? try await parent.seal(before: epoch) : parent.logEnd.last
        if isClosing { try await parent.close(before: epoch) }
        return (end, mayLead, parent.isClosed(before: epoch))
    }

    /// Whether no other node appends in the epoch before this one, and this one has all that was.
    private func leads(_ parent: HostedReplica, before epoch: UInt64) -> Bool {
        let assignment = parent.assignment
        guard assignment.primary == world.node, assignment.epoch + 1 == epoch else { return false }
        return assignment.isAlone || drivers.withLock { $0[parent.shard] }?.leads(assignment.epoch) == true
    }

    func beginCopy(_ shard: ShardID, deadline: Deadline?) async throws -> CopyDescription { try await copies.begin(try local.hosted(shard)) }

    func readCopy(_ id: UInt64, _ name: String, from offset: UInt64, _ body: (CopyPiece) async throws -> Void) async throws {
        try await copies.read(id, name, from: offset, body)
    }

    func endCopy(_ id: UInt64) async throws { copies.end(id) }

    func digest(_ shard: ShardID, at mark: UInt64, _ scope: ReplicaDigest.Scope, deadline: Deadline?) async throws -> ReplicaDigest {
        try await local.hosted(shard).digest(at: mark, scope, deadline: deadline)
    }

    /// Serves a backup until its stream ends.
    func follow(_ requests: FollowRequests, _ replies: FollowReplies) async throws {
        let stream = PrimaryStream()
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await stream.run(replies) }
            group.addTask { try await self.read(requests, stream) }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func read(_ requests: FollowRequests, _ stream: PrimaryStream) async throws {
        var begun: (driver: ReplicaDriver, follow: Follow)?
        defer { begun.map { $0.driver.end($0.follow, stream) } }
        for try await request in requests {
            switch (request, begun) {
            case (.start(let shard, let follow), nil):
                let driver = try driver(shard)
                begun = (driver, follow)
                try driver.begin(follow, stream)
            case (.durable(let sequence), let begun?): begun.driver.receive(.acknowledged(begun.follow.stream, durable: sequence))
            default: throw NeedletailError(.invalidArgument, "a stream says once where it starts, and that first")
            }
        }
    }

    // MARK: ShardOperations

    func write(_ request: ShardWrite) async throws -> WriteReceipt { try await local.write(request) }
    func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse { try await local.search(request) }
    func searchEach(_ requests: [NodeSearchRequest]) async -> [Result<NodeSearchResponse, NeedletailError>] { await local.searchEach(requests) }
    func get(_ request: ShardGet) async throws -> ShardPoints { try await local.get(request) }
    func scroll(_ request: ShardScroll) async throws -> ScrollPage { try await local.scroll(request) }
    func count(_ shard: ShardID, within filter: PayloadFilter?, condition: ReadCondition, deadline: Deadline?) async throws -> ShardCount {
        try await local.count(shard, within: filter, condition: condition, deadline: deadline)
    }
    func sample(_ request: ShardSample) async throws -> [UInt8] { try await local.sample(request) }
    func train(_ request: CodecTrainingRequest) async throws -> [UInt8] { try await local.train(request) }
    func status() async throws -> NodeStatus { try await local.status() }

    func createReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        try await local.createReplica(assignment, deadline: deadline)
        await reconcile(try local.hosted(assignment.shard))
    }

    func updateReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        if isToBeFilled(assignment) {
            try await local.createReplica(assignment, isUnfilled: true, deadline: deadline)
        } else {
            guard try await prepare(assignment) else { throw NeedletailError(.unavailable, "shard \(assignment.shard) is loading; try again") }
            try await local.updateReplica(assignment, deadline: deadline)
        }
        await reconcile(try local.hosted(assignment.shard))
    }

    /// Called before a replica that is here gets an assignment. A part of a split shard no longer follows the whole once it has a place of its own, nor
    /// does what two were merged into.
    /// - Returns: false while it is loading: what it is to do before it takes the assignment is not known yet.
    func prepare(_ assignment: ReplicaAssignment) async throws -> Bool {
        let replica: HostedReplica
        do throws(NeedletailError) { replica = try local.hosted(assignment.shard) } catch { return error.code != .unavailable }
        let isInSync = assignment.members.contains { $0.node == world.node && $0.isInSync }
        if isInSync, replica.isUnfilled { try await replica.noteFilled() }
        guard assignment.epoch > 0, replica.isUnborn else { return true }
        await parts.end(assignment.shard)
        await merges.end(assignment.shard)
        // Who was in sync at the cut-over has all of the parents. Who lacks some of their records agrees with nobody's log, and is given a copy; who was
        // only beginning has to say so.
        if !replica.isMerged {
            guard !isInSync else {
                throw NeedletailError(.dataLoss, "shard \(assignment.shard) counts as in sync here and is not whole; report this")
            }
            try await local.dropReplica(assignment.shard, deadline: nil)
            try await local.createReplica(assignment, isUnfilled: true, deadline: nil)
        }
        // It has no lease on its first epoch yet.
        world.nudge()
        return true
    }

    /// A replica that is not in sync, and not here either, begins empty. One that counts as in sync does not: it would pass for a shard without
    /// points.
    func isToBeFilled(_ assignment: ReplicaAssignment) -> Bool {
        assignment.members.contains { $0.node == world.node && !$0.isInSync } && !local.currentStatus().contains { $0.shard == assignment.shard }
    }

    func dropReplica(_ shard: ShardID, deadline: Deadline?) async throws {
        await end(shard)
        await parts.end(shard)
        await merges.end(shard)
        try await local.dropReplica(shard, deadline: deadline)
    }
}
