import NeedletailCore
import Synchronization

/// At which step of a commit the disk failed; it decides whether the log can go on by itself.
struct StageError: Error {
    enum Stage { case write, sync }
    let stage: Stage
    let error: any Error
}

extension ReplicaLog {
    /// Takes back what was appended, makes the log read-only, and returns the error for the callers.
    func fail(_ error: any Error, _ active: inout Active) -> NeedletailError {
        let staged = error as? StageError
        let failure = makeFailure(staged?.error ?? error, stage: staged?.stage ?? .write)
        state.withLock { state in
            state.pending.removeAll()
            state.lastEpoch = state.committedEpoch
            state.failure = failure
        }
        // Best effort now; a log that resumes repeats it, and a restart checks every record anyway.
        try? cutTail(&active, sync: false)
        return failure.error
    }

    private func makeFailure(_ error: any Error, stage: StageError.Stage) -> Failure {
        let known = error as? NeedletailError
        let outOfSpace = (known?.cause as? SystemCallError)?.isOutOfSpace ?? false
        let resumable = outOfSpace && (stage == .write || configuration.syncMode == .everyCommit)
        let message: String
        let code: NeedletailError.Code
        if resumable {
            code = .resourceExhausted
            message =
                "The disk is full and the replica takes no writes: free space; writes resume by themselves once "
                + "\(configuration.resumeFreeBytes) bytes are free."
        } else {
            code = .dataLoss
            message =
                "The disk failed during a \(stage == .sync ? "sync" : "write") of the log and the replica takes no writes: check the "
                + "device, then restart the process: what was acknowledged is read back from the disk."
        }
        let reason = NeedletailError(code, message, cause: known?.cause ?? error, location: known?.location ?? directory)
        return Failure(error: reason, resumable: resumable, lastProbe: .now)
    }

    /// Cuts the file at the last committed record.
    private func cutTail(_ active: inout Active, sync: Bool) throws {
        guard let file = active.file, let size = state.withLock({ $0.segments.last?.sizeBytes }) else { return }
        if try file.sizeBytes() != size { try file.truncate(to: size) }
        guard sync else { return }
        try file.sync()
        active.hasUnsynced = false
    }

    /// Throws while the log is read-only; when it is time to look again and there is room, makes it writable.
    func resumeIfPossible() throws {
        let due = try state.withLock { state in
            guard let failure = state.failure else { return false }
            let waited = failure.lastProbe.duration(to: .now)
            guard failure.resumable, waited >= configuration.retryInterval else { throw failure.error }
            state.failure?.lastProbe = .now
            return true
        }
        guard due else { return }
        try active.withLock { active in
            guard let reason = readOnlyReason else { return }
            guard let free = try? disk.freeBytes(directory), free >= configuration.resumeFreeBytes else { throw reason }
            do {
                try cutTail(&active, sync: true)
            } catch {
                throw reason
            }
            state.withLock { state in
                state.durableSequence = state.committedSequence
                state.failure = nil
            }
        }
    }
}
