internal import NeedletailBackup
internal import NeedletailCluster
internal import NeedletailCore
internal import Synchronization

/// The making of a backup.
///
/// 1. A replica of each shard holds its checkpoint still, and the log from there on.
/// 2. The cut: the primaries hold new writes back until all of them do, and say what their last write was. Whatever was acknowledged before a
///    write that is before the cut is then before the cut too, on whatever shard.
/// 3. The replicas store checkpoint and log up to the cut, without what is there already. The manifest comes last.
///
/// Done again from the beginning it costs little: objects that were stored are known by their content.
extension Coordinator {
    private struct HeldCopy {
        var place: ShardPlace
        var node: NodeID
        var copy: CopyDescription
    }

    func storeBackup(_ operation: BackupOperation) async throws -> BackupOperation? {
        let set = try places.open(operation.target)
        if let existing = try await manifest(operation.name, in: set) {
            // Another leader came as far as this.
            guard existing.operation == operation.id else { throw Self.taken(operation.name, operation.target) }
            return try await finish(operation, existing)
        }
        let entry = try entry(operation.collection)
        let former = try await formerNodes(of: entry, in: set)
        progressed(operation, to: 0, of: UInt64(entry.shards.count))
        let copies: [HeldCopy]
        do { copies = try await hold(entry, former) } catch { throw interrupted(error, entry) }
        do {
            let cut = try await cut(entry)
            let stored = try await store(copies, of: entry, cut: cut, for: operation)
            await end(copies)
            let manifest = BackupManifest(
                operation: operation.id, name: operation.name, collection: entry.spec, incarnation: entry.incarnation, models: entry.models,
                createdMilliseconds: operation.createdMilliseconds, software: NeedletailVersion.current, shards: stored)
            guard isLeader, state.withLock({ $0.copy.backups.values[operation.key] }) == operation else { return nil }
            try await set.store(manifest)
            return try await finish(operation, manifest)
        } catch {
            await end(copies)
            throw interrupted(error, entry)
        }
    }

    /// What a shard says that was split meanwhile passes with the next attempt.
    private func interrupted(_ error: any Error, _ entry: CollectionEntry) -> any Error {
        guard resharded(entry) != nil else { return error }
        return NeedletailError(
            .aborted, "the shards of collection \"\(entry.spec.name)\" changed during the backup; it is begun again", cause: error)
    }

    private func manifest(_ name: String, in set: BackupSet) async throws -> BackupManifest? {
        try await set.storage.exists(BackupManifest.key(name)) ? try await set.manifest(name) : nil
    }

    private func finish(_ operation: BackupOperation, _ manifest: BackupManifest) async throws -> BackupOperation? {
        var next = operation.done
        (next.figures.progress, next.figures.total) = (UInt64(manifest.shards.count), UInt64(manifest.shards.count))
        (next.figures.bytes, next.figures.newBytes) = (manifest.bytes, manifest.newBytes)
        next.figures.heldMicroseconds = manifest.shards.map(\.heldMicroseconds).max() ?? 0
        return try await store(next, replacing: operation) ? next : nil
    }

    /// From which node each shard was backed up last: the same replica has the same slabs.
    private func formerNodes(of entry: CollectionEntry, in set: BackupSet) async throws -> [UInt32: NodeID] {
        let manifests = try await inParallel(try await set.names()) { try? await set.manifest($0) }.compactMap { $0 }
        let newest = manifests.filter { $0.incarnation == entry.incarnation }.max { $0.createdMilliseconds < $1.createdMilliseconds }
        return Dictionary(newest?.shards.map { ($0.number, $0.node) } ?? []) { $1 }
    }

    /// Of each shard one replica in sync: the one of the last backup, else one that does not lead.
    private func hold(_ entry: CollectionEntry, _ former: [UInt32: NodeID]) async throws -> [HeldCopy] {
        var held: [HeldCopy] = []
        do {
            for place in entry.shards {
                let candidates = place.inSync.sorted { rank($0, place, former) < rank($1, place, former) }
                var failure: NeedletailError?
                for node in candidates {
                    do {
                        let copy = try await backupWorker(node).beginBackup(entry.shardID(place), deadline: .after(.seconds(60)))
                        held.append(HeldCopy(place: place, node: node, copy: copy))
                        failure = nil
                        break
                    } catch { failure = failure ?? Self.wrap(error) }
                }
                if let failure { throw failure }
            }
        } catch {
            await end(held)
            throw error
        }
        return held
    }

