import NeedletailCore

/// Ordered byte keys to values in one LMDB file, with durable transactions: what the embedded metadata store stands on.
public final class LMDBKeyValueStore: Sendable {
    private let environment: LMDBEnvironment

    /// Opens or creates the file at `path`, and its directory.
    public init(path: String, initialMapBytes: Int = 64 << 20, disk: Disk = .real) throws {
        if let slash = path.lastIndex(of: "/"), slash != path.startIndex { try disk.createDirectory(String(path[..<slash])) }
        environment = try LMDBEnvironment(path: path, mapBytes: initialMapBytes, disk: disk)
    }

    public func get(_ key: [UInt8]) throws -> [UInt8]? { try environment.read { try $0.get(key) } }

    /// The entries whose keys begin with `prefix`, in key order, at most `limit`, after the key `after` if given; and the revision of
    /// the snapshot they come from.
    public func scan(
        prefix: [UInt8], after: [UInt8]? = nil, limit: Int = .max
    ) throws -> (entries: [(key: [UInt8], value: [UInt8])], revision: UInt64) {
        try environment.read { transaction in
            var entries: [(key: [UInt8], value: [UInt8])] = []
            if limit > 0 {
                try transaction.scan(from: after ?? prefix, inclusive: after == nil) { key, value in
                    guard key.starts(with: prefix) else { return false }
                    entries.append((key, value))
                    return entries.count < limit
                }
            }
            return (entries, try transaction.figure("revision") ?? 0)
        }
    }

    /// The number of transactions that took effect.
    public func revision() throws -> UInt64 { try environment.read { try $0.figure("revision") ?? 0 } }

    /// Reads and changes within one transaction, which is durable when this returns. `body` may run more than once.
    ///
    /// - Parameter body: nil when it changed nothing; the revision stays then.
    /// - Throws: `resourceExhausted`, `dataLoss`, `invalidArgument` for a bad key, or what `body` throws; nothing was done then.
    public func update<Result>(_ body: (Update) throws -> Result?) throws -> Result? {
        try environment.write { transaction in
            let revision = (try transaction.figure("revision") ?? 0) + 1
            guard let result = try body(Update(transaction: transaction, revision: revision)) else { return nil }
            try transaction.setFigure("revision", revision)
            return result
        }
    }

    /// The store within one call of `update`.
    public struct Update {
        fileprivate let transaction: LMDBTransaction
        /// That of the store once this transaction has changed it.
        public let revision: UInt64

        public func get(_ key: [UInt8]) throws -> [UInt8]? { try transaction.get(key) }
        public func put(_ key: [UInt8], _ value: [UInt8]) throws { try transaction.put(key, value) }
        public func delete(_ key: [UInt8]) throws { try transaction.delete(key) }

        /// Every entry, in key order.
        public func entries() throws -> [(key: [UInt8], value: [UInt8])] {
            var entries: [(key: [UInt8], value: [UInt8])] = []
            try transaction.scan(from: nil, inclusive: true) { key, value in
                entries.append((key, value))
                return true
            }
            return entries
        }

        /// The format of what the caller keeps here; nil before it was set.
        public func format() throws -> UInt64? { try transaction.figure("format") }
        public func setFormat(_ format: UInt64) throws { try transaction.setFigure("format", format) }
    }

    /// Writes a consistent copy to a file that does not exist yet.
    public func copy(to target: String) throws { try environment.copy(to: target) }
}
