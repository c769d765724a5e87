public import NeedletailCore
public import NeedletailGRPC

/// A shard worker reached over the network.
public struct RemoteShardWorker: ShardOperations {
    /// At most, for the calls that may carry no deadline of their own. Making a replica waits until it serves, which after a crash means
    /// replaying its log.
    public struct Timeouts: Sendable {
        public var createReplica: Duration = .seconds(600)
        public var dropReplica: Duration = .seconds(60)
        public var status: Duration = .seconds(5)

        public init() {}
    }

    private let client: GRPCClient
    private let timeouts: Timeouts
    private let searches: SearchBundler

    public init(_ client: GRPCClient, timeouts: Timeouts = Timeouts()) {
        self.client = client
        self.timeouts = timeouts
        searches = SearchBundler(client)
    }

    public func write(_ request: ShardWrite) async throws -> WriteReceipt {
        try await client.call(
            InternalMethods.write, InternalMessages.write, request, InternalMessages.written, deadline: request.deadline)
    }

    public func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse { try await searches.search(request) }

    public func get(_ request: ShardGet) async throws -> ShardPoints {
        try await client.call(
            InternalMethods.get, InternalMessages.get, request, InternalMessages.points, deadline: request.deadline)
    }

    public func scroll(_ request: ShardScroll) async throws -> ScrollPage {
        try await client.call(
            InternalMethods.scroll, InternalMessages.scroll, request, InternalMessages.scrollPage, deadline: request.deadline)
    }

    public func count(_ shard: ShardID, within filter: PayloadFilter?, condition: ReadCondition, deadline: Deadline?) async throws -> ShardCount {
        try await client.call(
            InternalMethods.count, InternalMessages.count, (shard: shard, filter: filter, condition: condition), InternalMessages.counted, deadline: deadline)
    }

    public func createReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        try await client.call(
            InternalMethods.createReplica, InternalMessages.assignment, assignment, InternalMessages.empty,
            deadline: Self.sooner(deadline, timeouts.createReplica))
    }

    public func updateReplica(_ assignment: ReplicaAssignment, deadline: Deadline?) async throws {
        try await client.call(
            InternalMethods.updateReplica, InternalMessages.assignment, assignment, InternalMessages.empty,
            deadline: Self.sooner(deadline, timeouts.createReplica))
    }

    public func dropReplica(_ shard: ShardID, deadline: Deadline?) async throws {
        try await client.call(
            InternalMethods.dropReplica, InternalMessages.shard, shard, InternalMessages.empty,
            deadline: Self.sooner(deadline, timeouts.dropReplica))
    }

    public func sample(_ request: ShardSample) async throws -> [UInt8] {
        try await client.call(
            InternalMethods.sample, InternalMessages.sample, request, InternalMessages.sampled, deadline: request.deadline)
    }

    public func train(_ request: CodecTrainingRequest) async throws -> [UInt8] {
        try await client.call(InternalMethods.train, InternalMessages.train, request, InternalMessages.trained, deadline: request.deadline)
    }

    private static func sooner(_ deadline: Deadline?, _ timeout: Duration) -> Deadline {
        let limit = Deadline.after(timeout)
        return deadline.map { min($0, limit) } ?? limit
    }

    public func status() async throws -> NodeStatus {
        try await client.call(
            InternalMethods.status, InternalMessages.empty, (), InternalMessages.nodeStatus, deadline: .after(timeouts.status))
    }
}

/// A coordinator as shard workers see it, over the network.
public struct RemoteMembership: MembershipOperations {
    private let client: GRPCClient
    private let timeout: Duration

    public init(_ client: GRPCClient, timeout: Duration = .seconds(3)) {
        self.client = client
        self.timeout = timeout
    }

    public func heartbeat(_ heartbeat: Heartbeat) async throws -> HeartbeatAnswer {
        try await client.call(
            InternalMethods.heartbeat, InternalMessages.heartbeat, heartbeat, InternalMessages.heartbeatAnswer,
            deadline: .after(timeout))
    }
}
