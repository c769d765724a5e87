import NeedletailCore
import NeedletailEtcd
import NeedletailMetadata
import NeedletailTestSupport

/// The stores that have to behave alike.
enum StoreKind: CaseIterable, Sendable {
    case embedded
    case etcd

    /// Runs `body` with a fresh, empty store that has answered once.
    func withStore(_ body: (any MetadataStore) async throws -> Void) async throws {
        switch self {
        case .embedded:
            let directory = TemporaryDirectory()
            let store = try EmbeddedMetadataStore(directory: directory.path)
            try await body(store)
            await store.close()
        case .etcd:
            let processes = try EtcdProcesses()
            try await withEtcdStore(processes.address) { store in
                try await body(store)
            }
        }
    }
}

/// Runs `body` with a store that has answered, or at least refused.
func withEtcdStore(_ address: EtcdAddress, timeout: Duration = .seconds(3), _ body: (EtcdMetadataStore) async throws -> Void) async throws {
    let store = EtcdMetadataStore(address, timeout: timeout)
    do {
        try await eventually {
            do { return try await store.get("ready") == nil } catch let error as NeedletailError { return error.code != .unavailable }
        }
        try await body(store)
    } catch {
        await store.close()
        throw error
    }
    await store.close()
}

/// The code of the error that `body` throws.
func code(_ body: () async throws -> Void) async -> NeedletailError.Code? {
    do { try await body() } catch { return (error as? NeedletailError)?.code }
    return nil
}

extension MetadataStore {
    @discardableResult func put(_ key: String, _ value: [UInt8], lease: MetadataLease? = nil) async throws -> UInt64 {
        try await transact(MetadataTransaction(if: [], [.put(key, value, lease: lease)])).revision
    }

    @discardableResult func delete(_ key: String) async throws -> UInt64 {
        try await transact(MetadataTransaction(if: [], [.delete(key)])).revision
    }

    /// The next `count` changes.
    func changes(_ count: Int, prefix: String = "", after revision: UInt64) async throws -> [MetadataChange] {
        var changes: [MetadataChange] = []
        for try await case .changes(let more, _) in watch(prefix: prefix, after: revision) {
            changes += more
            if changes.count >= count { break }
        }
        return changes
    }
}
