internal import NeedletailCore
internal import NeedletailStorage
internal import Synchronization

/// The metadata of a cluster with a single coordinator, in one LMDB file beside it: the default, with nothing to install.
///
/// A change takes one sync of the disk on the caller's thread; collections are made and removed rarely enough for that. What watches may
/// still ask for, and leases, are in memory: a lease lasts no longer than the process, and the next one removes the keys that were bound.
public final class EmbeddedMetadataStore: MetadataStore {
    struct State {
        var history: ChangeHistory
        var leases = LeaseTable()
        var waiters: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var nextWaiter: UInt64 = 0
        var isClosed = false
    }

    public let isExclusive = true
    private let store: LMDBKeyValueStore
    private let claim: DirectoryLock
    /// Held over every transaction, so that the history is in their order.
    let state: Mutex<State>

    /// Opens or makes the store in `directory`; one of an older version is brought to this one's format.
    /// - Parameter historyLength: so many transactions can a watch lie behind.
    /// - Throws: `failedPrecondition` when another process uses the folder or a newer version made it, `dataLoss` when the file is damaged,
    ///   what the disk says otherwise.
    public init(directory: String, historyLength: Int = 1000) throws {
        // A second coordinator would answer from a copy of the map that this one changes.
        claim = try Disk.real.lock(directory)
        store = try LMDBKeyValueStore(path: directory + "/metadata.lmdb")
        try StoredValue.prepare(store, location: directory)
        state = Mutex(State(history: ChangeHistory(length: historyLength, revision: try store.revision())))
    }

    public func get(_ key: String) async throws -> MetadataEntry? {
        try endLeases()
        return try store.get(Array(key.utf8)).map { try StoredValue($0).entry(key) }
    }

    public func entries(prefix: String) async throws -> MetadataSnapshot {
        try endLeases()
        let (entries, revision) = try store.scan(prefix: Array(prefix.utf8))
        return MetadataSnapshot(
            entries: try entries.map { try StoredValue($0.value).entry(String(decoding: $0.key, as: UTF8.self)) }, revision: revision)
    }

    public func transact(_ transaction: MetadataTransaction) async throws -> MetadataOutcome {
        try transaction.validate()
        return try state.withLock { state in
            try endLeases(&state)
            for case .put(_, _, let lease?) in transaction.operations { try state.leases.check(lease) }
            return try perform(transaction, &state)
        }
    }

    private func perform(_ transaction: MetadataTransaction, _ state: inout State) throws -> MetadataOutcome {
        var holds = false
        let changes = try store.update { update -> [MetadataChange]? in
            holds = try transaction.comparisons.allSatisfy { try Self.holds($0, update) }
            guard holds else { return nil }
            let changes = try transaction.operations.compactMap { try Self.change($0, update) }
            return changes.isEmpty ? nil : changes
        }
        if let changes, let revision = changes.first?.revision {
            state.leases.bind(transaction.operations)
            state.history.append(changes, revision: revision)
            for waiter in state.waiters.values { waiter.yield() }
        }
        return MetadataOutcome(succeeded: holds, revision: state.history.revision)
    }

    private static func holds(_ comparison: MetadataComparison, _ update: LMDBKeyValueStore.Update) throws -> Bool {
        func stored(_ key: String) throws -> StoredValue? { try update.get(Array(key.utf8)).map(StoredValue.init) }
        switch comparison {
        case .absent(let key): return try stored(key) == nil
        case .value(let key, let value): return try stored(key)?.bytes == value
        case .revision(let key, let revision): return try stored(key)?.revision == revision
        }
    }

    private static func change(_ operation: MetadataOperation, _ update: LMDBKeyValueStore.Update) throws -> MetadataChange? {
        let key = Array(operation.key.utf8)
        switch operation {
        case .put(let name, let value, let lease):
            try update.put(key, StoredValue(revision: update.revision, isLeased: lease != nil, bytes: value).encoded)
            return MetadataChange(key: name, value: value, revision: update.revision)
        case .delete(let name):
            guard try update.get(key) != nil else { return nil }
            try update.delete(key)
            return MetadataChange(key: name, value: nil, revision: update.revision)
        }
    }

    public func close() async {
        state.withLock { state in
            state.isClosed = true
            for waiter in state.waiters.values { waiter.finish() }
        }
    }
}

// MARK: Leases

extension EmbeddedMetadataStore {
    public func grantLease(_ length: Duration) async throws -> MetadataLease { state.withLock { $0.leases.grant(length, now: .now) } }

    public func keepAlive(_ lease: MetadataLease) async throws {
        try state.withLock { state in
            try endLeases(&state)
            try state.leases.renew(lease, now: .now)
        }
    }

    public func revoke(_ lease: MetadataLease) async throws {
        try state.withLock { state in try remove(state.leases.end(lease.id), &state) }
    }

    /// A lease that is over ends when somebody looks: whatever is asked of the store looks first, and a watch wakes up for it.
    func endLeases() throws { try state.withLock { try endLeases(&$0) } }

    private func endLeases(_ state: inout State) throws {
        for lease in state.leases.over(at: .now) { try remove(state.leases.end(lease), &state) }
    }

    private func remove(_ keys: Set<String>, _ state: inout State) throws {
        if keys.isEmpty { return }
        _ = try perform(MetadataTransaction(if: [], keys.sorted().map { .delete($0) }), &state)
    }
}