    private func rank(_ node: NodeID, _ place: ShardPlace, _ former: [UInt32: NodeID]) -> Int {
        if former[place.number] == node { return 0 }
        return node == place.primary ? 2 : 1
    }

    private func end(_ copies: [HeldCopy]) async {
        for held in copies {
            guard let link = state.withLock({ $0.workers[held.node] }) else { continue }
            // Left alone it ends by itself after a while.
            try? await link.replication.endCopy(held.copy.id)
        }
    }

    // MARK: The cut

    private struct Cut {
        var sequence: UInt64
        var held: Duration
    }

    /// Longer writes are not held back; a primary lets go by itself.
    private static let holdLimit = Duration.seconds(1)
    private static let cutAttempts = 20

    private func cut(_ entry: CollectionEntry) async throws -> [UInt32: Cut] {
        var failure: NeedletailError?
        var pause = RetryPause()
        for _ in 0..<Self.cutAttempts {
            let token = UInt64.random(in: 1...UInt64.max)
            // Primaries may change from one attempt to the next.
            let places = try self.entry(entry.spec.name)
            guard places.incarnation == entry.incarnation, places.shards.map(\.range) == entry.shards.map(\.range) else {
                throw NeedletailError(.aborted, "the shards of collection \"\(entry.spec.name)\" changed during the backup; it is begun again")
            }
            let held = await askPrimaries(places) { worker, shard, epoch in
                try await worker.hold(shard, epoch: epoch, token: token, limit: Self.holdLimit, deadline: .after(Self.holdLimit))
            }
            // Whatever came of it: nobody is held longer than necessary.
            let released = await askPrimaries(places) { worker, shard, epoch in
                try await worker.release(shard, epoch: epoch, token: token, deadline: .after(Self.holdLimit))
            }
            do throws(NeedletailError) {
                var cuts: [UInt32: Cut] = [:]
                for (number, result) in held { cuts[number] = Cut(sequence: try result.get(), held: .zero) }
                // Each was still held when the first was released: so there was a moment at which all were.
                for (number, result) in released { cuts[number]?.held = try result.get() }
                return cuts
            } catch {
                failure = error
            }
            guard await pause.wait(before: .after(.seconds(10))) else { break }
        }
        throw NeedletailError(
            .unavailable, "the shards could not be cut at one moment: \(failure?.message ?? "the backup was interrupted")", cause: failure)
    }

    private func askPrimaries<Value: Sendable>(
        _ entry: CollectionEntry, _ body: @escaping @Sendable (any BackupWorker, ShardID, UInt64) async throws -> Value
    ) async -> [UInt32: Result<Value, NeedletailError>] {
        await withTaskGroup(of: (UInt32, Result<Value, NeedletailError>).self) { group in
            for place in entry.shards {
                group.addTask {
                    do {
                        let value = try await body(try self.backupWorker(place.primary), entry.shardID(place), place.epoch)
                        return (place.number, .success(value))
                    } catch {
                        let failure = Self.wrap(error)
                        return (place.number, .failure(failure))
                    }
                }
            }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
    }

    // MARK: Storing

    private func store(
        _ copies: [HeldCopy], of entry: CollectionEntry, cut: [UInt32: Cut], for operation: BackupOperation
    ) async throws -> [BackupManifest.Shard] {
        return try await withThrowingTaskGroup(of: BackupManifest.Shard.self) { group in
            for held in copies {
                guard let cut = cut[held.place.number] else { continue }
                let place = held.place
                group.addTask {
                    let request = ShardStore(
                        shard: entry.shardID(place), copy: held.copy.id, cut: cut.sequence, target: operation.target)
                    let stored = try await self.backupWorker(held.node).store(request)
                    return BackupManifest.Shard(
                        number: place.number, range: place.range, cut: cut.sequence, epoch: max(stored.epoch, held.copy.epoch), node: held.node,
                        index: BackupPiece(checksum: try Checksum256(checking: stored.index.checksum), sizeBytes: stored.index.sizeBytes),
                        pieces: stored.pieces, bytes: stored.bytes, newPieces: stored.newPieces, newBytes: stored.newBytes,
                        heldMicroseconds: UInt64(max(0, cut.held.nanoseconds) / 1000))
                }
            }
            var shards: [BackupManifest.Shard] = []
            for try await shard in group {
                shards.append(shard)
                self.progressed(operation, to: UInt64(shards.count), of: UInt64(copies.count))
            }
            return shards.sorted { $0.range.first < $1.range.first }
        }
    }
}
