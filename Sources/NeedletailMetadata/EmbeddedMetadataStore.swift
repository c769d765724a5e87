internal import NeedletailCore
internal import NeedletailStorage

/// The metadata of a cluster with a single coordinator, in one LMDB file beside it: the default, with nothing to install.
///
/// A change takes one sync of the disk on the caller's thread; collections are made and removed rarely enough for that.
public final class EmbeddedMetadataStore: MetadataStore {
    private let store: LMDBKeyValueStore
    private let claim: DirectoryLock

    /// Opens or makes the store in `directory`.
    /// - Throws: `failedPrecondition` when another process uses the folder, `dataLoss` when the file is damaged, what the disk says otherwise.
    public init(directory: String) throws {
        // A second coordinator would answer from a copy of the map that this one changes.
        claim = try Disk.real.lock(directory)
        store = try LMDBKeyValueStore(path: directory + "/metadata.lmdb")
    }

    public func get(_ key: String) async throws -> [UInt8]? { try store.get(Array(key.utf8)) }

    public func entries(prefix: String) async throws -> [MetadataEntry] {
        try store.scan(prefix: Array(prefix.utf8)).entries.map { MetadataEntry(key: String(decoding: $0.key, as: UTF8.self), value: $0.value) }
    }

    public func replace(_ key: String, expected: [UInt8]?, with value: [UInt8]?) async throws -> Bool {
        let bytes = Array(key.utf8)
        let operation: LMDBKeyValueStore.Operation = value.map { .put(key: bytes, value: $0) } ?? .delete(key: bytes)
        return try store.transact(if: [.init(key: bytes, value: expected)], [operation]) != nil
    }
}
