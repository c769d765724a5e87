import NIOPosix
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

    /// The port coordinators listen on unless told otherwise.
    public static let defaultPort = 7460

    /// `endpoint`: host:port, host alone, or [IPv6 address]:port. The connection is made by the first call, kept, and made again when it
    /// is lost.
    ///
    /// - Throws: `invalidArgument` when the endpoint is none.
    public static func connect(
        _ endpoint: String, configuration: GRPCClientConfiguration = .init()
    ) throws(NeedletailError) -> NeedletailCluster {
        let (host, port) = try parse(endpoint)
        return NeedletailCluster(
            GRPCClient(host: host, port: port, configuration: configuration, group: MultiThreadedEventLoopGroup.singleton))
    }

    private init(_ client: GRPCClient) {
        self.client = client
        operations = RemoteCluster(client)
    }

    /// Opens a stream of writes to one collection.
    public func bulkWriter(collection: String, deadline: Deadline? = nil) async throws -> BulkWriter {
        try await operations.upsertStream(collection: collection, deadline: deadline)
    }

    /// Cancels the calls in flight and closes the connection.
    public func close() async { await client.close() }

    static func parse(_ endpoint: String) throws(NeedletailError) -> (host: String, port: Int) {
        func wrong() -> NeedletailError {
            NeedletailError(.invalidArgument, "an endpoint is HOST:PORT, for example 127.0.0.1:\(defaultPort); got \"\(endpoint)\"")
        }
        var host = endpoint[...]
        var port = defaultPort
        let isBracketed = endpoint.hasPrefix("[")
        if let colon = endpoint.lastIndex(of: ":"), isBracketed ? endpoint[..<colon].hasSuffix("]") : true {
            guard let number = Int(endpoint[endpoint.index(after: colon)...]), (1...65_535).contains(number) else { throw wrong() }
            port = number
            host = endpoint[..<colon]
        }
        if isBracketed {
            guard host.hasSuffix("]") else { throw wrong() }
            host = host.dropFirst().dropLast()
        }
        guard !host.isEmpty, isBracketed || !host.contains(":") else { throw wrong() }
        return (String(host), port)
    }
}
