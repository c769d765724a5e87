internal import NeedletailCore

/// The backups in a storage, and their pieces: written, read and removed, all checked.
///
///     target           the cluster that writes here
///     backups/NAME     a `BackupManifest`
///     objects/xx/…     pieces, by their SHA-256
public struct BackupSet: Sendable {
    public let storage: any BackupStorage

    public init(_ storage: any BackupStorage) { self.storage = storage }

    /// A name for a backup that was given none.
    /// - Parameter milliseconds: since 1970.
    public static func name(for collection: String, milliseconds: Int64) -> String {
        "\(collection.prefix(Limits.nameBytes - 20))-\(SigningTime(seconds: Int(milliseconds / 1000)).stamp)"
    }

    // MARK: Manifests

    /// - Throws: `notFound`, `dataLoss`, `unimplemented`.
    public func manifest(_ name: String) async throws -> BackupManifest {
        let key = BackupManifest.key(name)
        guard let bytes = try await storage.get(key) else {
            throw NeedletailError(.notFound, "there is no backup \"\(name)\" in \(storage.address); `needletail backup list` shows those there are")
        }
        let manifest = try BackupManifest(encoded: bytes, location: "\(storage.address)/\(key)")
        guard manifest.name == name else {
            throw NeedletailError(
                .dataLoss, "the manifest of backup \"\(name)\" is that of \"\(manifest.name)\"; put it back under its name", location: storage.address)
        }
        return manifest
    }

    public func names() async throws -> [String] {
        var names: [String] = []
        try await storage.list(BackupManifest.prefix) { page in names += page.map { String($0.key.dropFirst(BackupManifest.prefix.count)) } }
        return names.sorted()
    }

    public func store(_ manifest: BackupManifest) async throws { try await storage.put(BackupManifest.key(manifest.name), manifest.encoded) }

    /// Makes this cluster the one that writes here, if no other one is.
    /// - Throws: `failedPrecondition` when another one is: two that do not know of each other would remove each other's objects.
    public func claim(cluster: UInt64) async throws {
        if let bytes = try await storage.get("target") {
            var reader = ByteReader(bytes, location: storage.address + "/target")
            let (version, owner) = (try reader.u8(), try reader.u64())
            guard version == 1 else { throw newerBackup("the place for backups", UInt32(version), storage.address) }
            guard owner == cluster else {
                throw NeedletailError(
                    .failedPrecondition,
                    "\(storage.address) has backups of another cluster, which alone may write there; restore from it, and back up to another prefix")
            }
            return
        }
        var writer = ByteWriter()
        writer.u8(1)
        writer.u64(cluster)
        try await storage.put("target", writer.bytes)
    }

    // MARK: Pieces

    /// - Throws: `dataLoss` when it is missing, or is not what it ought to be.
    public func read(_ piece: BackupPiece) async throws -> [UInt8] {
        let location = "\(storage.address)/\(piece.key)"
        guard let bytes = try await storage.get(piece.key) else {
            throw NeedletailError(.dataLoss, "an object of the backup is missing; put it back from a copy, or use another backup", location: location)
        }
        guard UInt64(bytes.count) == piece.sizeBytes, Checksum256.of(bytes) == piece.checksum else {
            throw NeedletailError(.dataLoss, "an object of the backup is damaged; put it back from a copy, or use another backup", location: location)
        }
        return bytes
    }

    /// The objects there are: those of their sizes count as whole.
    public func known() async throws -> KnownPieces {
        var sizes: [String: UInt64] = [:]
        try await storage.list(BackupPiece.prefix) { page in for object in page { sizes[object.key] = object.sizeBytes } }
        return KnownPieces(sizes: sizes)
    }

    public func shard(_ index: BackupPiece) async throws -> BackupShard {
        try BackupShard(encoded: try await read(index), location: "\(storage.address)/\(index.key)")
    }

    // MARK: Removal

    /// Removes a backup, and every object that no other one has. May be done again.
    /// - Returns: the objects removed, and their bytes.
    public func remove(_ name: String) async throws -> (objects: UInt64, bytes: UInt64) {
        // Those that stay are read first: when one cannot be, nothing is removed.
        var kept: Set<String> = []
        for other in try await names() where other != name {
            for shard in try await manifest(other).shards {
                kept.insert(shard.index.key)
                for piece in try await self.shard(shard.index).pieces { kept.insert(piece.key) }
            }
        }
        try await storage.delete(BackupManifest.key(name))
        var doomed: [StoredObject] = []
        try await storage.list(BackupPiece.prefix) { page in doomed += page.filter { !kept.contains($0.key) } }
        try await inParallel(doomed) { try await storage.delete($0.key) }
        return (UInt64(doomed.count), doomed.reduce(0) { $0 + $1.sizeBytes })
    }

    /// Reads every object of a backup.
    /// - Returns: how many, their bytes, and what is wrong with some (20 at most are named).
    public func verify(_ name: String) async throws -> (objects: UInt64, bytes: UInt64, problems: [String]) {
        var (pieces, problems): (Set<BackupPiece>, [String]) = ([], [])
        for shard in try await manifest(name).shards {
            pieces.insert(shard.index)
            do {
                for piece in try await self.shard(shard.index).pieces { pieces.insert(piece) }
            } catch let error as NeedletailError where error.code == .dataLoss || error.code == .unimplemented {
                problems.append("shard \(shard.number): \(error.message) [\(error.location ?? "")]")
            }
        }
        let found = try await inParallel(Array(pieces)) { piece -> String? in
            do {
                _ = try await read(piece)
                return nil
            } catch let error as NeedletailError where error.code == .dataLoss {
                return "\(error.message) [\(error.location ?? "")]"
            }
        }
        problems += Set(found.compactMap { $0 }).sorted()
        let counted = UInt64(problems.count)
        if counted > 20 { problems = problems.prefix(20) + ["and \(counted - 20) more"] }
        return (UInt64(pieces.count), pieces.reduce(0) { $0 + $1.sizeBytes }, problems)
    }
}

/// The objects in a storage when they were listed.
public struct KnownPieces: Sendable {
    let sizes: [String: UInt64]

    public func has(_ piece: BackupPiece) -> Bool { sizes[piece.key] == piece.sizeBytes }
}

/// Does something with all items, a few at a time.
/// - Returns: the results, in the order of the items.
@discardableResult
public func inParallel<Item: Sendable, Value: Sendable>(
    _ items: [Item], atOnce: Int = 16, _ body: @escaping @Sendable (Item) async throws -> Value
) async throws -> [Value] {
    try await withThrowingTaskGroup(of: (Int, Value).self) { group in
        var results = [Value?](repeating: nil, count: items.count)
        var next = 0
        func begin() {
            guard next < items.count else { return }
            let (index, item) = (next, items[next])
            next += 1
            group.addTask {
                let value = try await body(item)
                return (index, value)
            }
        }
        for _ in 0..<atOnce { begin() }
        while let (index, value) = try await group.next() {
            results[index] = value
            begin()
        }
        return results.compactMap { $0 }
    }
}
