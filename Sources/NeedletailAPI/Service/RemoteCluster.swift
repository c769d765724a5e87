public import NeedletailCore
public import NeedletailGRPC

/// The cluster reached over the network, through any of its coordinators.
public struct RemoteCluster: ClusterOperations {
    let client: GRPCClient
    /// Of calls that only the leader performs.
    let controlMetadata: GRPCMetadata

    /// - Parameter isForwarding: this is a coordinator that passes on what it was asked.
    public init(_ client: GRPCClient, isForwarding: Bool = false) {
        self.client = client
        controlMetadata = isForwarding ? [forwardedKey: "1"] : [:]
    }

    public func createCollection(_ spec: CollectionSpec, deadline: Deadline?) async throws -> CollectionInfo {
        try await client.call(
            PublicMethods.createCollection, PublicMessages.createCollection, spec, PublicMessages.collection, deadline: deadline, metadata: controlMetadata)
    }

    public func collection(_ name: String, deadline: Deadline?) async throws -> CollectionInfo {
        try await client.call(
            PublicMethods.getCollection, PublicMessages.getCollection, name, PublicMessages.collection, deadline: deadline)
    }

    public func collections(deadline: Deadline?) async throws -> [CollectionInfo] {
        try await client.call(
            PublicMethods.listCollections, PublicMessages.listCollections, (), PublicMessages.collections, deadline: deadline)
    }

    public func updateCollection(_ name: String, changes: CollectionChanges, deadline: Deadline?) async throws -> CollectionInfo {
        try await client.call(
            PublicMethods.updateCollection, PublicMessages.updateCollection, (name: name, changes: changes),
            PublicMessages.collection, deadline: deadline, metadata: controlMetadata)
    }

    public func deleteCollection(_ name: String, ignoreMissing: Bool, deadline: Deadline?) async throws -> Bool {
        try await client.call(
            PublicMethods.deleteCollection, PublicMessages.deleteCollection, (name: name, ignoreMissing: ignoreMissing),
            PublicMessages.collectionDeleted, deadline: deadline, metadata: controlMetadata)
    }

    public func train(_ request: CollectionTraining) async throws -> CollectionInfo {
        try await client.call(
            PublicMethods.trainCollection, PublicMessages.trainCollection, request, PublicMessages.collection, deadline: request.deadline,
            metadata: controlMetadata)
    }

    public func get(_ request: PointsGet) async throws -> PointsAnswer {
        try await client.call(
            PublicMethods.get, PublicMessages.getPoints, request, PublicMessages.points, deadline: request.deadline)
    }

    public func count(_ collection: String, read: ReadOptions, deadline: Deadline?) async throws -> CountAnswer {
        try await client.call(
            PublicMethods.count, PublicMessages.count, (collection: collection, read: read), PublicMessages.counted, deadline: deadline)
    }

    public func search(_ request: PointsSearch) async throws -> SearchAnswer {
        if request.queries.count == 1 {
            return try await client.call(
                PublicMethods.search, PublicMessages.search, request, PublicMessages.found, deadline: request.deadline)
        }
        return try await client.call(
            PublicMethods.searchBatch, PublicMessages.searchBatch, request, PublicMessages.batchFound, deadline: request.deadline)
    }

    public func clusterStatus(deadline: Deadline?) async throws -> ClusterStatus {
        try await client.call(
            PublicMethods.status, PublicMessages.clusterStatusRequest, (), PublicMessages.clusterStatus, deadline: deadline)
    }

    public func nodes(deadline: Deadline?) async throws -> [NodeInfo] {
        try await client.call(PublicMethods.nodes, PublicMessages.listNodes, (), PublicMessages.nodes, deadline: deadline)
    }

    public func shards(of collection: String?, deadline: Deadline?) async throws -> [ShardInfo] {
        try await client.call(
            PublicMethods.shards, PublicMessages.listShards, collection, PublicMessages.shards, deadline: deadline)
    }
}
