import NeedletailCore

/// Ordered byte keys to values in one LMDB file, with durable conditional transactions: what the embedded metadata store stands on.
public final class LMDBKeyValueStore: Sendable {
    public enum Operation: Sendable {
        case put(key: [UInt8], value: [UInt8])
        case delete(key: [UInt8])
    }

    /// Holds when the key's value is `value`; nil: when there is none.
    public struct Condition: Sendable {
        public let key: [UInt8]
        public let value: [UInt8]?
        public init(key: [UInt8], value: [UInt8]?) {
            self.key = key
            self.value = value
        }
    }

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

    /// Performs the operations, durably and all or nothing, if every condition holds.
    ///
    /// - Returns: the new revision, or nil when a condition does not hold and nothing was done.
    /// - Throws: `resourceExhausted`, `dataLoss`, or `invalidArgument` for a bad key; nothing was done then.
    public func transact(if conditions: [Condition] = [], _ operations: [Operation]) throws -> UInt64? {
        let holds = { (transaction: LMDBTransaction) in
            try conditions.allSatisfy { try transaction.get($0.key) == $0.value }
        }
        return try environment.write { transaction in
            guard try holds(transaction) else { return nil }
            for operation in operations {
                switch operation {
                case .put(let key, let value): try transaction.put(key, value)
                case .delete(let key): try transaction.delete(key)
                }
            }
            let revision = (try transaction.figure("revision") ?? 0) + 1
            try transaction.setFigure("revision", revision)
            return revision
        }
    }

    /// Writes a consistent copy to a file that does not exist yet.
    public func copy(to target: String) throws { try environment.copy(to: target) }
}
