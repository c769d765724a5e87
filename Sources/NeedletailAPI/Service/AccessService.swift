public import NeedletailCore
internal import NeedletailGRPC

extension GRPCRouter {
    /// Serves `needletail.v1.Access`. Keys are in the metadata, which every coordinator may change: nothing is passed on to the leader.
    mutating func registerAccess(_ operations: any AccessOperations) {
        serve(PublicMethods.createKey, PublicMessages.createKey, PublicMessages.keyCreated) { order, deadline in
            try await operations.createKey(order, deadline: deadline)
        }
        serve(PublicMethods.listKeys, PublicMessages.listKeys, PublicMessages.keys) { _, deadline in try await operations.keys(deadline: deadline) }
        serve(PublicMethods.revokeKey, PublicMessages.revokeKey, PublicMessages.keyRevoked) { id, deadline in
            try await operations.revokeKey(id, deadline: deadline)
        }
        serve(PublicMethods.whoAmI, PublicMessages.whoAmI, PublicMessages.caller) { _, deadline in try await operations.whoAmI(deadline: deadline) }
    }
}

extension RemoteCluster {
    public func createKey(_ order: CallerInfo, deadline: Deadline?) async throws -> (key: String, info: AccessKeyInfo) {
        try await client.call(PublicMethods.createKey, PublicMessages.createKey, order, PublicMessages.keyCreated, deadline: deadline)
    }

    public func keys(deadline: Deadline?) async throws -> [AccessKeyInfo] {
        try await client.call(PublicMethods.listKeys, PublicMessages.listKeys, (), PublicMessages.keys, deadline: deadline)
    }

    public func revokeKey(_ id: String, deadline: Deadline?) async throws {
        try await client.call(PublicMethods.revokeKey, PublicMessages.revokeKey, id, PublicMessages.keyRevoked, deadline: deadline)
    }

    public func whoAmI(deadline: Deadline?) async throws -> CallerInfo {
        try await client.call(PublicMethods.whoAmI, PublicMessages.whoAmI, (), PublicMessages.caller, deadline: deadline)
    }
}
