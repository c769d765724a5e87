public import NIOCore
import NeedletailCore

/// Which handler serves which method. A value, built before the server starts.
public struct GRPCRouter: Sendable {
    public typealias Unary = @Sendable (ByteBuffer, ServerContext) async throws -> ByteBuffer
    public typealias ClientStreaming = @Sendable (RequestStream, ServerContext) async throws -> ByteBuffer
    public typealias ServerStreaming = @Sendable (ByteBuffer, ResponseWriter, ServerContext) async throws -> Void
    public typealias Bidirectional = @Sendable (RequestStream, ResponseWriter, ServerContext) async throws -> Void

    private(set) var routes: [GRPCMethod: Route] = [:]

    public init() {}

    public mutating func unary(_ method: GRPCMethod, _ handler: @escaping Unary) { add(method, .unary(handler)) }

    public mutating func clientStreaming(_ method: GRPCMethod, _ handler: @escaping ClientStreaming) {
        add(method, .clientStreaming(handler))
    }

    public mutating func serverStreaming(_ method: GRPCMethod, _ handler: @escaping ServerStreaming) {
        add(method, .serverStreaming(handler))
    }

    public mutating func bidirectional(_ method: GRPCMethod, _ handler: @escaping Bidirectional) {
        add(method, .bidirectional(handler))
    }

    /// The full names of the services, sorted.
    public func services() -> [String] { Set(routes.keys.map(\.service)).sorted() }

    /// The methods, sorted by path.
    public func methods() -> [GRPCMethod] { routes.keys.sorted { $0.path < $1.path } }

    /// Has every call that is registered so far go through a gate.
    public mutating func guardCalls(by gate: some CallGate) {
        routes = routes.mapValues { Route(method: $0.method, handler: $0.handler.behind(gate), isEntry: $0.isEntry, roles: $0.roles) }
    }

    private mutating func add(_ method: GRPCMethod, _ handler: Handler) {
        precondition(routes[method] == nil, "\(method) is registered twice")
        routes[method] = Route(method: method, handler: handler, isEntry: false, roles: nil)
    }
}

enum Handler: Sendable {
    case unary(GRPCRouter.Unary)
    case clientStreaming(GRPCRouter.ClientStreaming)
    case serverStreaming(GRPCRouter.ServerStreaming)
    case bidirectional(GRPCRouter.Bidirectional)

    /// Whether the handler gets its request as one message.
    var takesOneMessage: Bool {
        switch self {
        case .unary, .serverStreaming: true
        case .clientStreaming, .bidirectional: false
        }
    }

    var writesStream: Bool {
        switch self {
        case .serverStreaming, .bidirectional: true
        case .unary, .clientStreaming: false
        }
    }
}

/// Looks at calls before their handlers run.
public protocol CallGate: Sendable {
    /// Runs the handler, or throws what becomes the call's status.
    /// - Parameter messageBytes: size of the request; nil when it is a stream of messages.
    func pass<Value: Sendable>(_ context: ServerContext, messageBytes: Int?, _ handler: () async throws -> Value) async throws -> Value
}

extension Handler {
    func behind(_ gate: some CallGate) -> Handler {
        switch self {
        case .unary(let handler):
            .unary { message, context in
                try await gate.pass(context, messageBytes: message.readableBytes) { try await handler(message, context) }
            }
        case .clientStreaming(let handler):
            .clientStreaming { requests, context in try await gate.pass(context, messageBytes: nil) { try await handler(requests, context) } }
        case .serverStreaming(let handler):
            .serverStreaming { message, writer, context in
                try await gate.pass(context, messageBytes: message.readableBytes) { try await handler(message, writer, context) }
            }
        case .bidirectional(let handler):
            .bidirectional { requests, writer, context in
                try await gate.pass(context, messageBytes: nil) { try await handler(requests, writer, context) }
            }
        }
    }
}

final class Route: Sendable {
    let method: GRPCMethod
    let handler: Handler
    /// Whether requests of users come in here.
    let isEntry: Bool
    /// What a caller has to be; nil: anybody.
    let roles: NodeRoles?

    init(method: GRPCMethod, handler: Handler, isEntry: Bool, roles: NodeRoles?) {
        self.method = method
        self.handler = handler
        self.isEntry = isEntry
        self.roles = roles
    }

    /// - Returns: nil when the caller may.
    func refusal(of caller: PeerIdentity) -> NeedletailError? {
        guard let roles, !caller.isNode(of: roles) else { return nil }
        let wanted = roles.uris.joined(separator: " or ")
        switch caller {
        case .unencrypted, .anonymous:
            return NeedletailError(
                .unauthenticated,
                "\(method.service) is for processes of the cluster: show a certificate of the nodes' authority that names \(wanted)")
        case .user(let name), .node(_, let name):
            return NeedletailError(
                .permissionDenied,
                "\(method.service) is for processes of the cluster whose certificate is of the nodes' authority and names \(wanted); that of \(name) is none")
        }
    }
}

/// Finds a route by the bytes of its path, without making a string of them: open addressing, half full at most.
struct RouteTable: Sendable {
    private var slots: [(path: [UInt8], route: Route)?]
    private let mask: Int

    init(_ router: GRPCRouter, entries: Set<String> = [], nodesOnly: ((String) -> NodeRoles?)? = nil) {
        var size = 16
        while size < router.routes.count * 2 { size *= 2 }
        slots = Array(repeating: nil, count: size)
        mask = size - 1
        for route in router.routes.values {
            let path = Array(route.method.path.utf8)
            var index = Self.hash(path.span.bytes) & mask
            while slots[index] != nil { index = (index + 1) & mask }
            let service = route.method.service
            slots[index] = (
                path, Route(method: route.method, handler: route.handler, isEntry: entries.contains(service), roles: nodesOnly?(service) ?? nil)
            )
        }
    }

    func find(_ path: RawSpan) -> Route? {
        var index = Self.hash(path) & mask
        while let slot = slots[index] {
            if path.withUnsafeBytes({ slot.path.elementsEqual($0) }) { return slot.route }
            index = (index + 1) & mask
        }
        return nil
    }

    /// FNV-1a. The table is fixed, so a peer that looks for collisions gains nothing.
    private static func hash(_ bytes: RawSpan) -> Int {
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for offset in bytes.byteOffsets {
            hash = (hash ^ UInt64(bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self))) &* 0x100_0000_01b3
        }
        return Int(truncatingIfNeeded: hash ^ hash >> 32)
    }
}
