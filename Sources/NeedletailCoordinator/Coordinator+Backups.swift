internal import NeedletailBackup
internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

/// Backups as clients ask for them. What is to be done is put among the metadata; `runBackups` goes on with it.
extension Coordinator {
    public func createBackup(_ order: BackupOrder, deadline: Deadline?) async throws -> BackupOperationInfo {
        if let leader = try leaderElsewhere() { return try await leader.createBackup(order, deadline: deadline) }
        _ = try entry(order.collection)
        let now = Self.milliseconds()
        let name = order.name.isEmpty ? BackupSet.name(for: order.collection, milliseconds: now) : order.name
        try Self.check(name: name)
        let (target, set) = try open(order.target)
        // So that what is wrong with the place is said at once.
        try await set.claim(cluster: clusterID)
        if try await set.storage.exists(BackupManifest.key(name)) { throw Self.taken(name, target) }
        let operation = BackupOperation(
            id: .random(in: 1...UInt64.max), kind: .backup, target: target, name: name, collection: order.collection, nowMilliseconds: now)
        return try await begin(operation) { other in
            if other.kind == .backup, other.target == target, other.name == name { throw Self.taken(name, target) }
        }
    }

    public func restoreBackup(_ order: RestoreOrder, deadline: Deadline?) async throws -> BackupOperationInfo {
        if let leader = try leaderElsewhere() { return try await leader.restoreBackup(order, deadline: deadline) }
        let (target, set) = try open(order.target)
        let manifest = try await set.manifest(order.name)
        var operation = BackupOperation(
            id: .random(in: 1...UInt64.max), kind: .restore, target: target, name: order.name,
            collection: order.collection.isEmpty ? manifest.collection.name : order.collection, nowMilliseconds: Self.milliseconds())
        operation.shardCount = UInt32(clamping: order.shardCount)
        operation.replicationFactor = UInt32(clamping: order.replicationFactor)
        let spec = try restoredSpec(operation, manifest)
        // As many as the backup's collection had may come later, when the cluster has grown.
        if order.replicationFactor != 0 { try Placement.check(replicas: spec.replicationFactor, on: state.withLock { $0.placeable.count }) }
        try checkIsFree(operation.collection)
        return try await begin(operation) { [operation] other in
            if other.kind == .restore, other.collection == operation.collection {
                throw NeedletailError(.alreadyExists, "collection \"\(operation.collection)\" is being restored already; choose another name")
            }
        }
    }

    public func deleteBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupOperationInfo {
        if let leader = try leaderElsewhere() { return try await leader.deleteBackup(name, in: target, deadline: deadline) }
        try Self.check(name: name)
        let (target, set) = try open(target)
        guard try await set.storage.exists(BackupManifest.key(name)) else {
            throw NeedletailError(.notFound, "there is no backup \"\(name)\" in \(target); `needletail backup list` shows those there are")
        }
        try await set.claim(cluster: clusterID)
        let operation = BackupOperation(
            id: .random(in: 1...UInt64.max), kind: .deletion, target: target, name: name, collection: "", nowMilliseconds: Self.milliseconds())
        return try await begin(operation) { _ in }
    }

    public func backups(in target: String, deadline: Deadline?) async throws -> [BackupInfo] {
        let set = try open(target).1
        let infos = try await inParallel(try await set.names()) { name in
            var info = BackupInfo(name: name)
            do {
                let manifest = try await set.manifest(name)
                info.collection = manifest.collection.name
                info.shards = manifest.shards.count
                info.createdMilliseconds = manifest.createdMilliseconds
                (info.bytes, info.newBytes) = (manifest.bytes, manifest.newBytes)
                info.software = manifest.software
                info.heldMicroseconds = manifest.shards.map(\.heldMicroseconds).max() ?? 0
            } catch let error as NeedletailError where [.dataLoss, .unimplemented, .notFound].contains(error.code) {
                info.problem = error.message
            }
            return info
        }
        return infos.sorted { ($0.createdMilliseconds, $0.name) < ($1.createdMilliseconds, $1.name) }
    }

    public func verifyBackup(_ name: String, in target: String, deadline: Deadline?) async throws -> BackupVerification {
        let found = try await open(target).1.verify(name)
        return BackupVerification(objects: found.objects, bytes: found.bytes, problems: found.problems)
    }

    public func backupOperations(deadline: Deadline?) async throws -> [BackupOperationInfo] {
        if let leader = try leaderElsewhere() { return try await leader.backupOperations(deadline: deadline) }
        let operations = state.withLock { Array($0.copy.backups.values.values) }
        return operations.sorted { ($0.createdMilliseconds, $0.id) < ($1.createdMilliseconds, $1.id) }.map(info)
    }

