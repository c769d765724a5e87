import NIOCore
public import NeedletailClient
public import NeedletailCore
import NeedletailGRPC
import NeedletailHTTP2
import Synchronization

/// Where a load process waits for conductors, and who they have to be.
public struct AgentDoor: Sendable {
    /// host:port
    public var address: String
    /// Whether it may listen for others without TLS.
    public var isInsecure: Bool
    /// Files in PEM, all or none: what it shows, and who signs the certificates that conductors have to show.
    public var certificate: String?
    public var key: String?
    public var authority: String?

    public init(address: String, isInsecure: Bool = false, certificate: String? = nil, key: String? = nil, authority: String? = nil) {
        (self.address, self.isInsecure, self.certificate, self.key, self.authority) = (address, isInsecure, certificate, key, authority)
    }

    /// nil: without.
    fileprivate var tls: ConnectionTLS? {
        get throws(NeedletailError) {
            let given = [certificate, key, authority].compactMap(\.self)
            guard !given.isEmpty else { return nil }
            guard given.count == 3 else {
                throw NeedletailError(.invalidArgument, "--listen-certificate, --listen-key and --listen-authority go together; give all three, or none")
            }
            guard !isInsecure else { throw NeedletailError(.invalidArgument, "with --listen-certificate nothing is insecure; leave --insecure out") }
            let files = try TLSFiles(prefix: "listen", certificate: certificate, key: key, authority: authority)
            return .server(try TLSCredentials(files, uses: [.nodesPort]), .nodesPort)
        }
    }
}

/// A load process that waits for a conductor's orders. It serves one conductor at a time: the next one's preparation takes the place of what
/// was before, unless that is under way.
public final class AgentServer: Sendable {
    private let server: GRPCServer
    private let threads = TransportThreads(count: 1)
    private let desk: AgentDesk

    /// - Parameter security: how to reach the cluster.
    /// - Throws: `invalidArgument` for a door that cannot be, or that others than conductors could come in by.
    public init(_ door: AgentDoor, security: ClientSecurity, say: @escaping @Sendable (String) -> Void) throws(NeedletailError) {
        var configuration = GRPCServerConfiguration()
        (configuration.host, configuration.port) = try Endpoint.parse(door.address, defaultPort: AgentProtocol.defaultPort)
        configuration.tls = try door.tls
        guard configuration.tls != nil || door.isInsecure || Endpoint.isLoopback(configuration.host) else {
            throw NeedletailError(
                .invalidArgument,
                "whoever reaches the port of a load process can have it send load: it listens on \(configuration.host) only with --listen-certificate, "
                    + "--listen-key and --listen-authority, or on a network of your own with --insecure")
        }
        desk = AgentDesk(security: security, say: say)
        server = GRPCServer(configuration: configuration, router: desk.router, group: threads.group)
    }

    /// Listens; returns the port.
    public func start() async throws -> Int { try await server.listen() }

    public func close() async {
        await desk.stop()
        await server.shutdown(grace: .seconds(2))
        await desk.close()
        await threads.shutdown()
    }
}

/// Takes a conductor's orders and hands them to the load process.
private final class AgentDesk: Sendable {
    private struct State {
        var agent: LocalAgent?
        var isRunning = false
    }

    private let state = Mutex(State())
    private let security: ClientSecurity
    private let say: @Sendable (String) -> Void

    init(security: ClientSecurity, say: @escaping @Sendable (String) -> Void) {
        self.security = security
        self.say = say
    }

    /// Handlers run on the connection's event loop, where nothing may take long: the work is done elsewhere.
    var router: GRPCRouter {
        var router = GRPCRouter()
        router.unary(AgentProtocol.prepare) { message, _ in
            let order = try AgentProtocol.decode(PrepareOrder.self, message)
            let prepared = try await withTaskExecutorPreference(globalConcurrentExecutor) { try await self.prepare(order) }
            return try AgentProtocol.encode(prepared)
        }
        router.serverStreaming(AgentProtocol.run) { message, writer, _ in
            let order = try AgentProtocol.decode(SegmentOrder.self, message)
            try await withTaskExecutorPreference(globalConcurrentExecutor) {
                // A conductor that went away is noticed by the call, which is cancelled then.
                try await self.run(order) { slices in
                    guard let part = try? AgentProtocol.encode(slices) else { return }
                    try? await writer.write(part)
                }
            }
        }
        router.unary(AgentProtocol.stop) { _, _ in
            await self.stop()
            return ByteBuffer()
        }
        router.unary(AgentProtocol.close) { _, _ in
            await self.close()
            return ByteBuffer()
        }
        return router
    }

    private func prepare(_ order: PrepareOrder) async throws -> Prepared {
        let isRunning = state.withLock(\.isRunning)
        guard !isRunning else { throw NeedletailError(.failedPrecondition, "another run is under way there; wait for its end") }
        await close()
        say("\(order.scenario.name): process \(order.process + 1) of \(order.processes)")
        let agent = LocalAgent(security: security)
        let prepared = try await agent.prepare(order)
        state.withLock { $0.agent = agent }
        return prepared
    }

    private func run(_ order: SegmentOrder, _ receive: @escaping @Sendable ([Slice]) async -> Void) async throws {
        let agent = try state.withLock { state throws(NeedletailError) in
            guard let agent = state.agent, !state.isRunning else {
                throw NeedletailError(.failedPrecondition, "the load process is not prepared, or runs already; start the run again")
            }
            state.isRunning = true
            return agent
        }
        defer { state.withLock { $0.isRunning = false } }
        try await agent.run(order, receive: receive)
    }

    func stop() async { await state.withLock(\.agent)?.stop() }

    func close() async {
        let agent = state.withLock { $0.agent.take() }
        guard let agent else { return }
        await agent.stop()
        await agent.close()
    }
}
