internal import Logging
internal import NeedletailBackup
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailMetadata
internal import Synchronization

/// Goes on with backups, restores and deletions, on the leader. Whoever leads next finds their step in the metadata, and begins that again.
extension Coordinator {
    /// Until cancelled. Operations do not wait for each other.
    func runBackups(logger: Logger) async {
        await withDiscardingTaskGroup { runs in
            while !Task.isCancelled {
                for operation in dueBackups() {
                    runs.addTask {
                        await self.advance(operation, logger)
                        self.state.withLock { $0.backupRuns[operation.id]?.isRunning = false }
                    }
                }
                await forgetOldBackups()
                try? await Task.sleep(for: .milliseconds(50))
            }
        }
    }

    /// Those to be gone on with now; each is marked as being so.
    private func dueBackups() -> [BackupOperation] {
        guard isLeader else { return [] }
        let now = ContinuousClock.now
        return state.withLock { state in
            let due = state.copy.backups.values.values.filter { operation in
                let run = state.backupRuns[operation.id]
                return !operation.step.hasEnded && run?.isRunning != true && (operation.isCancelled || run.map { $0.pausedUntil <= now } ?? true)
            }
            for operation in due { state.backupRuns[operation.id, default: BackupRun()].isRunning = true }
            return due
        }
    }

