internal import NeedletailCore
internal import NeedletailSecurity

/// A cluster as the caller of the request at hand may use it: asks for rights on the collections that requests name, keeps callers to their limits
/// and their filters, and leaves out of answers what tells of other callers' points.
struct AuthorizedCluster: ClusterOperations {
    let cluster: any ClusterOperations
    let authenticator: Authenticator

    /// The caller, who may do on this collection what it asks for.
    private func caller(on collection: String) throws(NeedletailError) -> Caller {
        let caller = try Caller.known()
        try caller.check(onCollection: collection)
        return caller
    }

    /// A stream may last for hours, and its caller's key be revoked or expire meanwhile.
    private func checkAgain(_ caller: Caller) async throws { _ = try await authenticator.authenticate(caller.authorization) }

    // MARK: Collections

    func createCollection(_ spec: CollectionSpec, deadline: Deadline?) async throws -> CollectionInfo {
        try Caller.known().note(spec.name)
        return try await cluster.createCollection(spec, deadline: deadline)
    }

    func collection(_ name: String, deadline: Deadline?) async throws -> CollectionInfo {
        let caller = try caller(on: name)
        return Self.visible(try await cluster.collection(name, deadline: deadline), to: caller)
    }

    func collections(deadline: Deadline?) async throws -> [CollectionInfo] {
        let caller = try Caller.known()
        return try await cluster.collections(deadline: deadline).filter { caller.principal.info.has(.read, onCollection: $0.spec.name) }
            .map { Self.visible($0, to: caller) }
    }

    func updateCollection(_ name: String, changes: CollectionChanges, deadline: Deadline?) async throws -> CollectionInfo {
        _ = try caller(on: name)
        return try await cluster.updateCollection(name, changes: changes, deadline: deadline)
    }

    func deleteCollection(_ name: String, ignoreMissing: Bool, deadline: Deadline?) async throws -> Bool {
        _ = try caller(on: name)
        return try await cluster.deleteCollection(name, ignoreMissing: ignoreMissing, deadline: deadline)
    }

    func train(_ request: CollectionTraining) async throws -> CollectionInfo {
        _ = try caller(on: request.collection)
        return try await cluster.train(request)
    }

    /// How far codecs are says how many points there are.
    private static func visible(_ info: CollectionInfo, to caller: Caller) -> CollectionInfo {
        var info = info
        if caller.filter != nil { info.codecs = info.codecs.map { _ in CodecProgress() } }
        return info
    }

    // MARK: Points

    func write(_ request: PointsWrite) async throws -> WriteSummary {
        let caller = try caller(on: request.collection)
        try caller.check(batch: request.operations.count)
        if !caller.beginsMessage() {
            try await checkAgain(caller)
            try await authenticator.admitWaiting(caller.principal, deadline: request.deadline)
            if caller.limits.requestBytes != nil { try caller.check(bytes: request.operations.reduce(0) { $0 + $1.contentBytes }) }
        }
        var request = request
        request.filter = caller.filter
        // Names of writes are each caller's own: nobody's write counts as done because somebody else's had the same.
        request.operation = request.operation.map(caller.principal.own)
        return try await cluster.write(request)
    }

    func get(_ request: PointsGet) async throws -> PointsAnswer {
        let caller = try caller(on: request.collection)
        try caller.check(batch: request.ids.count)
        var request = request
        request.filter = caller.filter
        return try await cluster.get(request)
    }

    func scroll(_ request: PointsScroll) async throws -> NamedScrollPage {
        let caller = try caller(on: request.collection)
        if !caller.beginsMessage() { try await checkAgain(caller) }
        var request = request
        request.filter = caller.filter
        // Pages of a stream are nobody's business but the network's; smaller ones do as well.
        if let most = caller.limits.limit { request.limit = min(request.limit, most) }
        return try await cluster.scroll(request)
    }

    func count(_ collection: String, within filter: PayloadFilter?, read: ReadOptions, deadline: Deadline?) async throws -> CountAnswer {
        let caller = try caller(on: collection)
        return try await cluster.count(collection, within: caller.filter, read: read, deadline: deadline)
    }

    func search(_ request: PointsSearch) async throws -> SearchAnswer {
        let caller = try caller(on: request.collection)
        try caller.check(batch: request.queries.count)
        var request = request
        request.filter = caller.filter
        for index in request.queries.indices { request.queries[index] = try caller.bounded(request.queries[index]) }
        var answer = try await cluster.search(request)
        // What a search cost tells how many points it went past.
        if caller.filter != nil { answer.work = SearchWork() }
        return answer
    }

