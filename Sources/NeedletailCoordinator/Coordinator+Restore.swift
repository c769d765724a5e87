internal import NeedletailBackup
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

/// The making of a collection from a backup. Until it is complete its entry is `restoring`: nobody but the operation sees it.
///
/// With as many shards as the backup has, their primaries are made of its files; other replicas are added like those of any collection that has
/// too few. With another number the files make a second collection, which nobody sees at all, and every point of that is written to the first.
/// The last change makes the one visible, marks the other for removal and ends the operation, all in one transaction.
extension Coordinator {
    func planRestore(_ operation: BackupOperation) async throws -> BackupOperation? {
        let manifest = try await places.open(operation.target).manifest(operation.name)
        let spec = try restoredSpec(operation, manifest)
        try checkIsFree(operation.collection)
        let room = state.withLock { Room(nodes: $0.placeable, load: $0.replicaCounts, standing: $0.standings) }
        var next = operation
        next.step = .filling
        next.figures.total = UInt64(manifest.shards.count)
        next.figures.bytes = manifest.bytes
        next.incarnation = Incarnation(.random(in: 1...UInt64.max))
        var made: [CollectionEntry] = []
        if spec.shardCount == manifest.shards.count {
            made = [try entry(spec, next.incarnation, like: manifest, room)]
        } else {
            next.staging = Incarnation(.random(in: 1...UInt64.max))
            var staging = spec
            (staging.name, staging.shardCount, staging.replicationFactor, staging.minInSync) = (operation.stagingName, manifest.shards.count, 1, 1)
            let places = try room.place(shards: spec.shardCount, replicas: spec.replicationFactor)
            made = [
                CollectionEntry(spec: spec, incarnation: next.incarnation, state: .restoring, shards: places),
                try entry(staging, next.staging, like: manifest, room),
            ]
            made[0].models = manifest.models
        }
        for entry in made { try entry.validate() }
        return try await store(next, replacing: operation, made.map { ($0, nil) }) ? next : nil
    }

    /// Where replicas can be.
    private struct Room {
        let nodes: [NodeID]
        let load: [NodeID: Int]
        let standing: [NodeID: Placement.Standing]

        func place(shards: Int, replicas: Int) throws(NeedletailError) -> [ShardPlace] {
            try Placement.place(shards: shards, replicas: replicas, on: nodes, load: load, standing: standing)
        }
    }

    /// One replica of each of the backup's shards, in an epoch after all that it knows.
    private func entry(
        _ spec: CollectionSpec, _ incarnation: Incarnation, like manifest: BackupManifest, _ room: Room
    ) throws(NeedletailError) -> CollectionEntry {
        var places = try room.place(shards: manifest.shards.count, replicas: 1)
        for (index, shard) in manifest.shards.enumerated() {
            places[index].number = shard.number
            places[index].range = shard.range
            places[index].epoch = shard.epoch + 1
        }
        var entry = CollectionEntry(spec: spec, incarnation: incarnation, state: .restoring, shards: places)
        entry.models = manifest.models
        return entry
    }

    /// - Throws: `failedPrecondition` when somebody removed it by hand.
    private func restoring(_ incarnation: Incarnation) throws(NeedletailError) -> CollectionEntry {
        guard let entry = state.withLock({ $0.collections.values.first { $0.incarnation == incarnation } }), entry.state == .restoring else {
            throw NeedletailError(.failedPrecondition, "the collection that is being restored is not there any more; restore it again")
        }
        return entry
    }

    // MARK: Files

    private static let shardsAtOnce = 8

    func fillRestore(_ operation: BackupOperation) async throws -> BackupOperation? {
        let manifest = try await places.open(operation.target).manifest(operation.name)
        let target = try restoring(operation.incarnation)
        let source = operation.staging.value == 0 ? target : try restoring(operation.staging)
        let indexes = Dictionary(manifest.shards.map { ($0.number, $0.index) }) { $1 }
        let filled = Mutex<UInt64>(0)
        try await inParallel(source.shards, atOnce: Self.shardsAtOnce) { [self] place in
            guard let index = indexes[place.number] else {
                throw NeedletailError(.dataLoss, "the backup has no shard \(place.number) any more: it was replaced during the restore; restore it again")
            }
            let request = ShardRestore(
                assignment: assignment(place, of: source), target: operation.target,
                index: PieceName(checksum: index.checksum.bytes, sizeBytes: index.sizeBytes))
            try await backupWorker(place.primary).restore(request)
            state.withLock { $0.membership.serves(source.shardID(place), epoch: place.epoch, on: place.primary) }
            progressed(operation, to: filled.withLock { $0 += 1; return $0 }, of: UInt64(source.shards.count))
        }
        if operation.staging.value == 0 { return try await reveal(operation, target, staging: nil) }
        try await inParallel(target.shards, atOnce: Self.shardsAtOnce) { [self] place in
            for node in place.replicas { try await make(assignment(place, of: target), on: node, nil) }
        }
        var next = operation
        next.step = .copying
        return try await store(next, replacing: operation) ? next : nil
    }

    /// The collection is complete.
    private func reveal(_ operation: BackupOperation, _ target: CollectionEntry, staging: CollectionEntry?) async throws -> BackupOperation? {
        var (next, active) = (operation.done, target)
        active.state = .active
        var changes: [(entry: CollectionEntry, old: CollectionEntry?)] = [(active, target)]
        if let staging {
            var doomed = staging
            doomed.state = .deleting
            changes.append((doomed, staging))
        }
        let run = state.withLock { $0.backupRuns[operation.id] }
        (next.figures.progress, next.figures.total) = (run?.total ?? next.figures.total, run?.total ?? next.figures.total)
        return try await store(next, replacing: operation, changes) ? next : nil
    }

    // MARK: Points