    public func cancelBackupOperation(_ id: UInt64, deadline: Deadline?) async throws -> BackupOperationInfo {
        if let leader = try leaderElsewhere() { return try await leader.cancelBackupOperation(id, deadline: deadline) }
        while true {
            guard let operation = state.withLock({ $0.copy.backups.values[Incarnation(id).description] }) else {
                throw NeedletailError(.notFound, "there is no operation \(Incarnation(id)); `needletail backup operations` shows those there are")
            }
            guard !operation.step.hasEnded else {
                throw NeedletailError(.failedPrecondition, "the operation has ended already (\(operation.step.name)); there is nothing to cancel")
            }
            guard operation.kind != .deletion else {
                throw NeedletailError(.failedPrecondition, "a deletion cannot be cancelled: the backup may be incomplete already")
            }
            if operation.isCancelled { return info(operation) }
            var next = operation
            next.isCancelled = true
            if try await store(next, replacing: operation) { return info(next) }
            try deadline?.check(before: "the operation was cancelled")
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    // MARK: Entries

    private func begin(_ operation: BackupOperation, _ check: (BackupOperation) throws -> Void) async throws -> BackupOperationInfo {
        for other in state.withLock({ Array($0.copy.backups.values.values) }) where !other.step.hasEnded {
            if operation.excludes(other) {
                throw NeedletailError(
                    .aborted, "operation \(other.key) is at work in \(other.target), beside which nothing is removed; try again when it has ended")
            }
            try check(other)
        }
        guard try await store(operation, replacing: nil) else { throw NeedletailError(.aborted, "the operation could not be begun; try again") }
        return info(operation)
    }

    /// Puts an operation in place of another, and changes collections with it, in one transaction. False when one of them is not as it was
    /// thought to be.
    func store(
        _ operation: BackupOperation, replacing old: BackupOperation?,
        _ collections: [(entry: CollectionEntry, old: CollectionEntry?)] = []
    ) async throws -> Bool {
        var operation = operation
        operation.changedMilliseconds = Self.milliseconds()
        let path = MetadataCopy.operationsPrefix + operation.key
        var comparisons = [MetadataComparison.absent(path)]
        if let old {
            guard let revision = state.withLock({ $0.copy.backups.values[old.key] == old ? $0.copy.backups.revision(old.key) : nil }) else { return false }
            comparisons = [.revision(path, revision)]
        }
        var changes = [MetadataOperation.put(path, operation.encoded)]
        for (entry, old) in collections {
            let (name, key) = (entry.spec.name, MetadataCopy.collectionsPrefix + entry.spec.name)
            if let old {
                guard let revision = state.withLock({ $0.collections[name] == old ? $0.copy.collections.revision(name) : nil }) else { return false }
                comparisons.append(.revision(key, revision))
            } else {
                comparisons.append(.absent(key))
            }
            changes.append(.put(key, entry.encoded))
        }
        let outcome = try await transactAsLeader(if: comparisons, changes)
        guard outcome.succeeded else { return false }
        state.withLock { state in
            state.copy.backups.change(operation.key, to: operation, revision: outcome.revision)
            for (entry, _) in collections { state.copy.collections.change(entry.spec.name, to: entry, revision: outcome.revision) }
        }
        for (entry, _) in collections { tellFailover(entry) }
        ended(TracedOperation(operation))
        return true
    }

    func info(_ operation: BackupOperation) -> BackupOperationInfo {
        let run = state.withLock { $0.backupRuns[operation.id] }
        var info = BackupOperationInfo(
            id: operation.id, kind: operation.kind, target: operation.target, name: operation.name, collection: operation.collection,
            step: operation.step.name, hasEnded: operation.step.hasEnded,
            problem: operation.problem.isEmpty && !operation.step.hasEnded ? run?.problem ?? "" : operation.problem, failure: operation.failure)
        let figures = operation.figures
        (info.progress, info.total) = (figures.progress, figures.total)
        if !operation.step.hasEnded, let progress = run?.progress, let total = run?.total { (info.progress, info.total) = (progress, total) }
        (info.bytes, info.newBytes, info.heldMicroseconds) = (figures.bytes, figures.newBytes, figures.heldMicroseconds)
        (info.createdMilliseconds, info.changedMilliseconds) = (operation.createdMilliseconds, operation.changedMilliseconds)
        return info
    }

    // MARK: Checks

    private func open(_ target: String) throws(NeedletailError) -> (String, BackupSet) {
        (try BackupTarget(target).text, try places.open(target))
    }

    private static func check(name: String) throws(NeedletailError) {
        guard CollectionSpec.isValid(name: name) else {
            throw NeedletailError(
                .invalidArgument,
                "a backup's name has 1 to \(Limits.nameBytes) letters, digits, '.', '_' or '-' and begins with a letter or digit; got \"\(name)\"")
        }
    }

    static func taken(_ name: String, _ target: String) -> NeedletailError {
        NeedletailError(.alreadyExists, "there is a backup \"\(name)\" in \(target) already, or about to be; choose another name")
    }

    func checkIsFree(_ collection: String) throws(NeedletailError) {
        if state.withLock({ $0.collections[collection] != nil }) {
            throw NeedletailError(.alreadyExists, "a collection \"\(collection)\" exists already; restore under another name, or delete it first")
        }
    }

    /// The definition of the collection that a restore makes.
    /// - Throws: `invalidArgument` for numbers or a name that cannot be.
    func restoredSpec(_ operation: BackupOperation, _ manifest: BackupManifest) throws(NeedletailError) -> CollectionSpec {
        var spec = manifest.collection
        spec.name = operation.collection
        spec.shardCount = operation.shardCount == 0 ? manifest.shards.count : Int(operation.shardCount)
        if operation.replicationFactor != 0 {
            spec.replicationFactor = Int(operation.replicationFactor)
            spec.minInSync = min(spec.minInSync, spec.replicationFactor)
        }
        try spec.validate()
        return spec
    }
}

/// How an operation is that is gone on with, beside what the metadata say.
struct BackupRun {
    var isRunning = false
    /// Not tried again before.
    var pausedUntil = ContinuousClock.now
    /// In a row.
    var failures = 0
    var problem = ""
    var progress: UInt64?
    var total: UInt64?
}
