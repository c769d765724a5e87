/// A method of a service, by its full names: `grpc.health.v1.Health` and `Check`.
public struct GRPCMethod: Sendable, Hashable, CustomStringConvertible {
    public let service: String
    public let name: String
    /// What stands in the request's `:path`: `/service/name`.
    public let path: String

    public init(service: String, name: String) {
        self.service = service
        self.name = name
        path = "/\(service)/\(name)"
    }

    public var description: String { path }

    public static func == (left: GRPCMethod, right: GRPCMethod) -> Bool { left.path == right.path }
    public func hash(into hasher: inout Hasher) { hasher.combine(path) }
}