    /// How long the copied points may take to become visible.
    private static let settling = Duration.seconds(120)

    func copyRestore(_ operation: BackupOperation) async throws -> BackupOperation? {
        let (target, source) = (try restoring(operation.incarnation), try restoring(operation.staging))
        let total = try await counts(source).reduce(0) { $0 + $1.count }
        let progress = CopyProgress(operation)
        try await inParallel(source.shards, atOnce: Self.shardsAtOnce) { [self] place in
            try await copy(place, of: source, to: target.incarnation, progress, total: total)
        }
        // Writing the same point again changes nothing, so what is there in the end must be as many.
        let end = Deadline.after(Self.settling)
        while true {
            let counts = try await counts(target)
            let copied = counts.reduce(0) { $0 + $1.count }
            if copied == total {
                await waitForOthers(target, counts.map(\.appliedSequence))
                break
            }
            guard !end.isPast else { throw NeedletailError(.internal, "\(total) points were copied and \(copied) are there; report this") }
            try await Task.sleep(for: .milliseconds(20))
        }
        guard let current = state.withLock({ $0.copy.backups.values[operation.key] }), !current.isCancelled else { return nil }
        return try await reveal(current, try restoring(operation.incarnation), staging: try restoring(operation.staging))
    }

    /// By the primaries, in the order of the shards.
    private func counts(_ entry: CollectionEntry) async throws -> [ShardCount] {
        try await inParallel(entry.shards) { [self] place in
            try await readShard(place, of: entry, ReadOptions(consistency: .primary), .after(.seconds(30))) { worker, shard, condition in
                try await worker.count(shard, condition: condition, deadline: .after(.seconds(30)))
            }
        }
    }

    /// Until the other replicas in sync, which may answer reads as well, show as much. One that is away catches up like any other.
    private func waitForOthers(_ entry: CollectionEntry, _ sequences: [UInt64]) async {
        for (place, sequence) in zip(entry.shards, sequences) {
            for node in place.inSync where node != place.primary {
                _ = try? await ask(node, about: [entry.shardID(place)]) {
                    try await $0.count(entry.shardID(place), condition: ReadCondition(sequence: sequence), deadline: .after(.seconds(30)))
                }
            }
        }
    }

    /// How far the copying is, for this leader and, now and then, in the metadata for the next.
    private final class CopyProgress: Sendable {
        struct State {
            var operation: BackupOperation
            var copied: UInt64 = 0
            var stored = ContinuousClock.now
        }

        let state: Mutex<State>
        /// Between two changes of the metadata.
        static let interval = Duration.seconds(1)

        init(_ operation: BackupOperation) { state = Mutex(State(operation: operation)) }
    }

    /// About so much goes in one write.
    private static let pageBytes = 2 << 20

    private func copy(_ place: ShardPlace, of source: CollectionEntry, to target: Incarnation, _ progress: CopyProgress, total: UInt64) async throws {
        var after: PointID?
        switch progress.state.withLock({ $0.operation.cursors[place.number] }) {
        case .complete: return
        case .after(let id): after = id
        case nil: break
        }
        let pointBytes = source.spec.fields.reduce(64) { $0 + $1.dimensions * 4 }
        let limit = min(max(Self.pageBytes / pointBytes, 16), 2_000)
        while true {
            try Task.checkCancellation()
            let page = try await readShard(place, of: source, ReadOptions(consistency: .primary), .after(.seconds(60))) { [after] worker, shard, condition in
                try await worker.scroll(
                    ShardScroll(
                        shard: shard, after: after, limit: limit, parts: PointParts(payload: true, vectors: true), condition: condition,
                        deadline: .after(.seconds(60))))
            }
            try await write(page.points, to: try restoring(target))
            after = page.points.last?.id ?? after
            try await note(place.number, page.hasMore ? after.map { .after($0) } : .complete, page.points.count, progress, total)
            if !page.hasMore { return }
        }
    }

    private func write(_ points: [StoredPoint], to target: CollectionEntry) async throws {
        var byShard: [UInt32: (place: ShardPlace, operations: [PointOperation])] = [:]
        for point in points {
            let place = target.place(of: point.id)
            byShard[place.number, default: (place, [])].operations.append(
                .upsert(Point(id: point.id, vectors: point.vectors, payload: point.payload)))
        }
        let isReplicated = isReplicated(target)
        try await inParallel(Array(byShard.values)) { [self] part in
            let write = ShardWrite(
                shard: target.shardID(part.place), epoch: part.place.epoch, batch: WriteBatch(part.operations).encoded, acknowledgement: .durable,
                operation: isReplicated ? .random() : nil, deadline: .after(.seconds(60)))
            _ = try await self.write(write, to: part.place)
        }
    }

    private func note(
        _ shard: UInt32, _ cursor: BackupOperation.Cursor?, _ count: Int, _ progress: CopyProgress, _ total: UInt64
    ) async throws {
        let (copied, operation) = progress.state.withLock { state in
            state.copied += UInt64(count)
            state.operation.cursors[shard] = cursor
            return (state.copied, state.operation)
        }
        progressed(operation, to: min(copied, total), of: total)
        try await persist(progress)
    }

    /// Puts the cursors among the metadata if that was not done lately. Not to have done it costs the next leader some writing again.
    private func persist(_ progress: CopyProgress) async throws {
        let wanted: BackupOperation? = progress.state.withLock { state in
            guard state.stored.duration(to: .now) >= CopyProgress.interval else { return nil }
            state.stored = .now
            return state.operation
        }
        guard let wanted, let known = state.withLock({ $0.copy.backups.values[wanted.key] }), known.step == .copying, !known.isCancelled else { return }
        var next = known
        next.cursors = wanted.cursors
        _ = try await store(next, replacing: known)
    }
}
