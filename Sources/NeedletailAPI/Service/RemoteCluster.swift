public import NeedletailCore
public import NeedletailGRPC

/// The cluster reached over the network, through any of its coordinators.
public struct RemoteCluster: ClusterOperations {
    let client: GRPCClient
    private let isForwarding: Bool
    /// Of calls that only the leader performs. What is passed on is done in the name of who asked for it.
    var controlMetadata: GRPCMetadata {
        guard isForwarding else { return [:] }
        var metadata: GRPCMetadata = [forwardedKey: "1"]
        if let authorization = Forwarding.authorization { metadata.append(authorization, for: "authorization") }
        return metadata
    }

    /// - Parameter isForwarding: this is a coordinator that passes on what it was asked.
    public init(_ client: GRPCClient, isForwarding: Bool = false) {
        self.client = client
        self.isForwarding = isForwarding
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

    /// Filters are what a coordinator adds to what callers ask, never what callers send.
    static func refuse(_ filter: PayloadFilter?) throws(NeedletailError) {
        if filter != nil { throw NeedletailError(.unimplemented, "the public API has no payload filter; filters belong to keys and tokens") }
    }

    public func get(_ request: PointsGet) async throws -> PointsAnswer {
        try Self.refuse(request.filter)
        return try await client.call(
            PublicMethods.get, PublicMessages.getPoints, request, PublicMessages.points, deadline: request.deadline)
    }

    public func count(_ collection: String, within filter: PayloadFilter?, read: ReadOptions, deadline: Deadline?) async throws -> CountAnswer {
        try Self.refuse(filter)
        return try await client.call(
            PublicMethods.count, PublicMessages.count, (collection: collection, read: read), PublicMessages.counted, deadline: deadline)
    }

    public func search(_ request: PointsSearch) async throws -> SearchAnswer {
        try Self.refuse(request.filter)
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
