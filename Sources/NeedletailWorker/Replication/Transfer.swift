internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailShard

/// Copies a replica's checkpoint from another node, piece by piece: what came before a connection was lost is not fetched again.
struct Transfer: Sendable {
    let incoming: IncomingReplica
    let source: any ReplicationOperations
    let rate: CopyRate

    private static let attempts = 20
    private static let pause = Duration.milliseconds(500)
    /// One is written while another is on its way.
    private static let filesAtOnce = 2

    /// - Returns: the last record of the checkpoint, and its epoch.
    /// - Throws: what the last of several attempts threw.
    func run() async throws -> (sequence: UInt64, epoch: UInt64) {
        let copy = try await source.beginCopy(incoming.shard, deadline: .after(.seconds(60)))
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for (number, file) in copy.files.enumerated() {
                    if number >= Self.filesAtOnce { try await group.next() }
                    group.addTask { try await fetch(file, of: copy) }
                }
                try await group.waitForAll()
            }
        } catch {
            try? await source.endCopy(copy.id)
            throw error
        }
        try? await source.endCopy(copy.id)
        return (copy.sequence, copy.epoch)
    }

    private func fetch(_ file: CopiedFile, of copy: CopyDescription) async throws {
        var offset: UInt64 = 0
        // An empty file has no piece.
        if file.sizeBytes == 0 { return try await incoming.write(file.name, at: 0, [], checksum: 0) }
        for attempt in 1... {
            do {
                while offset < file.sizeBytes {
                    try await source.readCopy(copy.id, file.name, from: offset) { piece in
                        guard piece.offset == offset else { throw NeedletailError(.dataLoss, "a piece of \(file.name) is out of its order") }
                        try await rate.take(piece.bytes.count)
                        try await incoming.write(file.name, at: offset, piece.bytes, checksum: piece.checksum)
                        offset += UInt64(piece.bytes.count)
                    }
                }
                return
            } catch {
                let code = (error as? NeedletailError)?.code
                guard attempt < Self.attempts, code == .unavailable || code == .dataLoss || code == .cancelled, !Task.isCancelled else { throw error }
                try await Task.sleep(for: Self.pause)
            }
        }
    }
}
