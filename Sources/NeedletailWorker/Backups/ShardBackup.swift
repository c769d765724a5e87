internal import NeedletailBackup
internal import NeedletailCore
internal import NeedletailShard
internal import NeedletailStorage
internal import Synchronization

/// Stores a shard: what a held checkpoint and the log have up to the cut. What the place has already is not sent again.
struct ShardBackup: Sendable {
    let copy: ReplicaCopy
    let cut: UInt64
    let set: BackupSet
    let rate: CopyRate
    /// Called with each piece, so that the copy is not taken for forgotten.
    let keepAlive: @Sendable () throws -> Void

    /// Read at once.
    private static let recordBytes = 4 << 20
    private static let catchUp = Duration.seconds(60)
    private static let slabsAtOnce = 256

    func run() async throws -> StoredShard {
        try await copy.hosted.waitUntilCommitted(cut, deadline: .after(Self.catchUp))
        let sender = PieceSender(set: set, rate: rate, known: try await set.known(), keepAlive: keepAlive)
        var shard = BackupShard(sequence: copy.sequence, epoch: copy.epoch)
        try await storeCheckpoint(&shard, sender)
        try await storePayloads(&shard, sender)
        for file in copy.otherFiles {
            let bytes = try await copy.read(file.name, at: 0, count: Int(file.sizeBytes)).bytes
            shard.files.append(.init(name: file.name, pieces: [try await sender.send(bytes)]))
        }
        let epoch = try await storeRecords(&shard, sender)
        // Last: what it names is there.
        let index = try await sender.send(shard.encoded)
        let sent = sender.figures
        return StoredShard(
            index: PieceName(checksum: index.checksum.bytes, sizeBytes: index.sizeBytes), epoch: epoch, pieces: sent.pieces, bytes: sent.bytes,
            newPieces: sent.newPieces, newBytes: sent.newBytes)
    }

    private func storeCheckpoint(_ shard: inout BackupShard, _ sender: PieceSender) async throws {
        guard let checkpoint = try await copy.checkpoint() else { return }
        shard.metadata = checkpoint.description.metadata
        for (number, array) in checkpoint.description.arrays.enumerated() {
            var slabs: [BackupPiece?] = []
            for start in stride(from: 0, to: array.slabCount, by: Self.slabsAtOnce) {
                let part = Array(start..<min(array.slabCount, start + Self.slabsAtOnce))
                slabs += try await inParallel(part) { [copy] slab -> BackupPiece? in
                    guard let image = try await copy.run({ try checkpoint.image(slab: slab, of: number) }) else { return nil }
                    return try await sender.send(image)
                }
            }
            shard.arrays.append(
                .init(name: array.name, strideBytes: UInt64(array.strideBytes), slotCount: UInt64(array.slotCount), slabs: slabs))
        }
    }

    private func storePayloads(_ shard: inout BackupShard, _ sender: PieceSender) async throws {
        let store = copy.payloadStore()
        defer { store.close() }
        shard.payloadSequence = try await copy.run { try store.sequence() }
        var last: [UInt8]?
        while true {
            let after = last
            guard let chunk = try await copy.run({ try store.chunk(after: after) }) else { return }
            shard.payloads.append(try await sender.send(chunk.bytes))
            last = chunk.last
        }
    }

    /// - Returns: the epoch of the last write.
    private func storeRecords(_ shard: inout BackupShard, _ sender: PieceSender) async throws -> UInt64 {
        var (next, epoch) = (copy.sequence + 1, copy.epoch)
        while next <= cut {
            let records = try await copy.hosted.records(from: next, maximumBytes: Self.recordBytes).filter { $0.sequence <= cut }
            guard let last = records.last, records.first?.sequence == next else {
                throw NeedletailError(.unavailable, "the log of shard \(copy.hosted.shard) lacks write \(next) for the backup; it is tried again")
            }
            for part in LogRecords.grouped(records) { shard.records.append(try await sender.send(LogRecords.encoded(part))) }
            (next, epoch) = (last.sequence + 1, last.epoch)
        }
        return epoch
    }
}

/// Sends pieces that are not there yet, and counts.
private final class PieceSender: Sendable {
    struct Figures {
        var pieces: UInt64 = 0
        var bytes: UInt64 = 0
        var newPieces: UInt64 = 0
        var newBytes: UInt64 = 0
    }

    private let set: BackupSet
    private let rate: CopyRate
    private let known: KnownPieces
    private let keepAlive: @Sendable () throws -> Void
    private let state = Mutex(Figures())
    /// Sent by this sender: a shard has many slabs that are alike.
    private let sent = Mutex<Set<BackupPiece>>([])

    init(set: BackupSet, rate: CopyRate, known: KnownPieces, keepAlive: @escaping @Sendable () throws -> Void) {
        self.set = set
        self.rate = rate
        self.known = known
        self.keepAlive = keepAlive
    }

    var figures: Figures { state.withLock { $0 } }

    func send(_ bytes: [UInt8]) async throws -> BackupPiece {
        try Task.checkCancellation()
        try keepAlive()
        let piece = BackupPiece(of: bytes)
        let isNew = !known.has(piece) && !sent.withLock { $0.contains(piece) }
        if isNew {
            try await rate.take(bytes.count)
            try await set.storage.put(piece.key, bytes)
            sent.withLock { _ = $0.insert(piece) }
        }
        state.withLock { figures in
            figures.pieces += 1
            figures.bytes += piece.sizeBytes
            if isNew {
                figures.newPieces += 1
                figures.newBytes += piece.sizeBytes
            }
        }
        return piece
    }
}
