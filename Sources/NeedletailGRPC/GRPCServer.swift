public import Logging
public import NIOCore
import NIOPosix
import NeedletailCore
import NeedletailHTTP2
import NeedletailTelemetry
import Synchronization

/// A gRPC server on one port.
///
/// Handlers run as tasks on their connection's event loop: a unary call needs no change of threads. Work that takes long belongs on
/// other threads; the loop serves other calls while a handler waits for them.
public final class GRPCServer: Sendable {
    let configuration: GRPCServerConfiguration
    let routes: RouteTable
    let budget: MemoryBudget
    let responseBudget: MemoryBudget
    let logger: Logger?
    private let group: any EventLoopGroup
    private let registry: ConnectionRegistry
    private let listener = Mutex<(any Channel)?>(nil)

    public init(configuration: GRPCServerConfiguration, router: GRPCRouter, group: any EventLoopGroup, logger: Logger? = nil) {
        self.configuration = configuration
        self.group = group
        self.logger = logger
        let nodesOnly = configuration.tls == nil ? nil : configuration.nodesOnly
        routes = RouteTable(router, entries: configuration.tracing?.entryServices ?? [], nodesOnly: nodesOnly)
        budget = MemoryBudget(limit: configuration.maxBufferedRequestBytes)
        responseBudget = MemoryBudget(limit: configuration.maxBufferedResponseBytes)
        registry = ConnectionRegistry(limit: configuration.maxConnections)
    }

    /// Open connections.
    public var connectionCount: Int { registry.count }

    /// Listens; returns the address, with the port that was chosen. Throws `unavailable` when the port is taken.
    public func start() async throws -> SocketAddress {
        let bootstrap = ServerBootstrap(group: group)
            .serverChannelOption(.backlog, value: 1024)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelOption(.tcpOption(.tcp_nodelay), value: 1)
            .childChannelOption(
                .recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 8192, maximum: 256 << 10)
            )
            .childChannelOption(.writeBufferWaterMark, value: .init(low: 128 << 10, high: 512 << 10))
            .childChannelInitializer { channel in channel.eventLoop.makeCompletedFuture { try self.accept(channel) } }
        do {
            let channel = try await bootstrap.bind(host: configuration.host, port: configuration.port).get()
            listener.withLock { $0 = channel }
            guard let address = channel.localAddress else { throw NeedletailError(.internal, "The listener has no address.") }
            logger?.info("gRPC server listens", metadata: ["address": "\(address)"])
            return address
        } catch {
            throw NeedletailError(
                .unavailable,
                "Cannot listen on \(configuration.host):\(configuration.port). Check that the port is free and the address ours.",
                cause: error)
        }
    }

    /// Serves one connection; a fuzzer gives it channels without a socket.
    package func accept(_ channel: any Channel) throws {
        let tls = try configuration.tls?.install(in: channel.pipeline, host: configuration.host)
        let connection = try ServerConnection(self, registry: registry, eventLoop: channel.eventLoop, tls: tls)
        guard registry.add(connection) else {
            // Never opened, so it would never be closed: adding it to a pipeline that fails is what ends it.
            try channel.pipeline.syncOperations.addHandler(connection.http2)
            logger?.warning("connection refused: too many are open", metadata: ["limit": "\(configuration.maxConnections)"])
            throw NeedletailError(.resourceExhausted, "The server has \(configuration.maxConnections) connections. Retry later.")
        }
        do {
            try channel.pipeline.syncOperations.addHandler(connection.http2)
        } catch {
            registry.remove(connection)
            throw error
        }
    }

    /// Stops listening, lets calls in flight end for up to `grace`, then ends them with `unavailable`.
    public func shutdown(grace: Duration) async {
        let channel = listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        try? await channel?.close().get()
        for connection in registry.close() { connection.drain() }
        let loop = group.next()
        await registry.waitUntilEmpty(atMost: grace, on: loop)
        for connection in registry.open { connection.close() }
        // Long enough for a last flush; peers that do not read are cut off by the connection itself.
        await registry.waitUntilEmpty(atMost: .seconds(3), on: loop)
    }
}
