import NeedletailCore
import Synchronization

/// The payloads of one replica as of its last checkpoint: ordered byte keys to opaque bytes, in one LMDB file that also holds the
/// checkpoint's sequence number.
///
/// The file is made by the first commit: an unused store costs nothing. Reads may run on any thread beside a commit.
public final class PayloadStore: Sendable {
    public let path: String
    private let disk: Disk
    private let initialMapBytes: Int
    private let environment = Mutex<LMDBEnvironment?>(nil)
    private let isClosed = Atomic<Bool>(false)

    /// A store in the file at `path` (LMDB adds `path-lock`). Its directory must exist by the first commit.
    public init(path: String, initialMapBytes: Int = 1 << 30, disk: Disk = .real) {
        self.path = path
        self.initialMapBytes = initialMapBytes
        self.disk = disk
    }

    /// The environment; nil when there is no file and none is to be made.
    private func opened(creating: Bool) throws -> LMDBEnvironment? {
        try environment.withLock { environment in
            if let environment { return environment }
            guard !isClosed.load(ordering: .acquiring) else {
                throw NeedletailError(.unavailable, "The payloads were closed; ask again.", location: path)
            }
            guard creating || disk.exists(path) else { return nil }
            let made = try LMDBEnvironment(path: path, mapBytes: initialMapBytes, disk: disk)
            environment = made
            return made
        }
    }

    /// Closes the file once those who read it are done. Whoever asks later is refused.
    public func close() {
        environment.withLock { environment in
            isClosed.store(true, ordering: .releasing)
            environment?.close()
        }
    }

    /// Stores the changes (a nil value deletes) and `sequence`, durably and all or nothing.
    ///
    /// - Throws: `resourceExhausted` for a full disk, `dataLoss` for a damaged file, `invalidArgument` for a key that is empty or
    ///   longer than 511 bytes. The store is then as before.
    public func commit(sequence: UInt64, changes: some Sequence<(key: [UInt8], value: [UInt8]?)>) throws {
        guard let environment = try opened(creating: true) else { return }
        // The transaction may run twice (the map grows in between), a sequence perhaps only once. Key order makes LMDB's splits cheap.
        let changes = changes.sorted { $0.key.lexicographicallyPrecedes($1.key) }
        try environment.write { transaction in
            for change in changes {
                if let value = change.value { try transaction.put(change.key, Checked.seal(value)) } else { try transaction.delete(change.key) }
            }
            try transaction.setFigure("sequence", sequence)
        }
    }

    /// The sequence of the last commit; nil before the first.
    public func sequence() throws -> UInt64? { try opened(creating: false)?.read { try $0.figure("sequence") } }

    public func count() throws -> Int { try opened(creating: false)?.read { try $0.count() } ?? 0 }

    public func get(_ key: [UInt8]) throws -> [UInt8]? {
        try opened(creating: false)?.read { try $0.get(key).map { try Checked.open($0, location: path) } }
    }

    /// The values of several keys, in their order, from one snapshot.
    public func get(_ keys: [[UInt8]]) throws -> [[UInt8]?] {
        try opened(creating: false)?.read { transaction in try keys.map { try transaction.get($0).map { try Checked.open($0, location: path) } } }
            ?? [[UInt8]?](repeating: nil, count: keys.count)
    }

    /// Calls `body` for at most `limit` entries in key order, beginning after `key` (nil: at the first).
    public func scan(after key: [UInt8]?, limit: Int, _ body: (_ key: [UInt8], _ value: [UInt8]) throws -> Void) throws {
        guard limit > 0 else { return }
        var left = limit
        try opened(creating: false)?.read { transaction in
            try transaction.scan(from: key, inclusive: false) { key, value in
                try body(key, Checked.open(value, location: path))
                left -= 1
                return left > 0
            }
        }
    }

    /// Writes a consistent copy to a file that does not exist yet; nothing when there is no file here either.
    public func copy(to target: String) throws { try opened(creating: false)?.copy(to: target) }

    /// What the entries take, without what a file has room for.
    public func dataBytes() throws -> Int { try opened(creating: false)?.read { try $0.dataBytes() } ?? 0 }

    /// The file's size; 0 without a file.
    public func sizeBytes() throws -> Int { disk.exists(path) ? try disk.sizeBytes(path) : 0 }
}
