public import NeedletailAPI
public import NeedletailCore
internal import NeedletailGRPC

/// A connection to a cluster: the public API over the network.
public final class NeedletailCluster: ClusterOperations {
    private let threads: TransportThreads
    private let client: GRPCClient
    private let remote: RemoteCluster

    /// - Parameter endpoint: host:port of a coordinator. The connection is made with the first call.
    public init(endpoint: String) throws {
        let (host, port) = try Endpoint.parse(endpoint)
        threads = TransportThreads(count: 1)
        client = GRPCClient(host: host, port: port, group: threads.group)
        remote = RemoteCluster(client)
    }

    public func close() async {
        await client.close()
        await threads.shutdown()
    }

    /// Writes many points through one stream.
    public func bulkWriter(collection: String) async throws -> BulkWriter { try await remote.upsertStream(collection: collection) }

    public func createCollection(_ spec: CollectionSpec, deadline: Deadline?) async throws -> CollectionInfo {
        try await remote.createCollection(spec, deadline: deadline)
    }
    public func collection(_ name: String, deadline: Deadline?) async throws -> CollectionInfo { try await remote.collection(name, deadline: deadline) }
    public func collections(deadline: Deadline?) async throws -> [CollectionInfo] { try await remote.collections(deadline: deadline) }
    public func updateCollection(_ name: String, durability: Durability?, deadline: Deadline?) async throws -> CollectionInfo {
        try await remote.updateCollection(name, durability: durability, deadline: deadline)
    }
    public func deleteCollection(_ name: String, ignoreMissing: Bool, deadline: Deadline?) async throws -> Bool {
        try await remote.deleteCollection(name, ignoreMissing: ignoreMissing, deadline: deadline)
    }
    public func write(_ request: PointsWrite) async throws -> WriteSummary { try await remote.write(request) }
    public func get(_ request: PointsGet) async throws -> PointsAnswer { try await remote.get(request) }
    public func scroll(_ request: PointsScroll) async throws -> NamedScrollPage { try await remote.scroll(request) }
    public func count(_ collection: String, deadline: Deadline?) async throws -> CountAnswer { try await remote.count(collection, deadline: deadline) }
    public func search(_ request: PointsSearch) async throws -> SearchAnswer { try await remote.search(request) }
    public func clusterStatus(deadline: Deadline?) async throws -> ClusterStatus { try await remote.clusterStatus(deadline: deadline) }
    public func nodes(deadline: Deadline?) async throws -> [NodeInfo] { try await remote.nodes(deadline: deadline) }
    public func shards(of collection: String?, deadline: Deadline?) async throws -> [ShardInfo] { try await remote.shards(of: collection, deadline: deadline) }
}
