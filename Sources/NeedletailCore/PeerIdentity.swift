/// What processes of a cluster are, as their certificates say: in a URI among the names of the subject, `needletail://shard`.
public struct NodeRoles: OptionSet, Sendable, Hashable {
    public var rawValue: UInt8

    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let coordinator = NodeRoles(rawValue: 1)
    public static let shard = NodeRoles(rawValue: 2)
    public static let any: NodeRoles = [.coordinator, .shard]

    private static let names: [(NodeRoles, String)] = [(.coordinator, "needletail://coordinator"), (.shard, "needletail://shard")]

    /// The names that a certificate of such a process carries.
    public var uris: [String] { Self.names.filter { contains($0.0) }.map(\.1) }

    /// - Parameter uris: of a certificate; those that name no role are for others.
    public init(uris: some Sequence<String>) {
        self = []
        for uri in uris { for (role, name) in Self.names where uri == name { insert(role) } }
    }
}

/// Who is at the other end of a connection, as far as TLS tells.
public enum PeerIdentity: Sendable, Hashable {
    /// The connection is not encrypted; nobody has proved anything.
    case unencrypted
    /// The connection is encrypted, and the peer showed no certificate.
    case anonymous
    /// A certificate that is no node's: the common name of its subject, or else its first name.
    case user(String)
    /// A process of the cluster: a certificate of the nodes' authority that names a role.
    case node(NodeRoles, name: String)

    /// Whether it is a process of the cluster with one of these roles.
    public func isNode(of roles: NodeRoles) -> Bool {
        if case .node(let own, _) = self { !own.isDisjoint(with: roles) } else { false }
    }
}
