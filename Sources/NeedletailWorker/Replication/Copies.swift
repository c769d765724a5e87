internal import NeedletailCore
internal import NeedletailShard
internal import NeedletailStorage
internal import Synchronization

/// The checkpoints that other nodes copy from here. One that nobody reads from any more is let go of after a while.
final class Copies: Sendable {
    private struct Entry {
        let copy: ReplicaCopy
        var lastUse = ContinuousClock.now
    }

    private static let patience = Duration.seconds(60)

    private let entries = Mutex<[UInt64: Entry]>([:])
    private let rate: CopyRate

    init(rate: CopyRate) { self.rate = rate }

    func begin(_ hosted: HostedReplica, mayBeEmpty: Bool = false) async throws -> CopyDescription {
        let (copy, id) = (try await hosted.copy(mayBeEmpty: mayBeEmpty), UInt64.random(in: 1...UInt64.max))
        entries.withLock { $0[id] = Entry(copy: copy) }
        return CopyDescription(id: id, sequence: copy.sequence, epoch: copy.epoch, files: copy.files)
    }

    /// The copy, for which that counts as being read from.
    func used(_ id: UInt64) throws(NeedletailError) -> ReplicaCopy {
        let copy = entries.withLock { entries in
            entries[id]?.lastUse = .now
            return entries[id]?.copy
        }
        guard let copy else { throw NeedletailError(.notFound, "the copy has ended; begin another") }
        return copy
    }

    /// Pieces in order; the next is read while one is sent.
    func read(_ id: UInt64, _ name: String, from offset: UInt64, _ body: (CopyPiece) async throws -> Void) async throws {
        @Sendable func piece(at offset: UInt64) async throws -> CopyPiece {
            let piece = try await used(id).read(name, at: offset, count: rate.pieceBytes)
            try await rate.take(piece.bytes.count)
            return piece
        }
        var current = try await piece(at: offset)
        while !current.bytes.isEmpty {
            let end = current.offset + UInt64(current.bytes.count)
            async let next = piece(at: end)
            try await body(current)
            current = try await next
        }
    }

    func end(_ id: UInt64) { entries.withLock { $0.removeValue(forKey: id) }?.copy.end() }

    /// Called on the clock.
    func removeForgotten() {
        let now = ContinuousClock.now
        let forgotten = entries.withLock { $0.filter { $0.value.lastUse.duration(to: now) > Self.patience }.map(\.key) }
        for id in forgotten { end(id) }
    }

    func close() { for id in entries.withLock({ Array($0.keys) }) { end(id) } }
}
