import CNeedletailMessages
import CProtobufC
import NeedletailCore

// The public API names shards by number and errors by text: a decoded report has incarnation 0 and the code `unavailable`.
extension Coverage {
    init(_ message: UnsafeMutablePointer<Needletail__V1__Coverage>?) throws(NeedletailError) {
        guard let message else {
            self.init(shards: [])
            return
        }
        self.init(
            shards: try messages(message.pointee.shards, message.pointee.n_shards) { shard in
                let outcome: ShardReport.Outcome =
                    if shard.pointee.answered == 0 {
                        .failed(NeedletailError(.unavailable, string(shard.pointee.error)))
                    } else if shard.pointee.truncated != 0 {
                        .truncated
                    } else {
                        .complete
                    }
                return ShardReport(
                    shard: ShardID(incarnation: Incarnation(0), number: shard.pointee.shard), outcome: outcome,
                    appliedSequence: shard.pointee.applied_sequence)
            },
            session: message.pointee.session.len == 0 ? nil : try Session(encoded: byteArray(message.pointee.session)))
    }
}

extension MessageArena {
    func coverage(_ coverage: Coverage) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Coverage> {
        let message = try make(Needletail__V1__Coverage.self)
        message.pointee.shards_total = UInt32(clamping: coverage.shards.count)
        message.pointee.shards_answered = UInt32(clamping: coverage.answeredCount)
        message.pointee.n_shards = coverage.shards.count
        message.pointee.shards = try list(coverage.shards) { report throws(NeedletailError) in
            let shard = try make(Needletail__V1__ShardCoverage.self)
            shard.pointee.shard = report.shard.number
            shard.pointee.applied_sequence = report.appliedSequence
            switch report.outcome {
            case .complete: shard.pointee.answered = 1
            case .truncated:
                shard.pointee.answered = 1
                shard.pointee.truncated = 1
            case .failed(let error): shard.pointee.error = try text(error.message.withoutNUL)
            }
            return shard
        }
        if let session = coverage.session { message.pointee.session = try bytes(session.encoded) }
        return message
    }
}

extension String {
    /// Error texts may quote anything; a NUL in one must not fail the answer that carries it.
    var withoutNUL: String { utf8.contains(0) ? replacing("\0", with: "\u{FFFD}") : self }
}
