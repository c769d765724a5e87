public import NeedletailCore

/// What a method of the public API asks of its caller.
public struct AccessRule: Sendable, Hashable {
    public enum Scope: Sendable, Hashable {
        /// The role on the collection that the request names.
        case collection
        /// The role on the cluster.
        case cluster
        /// Any role on anything; the answer has only what the caller may see.
        case anything
    }

    public var role: Role
    public var scope: Scope
    /// Whether a caller with a payload filter may, being kept to the points that it admits. What cannot be filtered is refused.
    public var isFilterable: Bool

    private init(_ role: Role, _ scope: Scope, isFilterable: Bool) {
        self.role = role
        self.scope = scope
        self.isFilterable = isFilterable
    }

    /// Whether it changes anything, points included: then it goes to the audit log.
    public var isChange: Bool { role > .read }
    /// Whether it changes anything but points.
    public var isAdministrative: Bool { role == .admin }

    /// By the method's path, `/needletail.v1.Points/Search`; nil: nobody may.
    public static func of(_ path: String) -> AccessRule? { all[path] }

    /// Every method of Proto/needletail/v1; a test compares.
    public static let all: [String: AccessRule] = {
        var rules: [String: AccessRule] = [:]
        func add(_ service: String, _ role: Role, _ scope: Scope, isFilterable: Bool = false, _ methods: String...) {
            for method in methods { rules["/needletail.v1.\(service)/\(method)"] = AccessRule(role, scope, isFilterable: isFilterable) }
        }
        add("Points", .read, .collection, isFilterable: true, "Get", "Scroll", "Count", "Search", "SearchBatch")
        add("Points", .write, .collection, isFilterable: true, "Upsert", "UpsertStream", "Delete", "SetPayload", "OverwritePayload", "DeletePayload")
        add("Collections", .read, .collection, isFilterable: true, "Get")
        add("Collections", .read, .anything, isFilterable: true, "List")
        add("Collections", .admin, .collection, "Update", "Train", "Delete")
        add("Collections", .admin, .cluster, "Create")
        add("Cluster", .read, .cluster, "Status", "Nodes", "Shards", "Plan", "Operations", "Events")
        add("Cluster", .admin, .cluster, "Move", "Split", "Merge", "Cancel", "Drain", "Undrain", "Forget", "Pause", "Resume")
        // Those that only read are told by the caller from where.
        add("Backups", .admin, .cluster, "Create", "Restore", "Delete", "List", "Verify", "Operations", "Cancel")
        add("Access", .admin, .cluster, "CreateKey", "ListKeys", "RevokeKey")
        add("Access", .read, .anything, isFilterable: true, "WhoAmI")
        return rules
    }()
}

extension CallerInfo {
    public func has(_ role: Role, onCollection name: String) -> Bool {
        grants.contains { $0.role >= role && $0.covers(collection: name) } || rulesCluster
    }

    public func hasOnCluster(_ role: Role) -> Bool { grants.contains { $0.role >= role && $0.target == .cluster } }

    /// Who makes keys can do everything anyway.
    private var rulesCluster: Bool { hasOnCluster(.admin) }

    /// Checks all that does not hang on a collection.
    /// - Throws: `permissionDenied`.
    public func check(_ rule: AccessRule, _ path: String) throws(NeedletailError) {
        if filter != nil, !rule.isFilterable {
            throw NeedletailError(
                .permissionDenied, "\(path) concerns all points of a collection, and this key is kept to some by its filter; use a key without filter")
        }
        if rule.scope == .cluster, !hasOnCluster(rule.role) {
            throw NeedletailError(.permissionDenied, "\(path) asks for \"cluster:\(rule.role.text)\", which \"\(name)\" was not granted")
        }
    }

    /// - Throws: `permissionDenied`, whether there is such a collection or not.
    public func check(_ role: Role, onCollection collection: String) throws(NeedletailError) {
        guard has(role, onCollection: collection) else {
            throw NeedletailError(.permissionDenied, "this asks for \"\(role.text):\(collection)\", which \"\(name)\" was not granted")
        }
    }
}
