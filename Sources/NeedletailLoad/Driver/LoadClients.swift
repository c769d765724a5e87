import NIOCore
import NeedletailClient
import NeedletailGRPC
import NeedletailHTTP2
import Synchronization

/// The connections of a load process. Each is a client of its own, and its calls run on its event loop.
final class LoadClients: Sendable {
    struct Connection: Sendable {
        let operations: RemoteCluster
        let executor: LoopExecutor
        fileprivate let client: GRPCClient
    }

    private let connections: [Connection]
    private let threads: TransportThreads
    private let turn = Atomic<Int>(0)

    init(endpoints: [String], security: ClientSecurity, connections count: Int, threads threadCount: Int) async throws {
        let threads = TransportThreads(count: min(threadCount, count))
        var connections: [Connection] = []
        for number in 0..<count {
            let (address, tls) = try security.connection(to: endpoints[number % endpoints.count])
            let (host, port) = try Endpoint.parse(address, defaultPort: NeedletailCluster.defaultPort)
            var configuration = GRPCClientConfiguration()
            configuration.tls = tls
            // What waits is for the load process to decide, not for the transport; and a server that is back is to be noticed at once.
            configuration.maxPendingCalls = 1 << 20
            configuration.maxBackoff = .milliseconds(200)
            try configuration.authorize(keyFile: security.apiKeyFile)
            let client = GRPCClient(host: host, port: port, configuration: configuration, group: threads.group)
            let loop = client.eventLoop
            let executor = try await loop.submit { LoopExecutor.on(loop) }.get()
            connections.append(Connection(operations: RemoteCluster(client), executor: executor, client: client))
        }
        self.connections = connections
        self.threads = threads
    }

    /// The one whose turn it is.
    var next: Connection { connections[turn.wrappingAdd(1, ordering: .relaxed).oldValue % connections.count] }

    func close() async {
        for connection in connections { await connection.client.close() }
        await threads.shutdown()
    }
}