    // MARK: The cluster; the gate has asked for rights on it

    func clusterStatus(deadline: Deadline?) async throws -> ClusterStatus { try await cluster.clusterStatus(deadline: deadline) }
    func nodes(deadline: Deadline?) async throws -> [NodeInfo] { try await cluster.nodes(deadline: deadline) }
    func shards(of collection: String?, deadline: Deadline?) async throws -> [ShardInfo] {
        try await cluster.shards(of: collection, deadline: deadline)
    }

    func plan(deadline: Deadline?) async throws -> MovePlan { try await cluster.plan(deadline: deadline) }
    func move(_ order: MoveOrder, deadline: Deadline?) async throws -> OperationInfo {
        try Caller.known().note(order.collection)
        return try await cluster.move(order, deadline: deadline)
    }
    func split(_ order: ShardSplitOrder, deadline: Deadline?) async throws -> OperationInfo {
        try Caller.known().note(order.collection)
        return try await cluster.split(order, deadline: deadline)
    }
    func merge(_ order: ShardMergeOrder, deadline: Deadline?) async throws -> OperationInfo {
        try Caller.known().note(order.collection)
        return try await cluster.merge(order, deadline: deadline)
    }
    func cancelMove(_ id: UInt64, deadline: Deadline?) async throws -> OperationInfo { try await cluster.cancelMove(id, deadline: deadline) }
    func drain(_ node: UInt64, isDrained: Bool, deadline: Deadline?) async throws -> NodeInfo {
        try await cluster.drain(node, isDrained: isDrained, deadline: deadline)
    }
    func forget(_ node: UInt64, deadline: Deadline?) async throws -> NodeInfo { try await cluster.forget(node, deadline: deadline) }
    func pauseMoves(_ isPaused: Bool, deadline: Deadline?) async throws -> OperationList { try await cluster.pauseMoves(isPaused, deadline: deadline) }
    func operations(deadline: Deadline?) async throws -> OperationList { try await cluster.operations(deadline: deadline) }
    func events(after number: UInt64, deadline: Deadline?) async throws -> [EventInfo] { try await cluster.events(after: number, deadline: deadline) }

    // MARK: Backups

    func createBackup(_ order: BackupOrder, deadline: Deadline?) async throws -> BackupOperationInfo {
        try Caller.known().note(order.collection)
        return try await cluster.createBackup(order, deadline: deadline)
    }
    func restoreBackup(_ order: RestoreOrder, deadline: Deadline?) async throws -> BackupOperationInfo {
        try Caller.known().note(order.collection)
        return try await cluster.restoreBackup(order, deadline: deadline)
    }
    func deleteBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupOperationInfo {
        try await cluster.deleteBackup(name, in: target, deadline: deadline)
    }
    func backups(in target: String, deadline: Deadline?) async throws -> [BackupInfo] { try await cluster.backups(in: target, deadline: deadline) }
    func verifyBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupVerification {
        try await cluster.verifyBackup(name, in: target, deadline: deadline)
    }
    func backupOperations(deadline: Deadline?) async throws -> [BackupOperationInfo] { try await cluster.backupOperations(deadline: deadline) }
    func cancelBackupOperation(_ id: UInt64, deadline: Deadline?) async throws -> BackupOperationInfo {
        try await cluster.cancelBackupOperation(id, deadline: deadline)
    }

    // MARK: Keys

    func createKey(_ order: CallerInfo, deadline: Deadline?) async throws -> (key: String, info: AccessKeyInfo) {
        try await cluster.createKey(order, deadline: deadline)
    }
    func keys(deadline: Deadline?) async throws -> [AccessKeyInfo] { try await cluster.keys(deadline: deadline) }
    func revokeKey(_ id: String, deadline: Deadline?) async throws { try await cluster.revokeKey(id, deadline: deadline) }
    func whoAmI(deadline: Deadline?) async throws -> CallerInfo { try await cluster.whoAmI(deadline: deadline) }
}

extension NamedOperation {
    /// About what it brings along.
    fileprivate var contentBytes: Int {
        switch self {
        case .upsert(_, let vectors, let payload): vectors.reduce(payload.count) { $0 + $1.vector.bytes.count }
        case .setPayload(_, let payload), .overwritePayload(_, let payload): PayloadCoding.encode(payload).count
        case .delete, .deletePayloadKeys: 0
        }
    }
}