    /// As far as it goes: until it ends, somebody cancels it, or this coordinator leads no longer.
    private func advance(_ operation: BackupOperation, _ logger: Logger) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask {
                var operation = operation
                while let next = await self.step(operation, logger) { operation = next }
            }
            group.addTask {
                while !Task.isCancelled, self.mayGoOn(operation) { try? await Task.sleep(for: .milliseconds(50)) }
            }
            await group.next()
            group.cancelAll()
        }
    }

    private func mayGoOn(_ operation: BackupOperation) -> Bool {
        let known = state.withLock { $0.copy.backups.values[operation.key] }
        return isLeader && known.map { $0.isCancelled == operation.isCancelled } ?? false
    }

    /// The operation as it is after one step; nil when there is nothing more to be done now.
    private func step(_ operation: BackupOperation, _ logger: Logger) async -> BackupOperation? {
        guard isLeader, !operation.step.hasEnded, state.withLock({ $0.copy.backups.values[operation.key] }) == operation else { return nil }
        do {
            let next = try await step(of: TracedOperation(operation)) {
                operation.isCancelled ? try await undo(operation, nil) : try await work(operation)
            }
            guard let next else { return nil }
            state.withLock { state in
                state.backupRuns[operation.id]?.failures = 0
                state.backupRuns[operation.id]?.problem = ""
                if next.step != operation.step, !next.step.hasEnded {
                    state.backupRuns[operation.id]?.progress = nil
                    state.backupRuns[operation.id]?.total = nil
                }
            }
            if next.step != operation.step { logger.info("\(Self.account(of: next))", metadata: ["operation": "\(next.key)"]) }
            return next
        } catch {
            return await failed(operation, Self.wrap(error), logger)
        }
    }

    private func work(_ operation: BackupOperation) async throws -> BackupOperation? {
        switch operation.step {
        case .storing: try await storeBackup(operation)
        case .planning: try await planRestore(operation)
        case .filling: try await fillRestore(operation)
        case .copying: try await copyRestore(operation)
        case .removing: try await removeBackup(operation)
        case .done, .cancelled, .failed: nil
        }
    }

    // MARK: Failures

    /// In a row, of what may pass by itself.
    private static let attempts = 10
    private static let pause = Duration.seconds(1)

    private func failed(_ operation: BackupOperation, _ error: NeedletailError, _ logger: Logger) async -> BackupOperation? {
        if Task.isCancelled || !isLeader { return nil }
        let mayPass = [.unavailable, .deadlineExceeded, .aborted, .cancelled, .unknown].contains(error.code)
        let failures = state.withLock { state in
            state.backupRuns[operation.id]?.failures += 1
            state.backupRuns[operation.id]?.problem = error.message
            state.backupRuns[operation.id]?.pausedUntil = .now + Self.pause
            return state.backupRuns[operation.id]?.failures ?? 0
        }
        // A restore waits for workers that are away: it holds nobody up, and can be cancelled.
        if mayPass, failures < Self.attempts || (operation.kind == .restore && error.code == .unavailable) {
            logger.notice("an operation waits: \(error)", metadata: ["operation": "\(operation.key)"])
            return nil
        }
        logger.error("an operation failed: \(error)", metadata: ["operation": "\(operation.key)"])
        do {
            _ = try await undo(operation, error)
        } catch {
            logger.notice("a failed operation cannot be ended yet: \(error)", metadata: ["operation": "\(operation.key)"])
        }
        return nil
    }

    /// Ends the operation. First the collections of a restore are removed, so that their name is free when it has ended; then it is gone on with
    /// as one that was cancelled.
    private func undo(_ operation: BackupOperation, _ failure: NeedletailError?) async throws -> BackupOperation? {
        // Cursors may have been put there since the step began.
        guard let current = state.withLock({ $0.copy.backups.values[operation.key] }), !current.step.hasEnded else { return nil }
        let made = [current.incarnation, current.staging].filter { $0.value != 0 }
        let doomed = state.withLock { Array($0.collections.values) }.filter { made.contains($0.incarnation) && $0.state == .restoring }
        if doomed.isEmpty {
            await cleanUp()
            let next = current.ended(failure)
            return try await store(next, replacing: current) ? next : nil
        }
        let next = current.undone(failure)
        let changes = doomed.map { entry in
            var doomed = entry
            doomed.state = .deleting
            return (entry: doomed, old: entry as CollectionEntry?)
        }
        return try await store(next, replacing: current, changes) ? next : nil
    }

    static func account(of operation: BackupOperation) -> String {
        let what =
            switch operation.kind {
            case .backup: "backup \(operation.name) of collection \(operation.collection) to \(operation.target)"
            case .restore: "restore of backup \(operation.name) from \(operation.target) as collection \(operation.collection)"
            case .deletion: "deletion of backup \(operation.name) in \(operation.target)"
            }
        return "\(what): \(operation.step.name)\(operation.problem.isEmpty ? "" : " (\(operation.problem))")"
    }

    // MARK: Deletion

    private func removeBackup(_ operation: BackupOperation) async throws -> BackupOperation? {
        let removed = try await places.open(operation.target).remove(operation.name)
        var next = operation.done
        (next.figures.progress, next.figures.bytes) = (removed.objects, removed.bytes)
        return try await store(next, replacing: operation) ? next : nil
    }

    /// How many operations that have ended are kept.
    private static let kept = 64

    private func forgetOldBackups() async {
        guard isLeader else { return }
        let ended = state.withLock { state in
            let ended = state.copy.backups.values.values.filter(\.step.hasEnded)
            for operation in ended where state.backupRuns[operation.id]?.isRunning == false { state.backupRuns[operation.id] = nil }
            return ended
        }
        guard ended.count > Self.kept else { return }
        for old in ended.sorted(by: { ($0.changedMilliseconds, $0.id) < ($1.changedMilliseconds, $1.id) }).prefix(ended.count - Self.kept) {
            guard let outcome = try? await transactAsLeader(if: [], [.delete(MetadataCopy.operationsPrefix + old.key)]), outcome.succeeded else { return }
            state.withLock { $0.copy.backups.change(old.key, to: nil, revision: outcome.revision) }
        }
    }

    /// Counts one more shard.
    func progressed(_ operation: BackupOperation, to count: UInt64, of total: UInt64) {
        state.withLock { state in
            state.backupRuns[operation.id]?.progress = count
            state.backupRuns[operation.id]?.total = total
        }
    }

    /// The part of a worker in backups.
    /// - Throws: `unavailable` when it has not been heard of lately.
    func backupWorker(_ node: NodeID) throws(NeedletailError) -> any BackupWorker {
        _ = try worker(node)
        guard let worker = state.withLock({ $0.workers[node]?.backups }) else {
            throw NeedletailError(.unavailable, "shard worker \(node) takes no part in backups")
        }
        return worker
    }
}
