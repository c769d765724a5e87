public import NeedletailCore
internal import NeedletailGRPC

extension GRPCRouter {
    /// The part of `needletail.v1.Cluster` that is about where replicas are. What only the leader knows or does is passed on to it.
    mutating func registerMoves(_ operations: any MoveOperations) {
        serveControl(PublicMethods.plan, PublicMessages.planRequest, PublicMessages.plan) { _, deadline in try await operations.plan(deadline: deadline) }
        serveControl(PublicMethods.move, PublicMessages.moveOrder, PublicMessages.operation) { order, deadline in
            try await operations.move(order, deadline: deadline)
        }
        serveControl(PublicMethods.splitShard, PublicMessages.splitShard, PublicMessages.operation) { order, deadline in
            try await operations.split(order, deadline: deadline)
        }
        serveControl(PublicMethods.mergeShards, PublicMessages.mergeShards, PublicMessages.operation) { order, deadline in
            try await operations.merge(order, deadline: deadline)
        }
        serveControl(PublicMethods.cancelMove, PublicMessages.cancelMove, PublicMessages.operation) { id, deadline in
            try await operations.cancelMove(id, deadline: deadline)
        }
        serveControl(PublicMethods.drain, PublicMessages.drain, PublicMessages.node) { node, deadline in
            try await operations.drain(node, isDrained: true, deadline: deadline)
        }
        serveControl(PublicMethods.undrain, PublicMessages.undrain, PublicMessages.node) { node, deadline in
            try await operations.drain(node, isDrained: false, deadline: deadline)
        }
        serveControl(PublicMethods.forget, PublicMessages.forget, PublicMessages.node) { node, deadline in
            try await operations.forget(node, deadline: deadline)
        }
        serveControl(PublicMethods.pauseMoves, PublicMessages.pauseMoves, PublicMessages.operations) { _, deadline in
            try await operations.pauseMoves(true, deadline: deadline)
        }
        serveControl(PublicMethods.resumeMoves, PublicMessages.resumeMoves, PublicMessages.operations) { _, deadline in
            try await operations.pauseMoves(false, deadline: deadline)
        }
        serve(PublicMethods.operations, PublicMessages.listOperations, PublicMessages.operations) { _, deadline in
            try await operations.operations(deadline: deadline)
        }
        serve(PublicMethods.events, PublicMessages.listEvents, PublicMessages.events) { after, deadline in
            try await operations.events(after: after, deadline: deadline)
        }
    }
}

extension RemoteCluster {
    public func plan(deadline: Deadline?) async throws -> MovePlan {
        try await client.call(PublicMethods.plan, PublicMessages.planRequest, (), PublicMessages.plan, deadline: deadline, metadata: controlMetadata)
    }

    public func move(_ order: MoveOrder, deadline: Deadline?) async throws -> OperationInfo {
        try await client.call(PublicMethods.move, PublicMessages.moveOrder, order, PublicMessages.operation, deadline: deadline, metadata: controlMetadata)
    }

    public func split(_ order: ShardSplitOrder, deadline: Deadline?) async throws -> OperationInfo {
        try await client.call(
            PublicMethods.splitShard, PublicMessages.splitShard, order, PublicMessages.operation, deadline: deadline, metadata: controlMetadata)
    }

    public func merge(_ order: ShardMergeOrder, deadline: Deadline?) async throws -> OperationInfo {
        try await client.call(
            PublicMethods.mergeShards, PublicMessages.mergeShards, order, PublicMessages.operation, deadline: deadline, metadata: controlMetadata)
    }

    public func cancelMove(_ id: UInt64, deadline: Deadline?) async throws -> OperationInfo {
        try await client.call(
            PublicMethods.cancelMove, PublicMessages.cancelMove, id, PublicMessages.operation, deadline: deadline, metadata: controlMetadata)
    }

    public func drain(_ node: UInt64, isDrained: Bool, deadline: Deadline?) async throws -> NodeInfo {
        let (method, request) = isDrained ? (PublicMethods.drain, PublicMessages.drain) : (PublicMethods.undrain, PublicMessages.undrain)
        return try await client.call(method, request, node, PublicMessages.node, deadline: deadline, metadata: controlMetadata)
    }

    public func forget(_ node: UInt64, deadline: Deadline?) async throws -> NodeInfo {
        try await client.call(PublicMethods.forget, PublicMessages.forget, node, PublicMessages.node, deadline: deadline, metadata: controlMetadata)
    }

    public func pauseMoves(_ isPaused: Bool, deadline: Deadline?) async throws -> OperationList {
        let (method, request) = isPaused ? (PublicMethods.pauseMoves, PublicMessages.pauseMoves) : (PublicMethods.resumeMoves, PublicMessages.resumeMoves)
        return try await client.call(method, request, (), PublicMessages.operations, deadline: deadline, metadata: controlMetadata)
    }

    public func operations(deadline: Deadline?) async throws -> OperationList {
        try await client.call(PublicMethods.operations, PublicMessages.listOperations, (), PublicMessages.operations, deadline: deadline)
    }

    public func events(after number: UInt64, deadline: Deadline?) async throws -> [EventInfo] {
        try await client.call(PublicMethods.events, PublicMessages.listEvents, number, PublicMessages.events, deadline: deadline)
    }
}
