internal import NeedletailBackup
internal import NeedletailCore
internal import NeedletailShard
internal import NeedletailStorage

extension ReplicatedNode: BackupWorker {
    func hold(_ shard: ShardID, epoch: UInt64, token: UInt64, limit: Duration, deadline: Deadline?) async throws -> UInt64 {
        try await local.hosted(shard).holdWrites(token, epoch: epoch, atMost: limit)
    }

    func release(_ shard: ShardID, epoch: UInt64, token: UInt64, deadline: Deadline?) async throws -> Duration {
        try local.hosted(shard).releaseWrites(token, epoch: epoch)
    }

    func beginBackup(_ shard: ShardID, deadline: Deadline?) async throws -> CopyDescription {
        try await copies.begin(try local.hosted(shard), mayBeEmpty: true)
    }

    func store(_ request: ShardStore) async throws -> StoredShard {
        let (copies, set) = (copies, try backups.open(request.target))
        let copy = try copies.used(request.copy)
        guard copy.hosted.shard == request.shard else { throw NeedletailError(.invalidArgument, "the copy is not of shard \(request.shard)") }
        return try await ShardBackup(copy: copy, cut: request.cut, set: set, rate: world.copyRate, keepAlive: { _ = try copies.used(request.copy) }).run()
    }

    func restore(_ request: ShardRestore) async throws {
        let set = try backups.open(request.target)
        let index = BackupPiece(checksum: try Checksum256(checking: request.index.checksum), sizeBytes: request.index.sizeBytes)
        let assignment = request.assignment
        try await local.restoreReplica(assignment) { replica in try await fill(replica, from: try await set.shard(index), in: set) }
        await reconcile(assignment.shard)
    }

    private static let piecesAtOnce = 16

    private func fill(_ replica: RestoredReplica, from shard: BackupShard, in set: BackupSet) async throws {
        if shard.sequence > 0 {
            let description = CheckpointDescription(
                sequence: shard.sequence, epoch: shard.epoch, metadata: shard.metadata,
                arrays: try shard.arrays.map { array in
                    .init(
                        name: array.name, strideBytes: try Self.size(array.strideBytes), slotCount: try Self.size(array.slotCount),
                        slabCount: array.slabs.count)
                })
            try await replica.writeCheckpoint(description) { array, slabs in
                try await inParallel(Array(shard.arrays[array].slabs[slabs])) { piece in
                    guard let piece else { return nil }
                    return try await self.read(piece, from: set)
                }
            }
        }
        if let sequence = shard.payloadSequence {
            if shard.payloads.isEmpty { try await replica.writePayloads([], sequence: sequence) }
            for pieces in shard.payloads.grouped(Self.piecesAtOnce) {
                try await replica.writePayloads(try await inParallel(pieces) { try await self.read($0, from: set) }, sequence: sequence)
            }
        }
        for file in shard.files {
            var bytes: [UInt8] = []
            for piece in file.pieces { bytes += try await read(piece, from: set) }
            try await replica.writeFile(file.name, bytes)
        }
        try await replica.beginLog(after: shard.sequence, epoch: shard.epoch)
        for piece in shard.records { try await replica.writeLog(try LogRecords.decoded(try await read(piece, from: set))) }
    }

    private func read(_ piece: BackupPiece, from set: BackupSet) async throws -> [UInt8] {
        try await world.copyRate.take(Int(piece.sizeBytes))
        return try await set.read(piece)
    }

    private static func size(_ value: UInt64) throws(NeedletailError) -> Int {
        guard value < 1 << 50 else { throw NeedletailError(.dataLoss, "the backup describes an array of an impossible size; it is damaged") }
        return Int(value)
    }
}

extension Array {
    fileprivate func grouped(_ count: Int) -> [[Element]] {
        stride(from: 0, to: self.count, by: count).map { Array(self[$0..<Swift.min(self.count, $0 + count)]) }
    }
}
