public import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

/// The replicas of one shard worker: finds them on disk, loads them, and answers `ShardOperations` for them.
public final class LocalNode: ShardOperations {
    /// Where a replica is in its life here.
    enum Hosted {
        /// Its files are being read; a failed attempt stays as `failed` until the process starts again or the replica is dropped.
        case loading(ReplicaAssignment)
        case ready(Replica)
        case failed(ReplicaAssignment, NeedletailError)
    }

    public let directory: String
    public let resources: NodeResources
    let replicas = Mutex<[ShardID: Hosted]>([:])
    private let loaded = ChangeSignal()
    /// Shards whose replica is being made, closed or removed. Two at work on one folder would open its files twice.
    private let busy = Mutex<Set<ShardID>>([])
    private let freed = ChangeSignal()
    private let isSyncing = Atomic<Bool>(false)
    /// A replica has been loaded, or could not be.
    private let settled = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
    private let notes = Mutex<[String]>([])

    public init(directory: String, resources: NodeResources) {
        self.directory = directory
        self.resources = resources
    }

    private var replicasDirectory: String { directory + "/replicas" }
    static func folderName(_ shard: ShardID) -> String { "\(shard.incarnation)-\(shard.number)" }
    func path(_ shard: ShardID) -> String { replicasDirectory + "/" + Self.folderName(shard) }

    /// Begins to load every replica found on disk and returns at once; they answer `unavailable` until they are ready.
    /// - Throws: what the disk says about the folder.
    public func start() throws {
        let disk = resources.disk
        try disk.createDirectory(replicasDirectory)
        // Copies that were whole when a crash came between them and their place.
        for name in try disk.list(replicasDirectory) where name.hasSuffix(Self.readySuffix) {
            try Self.replace(replicasDirectory + "/" + name.dropLast(Self.readySuffix.count), with: replicasDirectory + "/" + name, disk)
        }
        for name in try disk.list(damagedDirectory) where name.hasSuffix(Disk.doomedSuffix) { try disk.removeTree(damagedDirectory + "/" + name) }
        for name in try disk.list(replicasDirectory) {
            let folder = replicasDirectory + "/" + name
            if name.hasSuffix(Disk.doomedSuffix) || name.hasSuffix(Self.incomingSuffix) {
                try disk.removeTree(folder)
                continue
            }
            do {
                try take(folder)
            } catch {
                // One bad folder must not keep the others from serving. Nothing in it is touched.
                notes.withLock { $0.append("\(folder) cannot be served and is left as it is: \(error)") }
            }
        }
    }

    /// What a replica's folder has before it has an assignment.
    private static let firstFiles = ["assignment", Replica.unfilledName, Replica.promiseName]

    private func take(_ folder: String) throws {
        let disk = resources.disk
        // It was being put together of its parents, who are here.
        if disk.exists(folder + "/" + StoredMerge.fileName) { return try disk.removeDirectory(folder) }
        if let bytes = try disk.readChecked(folder + "/assignment") {
            let assignment = try ReplicaAssignment(encoded: bytes)
            guard folder == path(assignment.shard) else {
                throw NeedletailError(.dataLoss, "its assignment is that of shard \(assignment.shard); put it back under its own name")
            }
            replicas.withLock { $0[assignment.shard] = .loading(assignment) }
            return load(assignment)
        }
        guard try disk.list(folder).allSatisfy({ name in Self.firstFiles.contains { name.hasPrefix($0) } }) else {
            throw NeedletailError(.dataLoss, "its file \"assignment\" is missing; put it back from a copy")
        }
        // Made by a creation that a crash cut short: a log comes only after the assignment.
        try disk.removeDirectory(folder)
    }

    func load(_ assignment: ReplicaAssignment) {
        let directory = path(assignment.shard)
        do {
            try resources.maintenancePool.submit { [self] scratch in
                let outcome: Hosted
                do {
                    outcome = .ready(try Replica.open(assignment, directory: directory, resources: resources, scratch: &scratch))
                } catch {
                    outcome = .failed(assignment, Self.wrap(error))
                }
                settle(assignment.shard, outcome)
            }
        } catch {
            settle(assignment.shard, .failed(assignment, error))
        }
    }

