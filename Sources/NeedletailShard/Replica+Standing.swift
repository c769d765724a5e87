internal import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

extension Replica {
    /// Takes over what has changed of who its fellows are. The caller has put it on disk.
    func adopt(_ assignment: ReplicaAssignment) {
        let former = standing.withLock { standing in
            defer { standing = assignment }
            return standing
        }
        guard former.isAlone != assignment.isAlone else { return }
        adjustRecentLog()
        pass { $0.setAlone(assignment.isAlone) }
    }

    /// Waits until the replica may answer a read that asks for something.
    /// - Throws: `aborted` when it is not the primary that is asked for, or its parts are to be asked, `deadlineExceeded` when it does not get there in time.
    func meet(_ condition: ReadCondition, deadline: Deadline?) async throws {
        try checkReadable()
        if condition.isNone { return }
        var sequence = condition.sequence
        if condition.isPrimary {
            if let observer = observer.withLock({ $0 }) {
                // The gate hears of it later than the observer decides it: a new primary's would be behind what its predecessor acknowledged.
                sequence = max(sequence, try observer.admitPrimaryRead())
            } else if !standing.withLock({ $0.isAlone }) {
                throw NeedletailError(.unavailable, "shard \(assignment.shard) does not know yet who its primary is; try again")
            }
            // What was acknowledged before the read began is committed, but need not be applied.
            sequence = max(sequence, gate.withLock { $0.committed })
        }
        try await waitUntilApplied(sequence, deadline: deadline)
    }
}
