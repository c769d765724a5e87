@_exported public import NeedletailAPI
@_exported public import NeedletailCore
public import NeedletailGRPC

/// A cluster, reached through one of its coordinators.
///
///     let cluster = try NeedletailCluster.connect("127.0.0.1:7460")
///     let answer = try await cluster.operations.search(
///         PointsSearch(collection: "books", queries: [NamedQuery(vector: DenseVector([0.1, 0.2]))], deadline: .after(.seconds(1))))
///     await cluster.close()
public struct NeedletailCluster: Sendable {
    /// Everything the cluster does: `ClusterOperations`, and streams of writes and of points.
    public let operations: RemoteCluster
    private let client: GRPCClient
    private let threads: TransportThreads

    /// The port coordinators listen on unless told otherwise.
    public static let defaultPort = 7460

    /// `endpoint`: host:port, host alone, or [IPv6 address]:port, with TLS https:// before it. The connection is made by the first call, kept,
    /// and made again when it is lost.
    ///
    /// - Throws: `invalidArgument` when the endpoint is none, or a file of TLS is no good.
    public static func connect(
        _ endpoint: String, security: ClientSecurity = .init(), configuration: GRPCClientConfiguration = .init()
    ) throws(NeedletailError) -> NeedletailCluster {
        let (address, tls) = try security.connection(to: endpoint)
        let (host, port) = try Endpoint.parse(address, defaultPort: defaultPort)
        var configuration = configuration
        configuration.tls = tls ?? configuration.tls
        try configuration.authorize(keyFile: security.apiKeyFile)
        let threads = TransportThreads(count: 1)
        let client = GRPCClient(host: host, port: port, configuration: configuration, group: threads.group)
        return NeedletailCluster(client, threads)
    }

    private init(_ client: GRPCClient, _ threads: TransportThreads) {
        self.client = client
        self.threads = threads
        operations = RemoteCluster(client)
    }

    /// Opens a stream of writes to one collection.
    public func bulkWriter(collection: String, deadline: Deadline? = nil) async throws -> BulkWriter {
        try await operations.upsertStream(collection: collection, deadline: deadline)
    }

    /// Cancels the calls in flight and closes the connection.
    public func close() async {
        await client.close()
        await threads.shutdown()
    }
}
