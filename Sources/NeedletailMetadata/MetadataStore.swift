/// Where the cluster's decisions are kept: small values under text keys, with one count of changes for all of them.
///
/// Every transaction that changes something has the next **revision**; a value's revision is that of the transaction that set it last. What
/// a call returns is durable. Values carry their own format version.
///
/// Errors: `unavailable` when the store cannot be reached (retry), `unknown` when a transaction's outcome is not known (read again, then
/// decide), `notFound` for a lease that is over (take a new one), `permissionDenied` (the operator).
public protocol MetadataStore: Sendable {
    /// Whether nobody else can change the store while this process has it open.
    var isExclusive: Bool { get }

    /// The value under a key; nil when there is none.
    func get(_ key: String) async throws -> MetadataEntry?

    /// Everything under keys that begin with `prefix`, as of one revision.
    func entries(prefix: String) async throws -> MetadataSnapshot

    /// Performs the changes, all or nothing, if every comparison holds.
    /// - Throws: besides what the protocol says, `invalidArgument` when a key is changed twice.
    func transact(_ transaction: MetadataTransaction) async throws -> MetadataOutcome

    /// What changes under `prefix` after `revision`, without gap or repeat. It goes on by itself after a lost connection.
    ///
    /// One task reads it. It ends after `compacted`, and throws only what no retry can help, or `CancellationError`.
    func watch(prefix: String, after revision: UInt64) -> MetadataWatch

    /// A lease that lasts at least `length` from now, unless it is kept alive.
    func grantLease(_ length: Duration) async throws -> MetadataLease

    /// The lease lasts its whole length again, from some moment after this call began.
    /// - Throws: `notFound` when the lease is over.
    func keepAlive(_ lease: MetadataLease) async throws

    /// Ends a lease now: the keys bound to it are removed. Does nothing when it is over.
    func revoke(_ lease: MetadataLease) async throws

    /// Ends watches and frees what the store holds.
    func close() async
}

extension MetadataStore {
    /// Sets (or with nil removes) the value, if the key's value still is `expected` (nil: absent).
    /// - Returns: false when somebody else was first; nothing has changed then.
    public func replace(_ key: String, expected: [UInt8]?, with value: [UInt8]?) async throws -> Bool {
        let comparison: MetadataComparison = expected.map { .value(key, $0) } ?? .absent(key)
        let change: MetadataOperation = value.map { .put(key, $0) } ?? .delete(key)
        return try await transact(MetadataTransaction(if: [comparison], [change])).succeeded
    }
}

public struct MetadataEntry: Sendable, Equatable {
    public var key: String
    public var value: [UInt8]
    /// Of the transaction that set the value.
    public var revision: UInt64

    public init(key: String, value: [UInt8], revision: UInt64) {
        self.key = key
        self.value = value
        self.revision = revision
    }
}

/// Entries in order of their keys, and the revision as of which they are.
public struct MetadataSnapshot: Sendable, Equatable {
    public var entries: [MetadataEntry]
    public var revision: UInt64

    public init(entries: [MetadataEntry], revision: UInt64) {
        self.entries = entries
        self.revision = revision
    }
}

public enum MetadataComparison: Sendable, Equatable {
    case value(String, [UInt8])
    /// The value's revision.
    case revision(String, UInt64)
    case absent(String)
}

public enum MetadataOperation: Sendable, Equatable {
    /// The key vanishes when the lease ends; one that was bound to another lease no longer is.
    case put(String, [UInt8], lease: MetadataLease? = nil)
    /// Deleting what is not there changes nothing.
    case delete(String)

    public var key: String {
        switch self {
        case .put(let key, _, _), .delete(let key): key
        }
    }
}

public struct MetadataTransaction: Sendable {
    public var comparisons: [MetadataComparison]
    /// At most one a key.
    public var operations: [MetadataOperation]

    public init(if comparisons: [MetadataComparison], _ operations: [MetadataOperation]) {
        self.comparisons = comparisons
        self.operations = operations
    }
}

public struct MetadataOutcome: Sendable, Equatable {
    /// Whether every comparison held, and so every change was made.
    public var succeeded: Bool
    /// Of the store when that was decided.
    public var revision: UInt64

    public init(succeeded: Bool, revision: UInt64) {
        self.succeeded = succeeded
        self.revision = revision
    }
}

public struct MetadataLease: Sendable, Hashable {
    public var id: Int64
    /// What the store grants: at least what was asked for.
    public var length: Duration

    public init(id: Int64, length: Duration) {
        self.id = id
        self.length = length
    }
}

/// A watch's news, in order of revisions; read by one task.
public typealias MetadataWatch = AsyncThrowingStream<MetadataNews, any Error>

public enum MetadataNews: Sendable, Equatable {
    /// One or several whole transactions' changes; a watch resumed after `revision` continues after them.
    case changes([MetadataChange], revision: UInt64)
    /// The store no longer knows what changed after the revision asked for: read the entries anew and watch from theirs. Comes last.
    case compacted
}

public struct MetadataChange: Sendable, Equatable {
    public var key: String
    /// nil: the key was removed.
    public var value: [UInt8]?
    public var revision: UInt64

    public init(key: String, value: [UInt8]?, revision: UInt64) {
        self.key = key
        self.value = value
        self.revision = revision
    }
}
