/// What somebody may do with a collection or with the cluster; the greater includes the lesser.
public enum Role: UInt8, Sendable, Hashable, Comparable, CaseIterable {
    case read = 1
    case write = 2
    case admin = 3

    public static func < (left: Role, right: Role) -> Bool { left.rawValue < right.rawValue }

    public init?(text: some StringProtocol) {
        guard let found = Self.allCases.first(where: { $0.text == text }) else { return nil }
        self = found
    }

    public var text: String { "\(self)" }
}

/// A role on collections or on the cluster. As text `read:books`, `write:tenant-*`, `admin:*`, `cluster:read` or `cluster:admin`.
public struct Grant: Sendable, Hashable {
    public enum Target: Sendable, Hashable {
        case cluster
        /// A name, or the beginning of names and an asterisk.
        case collections(String)
    }

    public var role: Role
    public var target: Target

    /// - Throws: `invalidArgument` for a pattern that no collection's name can fit, and for a right to write the cluster, which there is not.
    public init(_ role: Role, on target: Target) throws(NeedletailError) {
        switch target {
        case .cluster:
            guard role != .write else {
                throw NeedletailError(.invalidArgument, "the cluster is not written to; grant cluster:read or cluster:admin, or write on a collection")
            }
        case .collections(let pattern):
            let name = pattern.hasSuffix("*") ? pattern.dropLast() : pattern[...]
            guard !pattern.isEmpty, pattern.utf8.count <= Limits.nameBytes + 1, !name.contains("*") else {
                throw NeedletailError(
                    .invalidArgument, "a grant names a collection, or what names begin with and an asterisk at the end, not \"\(pattern)\"")
            }
        }
        self.role = role
        self.target = target
    }

    /// - Throws: `invalidArgument` that shows how a grant is written.
    public init(text: String) throws(NeedletailError) {
        let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        if parts.count == 2, parts[0] == "cluster", let role = Role(text: parts[1]) {
            try self.init(role, on: .cluster)
        } else if parts.count == 2, let role = Role(text: parts[0]) {
            try self.init(role, on: .collections(String(parts[1])))
        } else {
            throw NeedletailError(
                .invalidArgument, "a grant is written read:books, write:tenant-*, admin:*, cluster:read or cluster:admin, not \"\(text)\"")
        }
    }

    public var text: String {
        switch target {
        case .cluster: "cluster:\(role.text)"
        case .collections(let pattern): "\(role.text):\(pattern)"
        }
    }

    public func covers(collection: String) -> Bool {
        guard case .collections(let pattern) = target else { return false }
        return pattern.hasSuffix("*") ? collection.hasPrefix(pattern.dropLast()) : collection == pattern
    }
}

/// What one caller may ask for at once, and how often; nil: no limit of its own.
public struct RequestLimits: Sendable, Hashable {
    /// In the long run, of each coordinator; a second's worth at once.
    public var requestsPerSecond: Double?
    /// Of one message.
    public var requestBytes: Int?
    /// Points or ids of a request, queries of a batch.
    public var batch: Int?
    /// Breadth of a search.
    public var ef: Int?
    /// Points of a query's answer, or of a page of a scroll.
    public var limit: Int?

    public init(requestsPerSecond: Double? = nil, requestBytes: Int? = nil, batch: Int? = nil, ef: Int? = nil, limit: Int? = nil) {
        self.requestsPerSecond = requestsPerSecond
        self.requestBytes = requestBytes
        self.batch = batch
        self.ef = ef
        self.limit = limit
    }

    /// - Throws: `invalidArgument` for a limit that is not above 0.
    public func checked() throws(NeedletailError) -> RequestLimits {
        guard requestsPerSecond.map({ $0 > 0 && $0 < 1e9 }) ?? true, [requestBytes, batch, ef, limit].allSatisfy({ $0.map { $0 > 0 } ?? true }) else {
            throw NeedletailError(.invalidArgument, "a limit is above 0; leave out the limits that are not meant")
        }
        return self
    }

    /// These, and the others where there are none.
    public func orElse(_ others: RequestLimits) -> RequestLimits {
        RequestLimits(
            requestsPerSecond: requestsPerSecond ?? others.requestsPerSecond, requestBytes: requestBytes ?? others.requestBytes,
            batch: batch ?? others.batch, ef: ef ?? others.ef, limit: limit ?? others.limit)
    }
}

/// Everything about a caller that its key or token says.
public struct CallerInfo: Sendable, Hashable {
    public var name: String
    public var grants: [Grant]
    public var filter: PayloadFilter?
    public var limits: RequestLimits
    /// Since 1970; nil: never.
    public var expiresMilliseconds: UInt64?

    public init(
        name: String, grants: [Grant], filter: PayloadFilter? = nil, limits: RequestLimits = RequestLimits(), expiresMilliseconds: UInt64? = nil
    ) {
        self.name = name
        self.grants = grants
        self.filter = filter
        self.limits = limits
        self.expiresMilliseconds = expiresMilliseconds
    }
}

/// A key without what is secret about it.
public struct AccessKeyInfo: Sendable, Hashable {
    public var id: String
    public var caller: CallerInfo
    public var createdMilliseconds: UInt64
    /// To about a minute; nil: not yet.
    public var lastUsedMilliseconds: UInt64?

    public init(id: String, caller: CallerInfo, createdMilliseconds: UInt64, lastUsedMilliseconds: UInt64? = nil) {
        self.id = id
        self.caller = caller
        self.createdMilliseconds = createdMilliseconds
        self.lastUsedMilliseconds = lastUsedMilliseconds
    }
}

/// Keys of callers.
public protocol AccessOperations: Sendable {
    /// - Returns: the key as its holder is to send it, which is known to nobody later, and its description.
    func createKey(_ order: CallerInfo, deadline: Deadline?) async throws -> (key: String, info: AccessKeyInfo)
    func keys(deadline: Deadline?) async throws -> [AccessKeyInfo]
    func revokeKey(_ id: String, deadline: Deadline?) async throws
    func whoAmI(deadline: Deadline?) async throws -> CallerInfo
}