    private func settle(_ shard: ShardID, _ outcome: Hosted) {
        // A replica dropped while it loaded is not taken back.
        replicas.withLock { if $0[shard] != nil { $0[shard] = outcome } }
        loaded.signal()
        settled.continuation.yield()
    }

    static func wrap(_ error: any Error) -> NeedletailError {
        error as? NeedletailError ?? NeedletailError(.internal, "an unexpected error", cause: error)
    }

    /// Whether no replica is still loading.
    public var isLoaded: Bool {
        replicas.withLock { $0.values.allSatisfy { if case .loading = $0 { false } else { true } } }
    }

    /// The replica, if it serves.
    /// - Throws: `notFound` when it is not here, `unavailable` while it loads, the load's error when that failed.
    func replica(_ shard: ShardID) throws(NeedletailError) -> Replica {
        switch replicas.withLock({ $0[shard] }) {
        case .ready(let replica): return replica
        case .loading: throw NeedletailError(.unavailable, "shard \(shard) is loading; try again", location: directory)
        case .failed(_, let error): throw error
        case nil: throw NeedletailError(.notFound, "shard \(shard) is not on this node; read the cluster map again", location: directory)
        }
    }

    public func createReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        try await createReplica(assignment, isUnfilled: false, deadline: deadline)
    }

    /// - Parameter isUnfilled: one that is made begins without the points that its shard has, and answers nobody before it has them.
    public func createReplica(_ assignment: ReplicaAssignment, isUnfilled: Bool, deadline: Deadline?) async throws {
        try assignment.collection.validate()
        try await exclusively(assignment.shard) {
            try deadline?.check(before: "shard \(assignment.shard) was made")
            try await make(assignment, isUnfilled: isUnfilled)
        }
    }

    /// One change of a shard's replica at a time.
    func exclusively<Value>(_ shard: ShardID, _ body: () async throws -> Value) async throws -> Value {
        while true {
            let ticket = freed.ticket
            if busy.withLock({ $0.insert(shard).inserted }) { break }
            await freed.wait(after: ticket)
            try Task.checkCancellation()
        }
        defer {
            _ = busy.withLock { $0.remove(shard) }
            freed.signal()
        }
        return try await body()
    }

    private func make(_ assignment: ReplicaAssignment, isUnfilled: Bool) async throws {
        try await closeIfRedefined(assignment)
        let isNew = replicas.withLock { replicas in
            guard replicas[assignment.shard] == nil else { return false }
            replicas[assignment.shard] = .loading(assignment)
            return true
        }
        if isNew {
            do {
                // First: an assignment makes a folder one that is opened.
                if isUnfilled { try await storeUnfilled(assignment.shard) }
                try await store(assignment)
            } catch {
                replicas.withLock { $0[assignment.shard] = nil }
                throw error
            }
            load(assignment)
        }
        try await waitUntilSettled(assignment.shard)
        _ = try replica(assignment.shard)
    }

    /// Takes over a changed definition of a replica that is here, or who its fellows are; one that is not here is not made.
    public func update(_ assignment: ReplicaAssignment) async throws {
        let isOutdated = replicas.withLock { replicas in
            if case .ready(let replica) = replicas[assignment.shard] { replica.standing.withLock { $0 } != assignment } else { false }
        }
        if isOutdated { try await createReplica(assignment, deadline: nil) }
    }

    /// A node by itself has no fellow that could fill a replica.
    public func updateReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        guard replicas.withLock({ $0[assignment.shard] != nil }) else {
            throw NeedletailError(
                .notFound, "the files of shard \(assignment.shard), which ought to hold all its points, are not on this node; put them back from a copy",
                location: directory)
        }
        try await update(assignment)
    }

    /// A replica that is here under another definition (its durability was changed) is closed, to be opened under the new one. What else
    /// is new of the assignment is put on disk and taken over.
    private func closeIfRedefined(_ assignment: ReplicaAssignment) async throws {
        try await waitUntilSettled(assignment.shard)
        guard case .ready(let replica) = replicas.withLock({ $0[assignment.shard] }) else { return }
        let current = replica.standing.withLock { $0 }
        if current == assignment { return }
        guard assignment.epoch >= current.epoch else {
            throw NeedletailError(
                .aborted, "shard \(assignment.shard) is at epoch \(current.epoch), the assignment is of \(assignment.epoch); read the cluster map again")
        }
        if assignment.redefines(replica.assignment) {
            replicas.withLock { $0[assignment.shard] = nil }
            await replica.close(discarding: false)
        } else {
            try await store(assignment)
            replica.adopt(assignment)
        }
    }

    /// Closes a replica and opens it from its files.
    public func reopen(_ shard: ShardID) async throws {
        try await exclusively(shard) {
            try await waitUntilSettled(shard)
            guard case .ready(let replica) = replicas.withLock({ $0[shard] }) else { return }
            let assignment = replica.standing.withLock { $0 }
            replicas.withLock { $0[shard] = .loading(assignment) }
            await replica.close(discarding: false)
            load(assignment)
            try await waitUntilSettled(shard)
        }
    }

    func store(_ assignment: ReplicaAssignment) async throws {
        let (disk, directory) = (resources.disk, path(assignment.shard))
        try await resources.modelPool.run { _ in
            try disk.createDirectory(directory)
            try disk.replaceChecked(directory + "/assignment", with: assignment.encoded)
        }
    }

    private func storeUnfilled(_ shard: ShardID) async throws {
        let (disk, directory) = (resources.disk, path(shard))
        try await resources.modelPool.run { [self] _ in
            try disk.createDirectory(directory)
            if let promise = damagedPromise(shard) { try disk.replaceChecked(directory + "/" + Replica.promiseName, with: promise) }
            try disk.replaceChecked(directory + "/" + Replica.unfilledName, with: [1])
        }
    }

    /// The replica for those who keep it in step with its fellows.
    /// - Throws: as `replica`.
    public func hosted(_ shard: ShardID) throws(NeedletailError) -> HostedReplica { HostedReplica(replica: try replica(shard)) }

    /// Those that serve.
    public var hosted: [HostedReplica] {
        replicas.withLock { Array($0.values) }.compactMap { if case .ready(let replica) = $0 { HostedReplica(replica: replica) } else { nil } }
    }

    func waitUntilSettled(_ shard: ShardID) async throws {
        while true {
            let ticket = loaded.ticket
            guard case .loading = replicas.withLock({ $0[shard] }) else { return }
            await loaded.wait(after: ticket)
            try Task.checkCancellation()
        }
    }

    public func dropReplica(_ shard: ShardID, deadline: Deadline?) async throws {
        try await exclusively(shard) {
            try await waitUntilSettled(shard)
            try deadline?.check(before: "shard \(shard) was removed")
            let hosted = replicas.withLock { $0.removeValue(forKey: shard) }
            if case .ready(let replica) = hosted { await replica.close(discarding: true) }
            let (disk, directory, damaged) = (resources.disk, path(shard), damagedPath(shard))
            try await resources.maintenancePool.run { _ in
                // Last what makes the leader ask again after a crash.
                try disk.removeDirectory(damaged)
                try disk.removeDirectory(directory)
            }
        }
    }

    /// Stops serving a replica that the cluster no longer knows, and keeps its files under `orphaned/`: that nobody asks for data is not
    /// proof enough to destroy them (the metadata may have been restored from an old copy). The operator removes them.
    /// - Returns: where they are now.
    public func setAside(_ shard: ShardID) async throws -> String {
        try await exclusively(shard) {
            try await waitUntilSettled(shard)
            let hosted = replicas.withLock { $0.removeValue(forKey: shard) }
            if case .ready(let replica) = hosted { await replica.close(discarding: false) }
            let (disk, from) = (resources.disk, path(shard))
            let folder = directory + "/orphaned"
            let target = folder + "/" + Self.folderName(shard)
            try await resources.maintenancePool.run { _ in
                try disk.createDirectory(folder)
                try disk.renameDirectory(from, to: target)
            }
            return target
        }
    }

    public func status() async throws -> NodeStatus { NodeStatus(replicas: currentStatus()) }

    public func currentStatus() -> [ReplicaStatus] {
        replicas.withLock { Array($0) }.map { shard, hosted in
            switch hosted {
            case .ready(let replica): replica.status()
            case .loading(let assignment): ReplicaStatus(shard: shard, state: .loading, reason: "loading", epoch: assignment.epoch)
            case .failed(let assignment, let error):
                ReplicaStatus(shard: shard, state: .failed, reason: error.description, epoch: assignment.epoch)
            }
        }
        .sorted { $0.shard < $1.shard }
    }

    /// What an operator should know of the start: folders that cannot be served, ends of logs cut off after a crash.
    public func recoveryNotes() -> [String] {
        notes.withLock { $0 } + cutNotes()
    }

    private func cutNotes() -> [String] {
        replicas.withLock { Array($0.values) }.compactMap { hosted in
            guard case .ready(let replica) = hosted, let cut = replica.recovery.cut else { return nil }
            return "\(cut.path): \(cut.bytesCut) bytes of an unfinished write were cut off at offset \(cut.offset) (\(cut.reason))"
        }
    }

    /// Called every second or so.
    public func tick() {
        let now = ContinuousClock.now
        for case .ready(let replica) in replicas.withLock({ Array($0.values) }) { replica.tick(now: now) }
    }

    /// Until cancelled, and once only: syncs the logs whose interval is over. Rests while durability is by interval nowhere.
    public func syncLogs() async {
        for await _ in settled.stream {
            while !Task.isCancelled, syncDueLogs() { try? await Task.sleep(for: .milliseconds(5)) }
        }
    }

    /// Whether durability is by interval anywhere. Syncs nothing while the last call is still at work.
    private func syncDueLogs() -> Bool {
        let logs = replicas.withLock { Array($0.values) }.compactMap { hosted -> Replica? in
            guard case .ready(let replica) = hosted, replica.assignment.collection.durability != .everyCommit else { return nil }
            return replica
        }
        guard !logs.isEmpty else { return false }
        guard !isSyncing.exchange(true, ordering: .acquiringAndReleasing) else { return true }
        do {
            try resources.syncPool.submit { [self] _ in
                for replica in logs { replica.syncIfDue(now: .now) }
                isSyncing.store(false, ordering: .releasing)
            }
        } catch {
            isSyncing.store(false, ordering: .releasing)
        }
        return true
    }

    /// Asks every replica that has changed for a checkpoint; returns at once.
    public func checkpointNow() {
        for case .ready(let replica) in replicas.withLock({ Array($0.values) }) { replica.requestCheckpoint() }
    }

    /// Takes no more requests, finishes what is under way, checkpoints, and ends all threads.
    public func close() async {
        let hosted = replicas.withLock { replicas in
            defer { replicas = [:] }
            return Array(replicas.values)
        }
        for case .ready(let replica) in hosted { await replica.close(discarding: false) }
        resources.close()
    }
}

/// Wakes tasks that wait for something to change. A ticket taken before looking makes sure that no change is missed.
final class ChangeSignal: Sendable {
    private struct State {
        var count = 0
        var waiters: [CheckedContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())

    var ticket: Int { state.withLock { $0.count } }

    func signal() {
        let waiters = state.withLock { state in
            state.count += 1
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Returns at the next signal, or at the deadline.
    func wait(after ticket: Int, until deadline: Deadline?) async throws {
        guard let deadline else { return await wait(after: ticket) }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.wait(after: ticket) }
            group.addTask { try? await Task.sleep(for: deadline.remaining) }
            await group.next()
            // The other one ends as well: the sleep is cancelled, and the wait is woken with all that wait.
            group.cancelAll()
            self.signal()
        }
        try Task.checkCancellation()
    }

    func wait(after ticket: Int) async {
        await withCheckedContinuation { continuation in
            let isPast = state.withLock { state in
                if state.count == ticket { state.waiters.append(continuation) }
                return state.count != ticket
            }
            if isPast { continuation.resume() }
        }
    }
}
