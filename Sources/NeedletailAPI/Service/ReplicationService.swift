public import NeedletailCluster
public import NeedletailCore
public import NeedletailGRPC

extension GRPCRouter {
    /// Serves `needletail.internal.v1.Replication`: what shard workers do for each other, and for the leader.
    ///
    /// - Parameter follow: answers a backup that opens a stream, until the stream ends.
    public mutating func registerReplication(
        _ operations: any ReplicationOperations, follow: @escaping @Sendable (FollowRequests, FollowReplies) async throws -> Void
    ) {
        serve(InternalMethods.fence, InternalMessages.fence, InternalMessages.fenced) { request, deadline in
            try await operations.fence(request.shard, request.fence, deadline: deadline)
        }
        serve(InternalMethods.handOver, InternalMessages.handOver, InternalMessages.empty) { request, deadline in
            try await operations.handOver(request.shard, epoch: request.epoch, deadline: deadline)
        }
        serve(InternalMethods.split, InternalMessages.split, InternalMessages.splitProgress) { order, deadline in
            try await operations.split(order, deadline: deadline)
        }
        serve(InternalMethods.merge, InternalMessages.merge, InternalMessages.mergeProgress) { order, deadline in
            try await operations.merge(order, deadline: deadline)
        }
        serve(InternalMethods.beginCopy, InternalMessages.shard, InternalMessages.copyDescription) { shard, deadline in
            try await operations.beginCopy(shard, deadline: deadline)
        }
        serverStreaming(InternalMethods.readCopy) { message, writer, _ in
            let request = try InternalMessages.readCopy.decode(message)
            try await operations.readCopy(request.id, request.name, from: request.offset) { piece in
                try await writer.write(try InternalMessages.copyPiece.encode(piece))
            }
        }
        serve(InternalMethods.digest, InternalMessages.digestRequest, InternalMessages.digest) { request, deadline in
            try await operations.digest(request.shard, at: request.mark, request.scope, deadline: deadline)
        }
        serve(InternalMethods.endCopy, InternalMessages.endCopy, InternalMessages.empty) { id, _ in try await operations.endCopy(id) }
        bidirectional(InternalMethods.follow) { requests, writer, _ in
            try await follow(FollowRequests(stream: requests), FollowReplies(writer: writer))
        }
    }

    /// Serves what the leader does for primaries, beside `registerMembership`.
    public mutating func registerLeader(_ operations: any LeaderOperations) {
        serve(InternalMethods.changeInSync, InternalMessages.proposal, InternalMessages.empty) { request, _ in
            try await operations.propose(request.proposal, for: request.shard, by: request.node)
        }
        serve(InternalMethods.resign, InternalMessages.resignation, InternalMessages.empty) { request, _ in
            try await operations.resign(request.shard, by: request.node, epoch: request.epoch)
        }
    }
}

/// What a backup sends along its stream. One task reads it, once.
public struct FollowRequests: AsyncSequence, Sendable {
    public typealias Element = FollowRequest
    public typealias Failure = any Error

    let stream: RequestStream

    public func makeAsyncIterator() -> Iterator { Iterator(messages: stream.makeAsyncIterator()) }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate var messages: RequestStream.Iterator

        public mutating func next() async throws -> FollowRequest? {
            try await messages.next().map { try InternalMessages.followRequest.decode($0) }
        }
    }
}

/// The way back to a backup: `write` suspends while the backup does not read.
public struct FollowReplies: Sendable {
    let writer: ResponseWriter

    public func write(_ reply: FollowReply) async throws { try await writer.write(try InternalMessages.followReply.encode(reply)) }
}

/// The replication of a shard worker, over the network.
public struct RemoteReplication: ReplicationOperations {
    private let client: GRPCClient

    public init(_ client: GRPCClient) { self.client = client }

    public func fence(_ shard: ShardID, _ fence: Fence, deadline: Deadline?) async throws -> FenceAnswer {
        var answer = try await client.call(
            InternalMethods.fence, InternalMessages.fence, (shard: shard, fence: fence), InternalMessages.fenced, deadline: deadline)
        answer.fence = fence
        return answer
    }

    public func handOver(_ shard: ShardID, epoch: UInt64, deadline: Deadline?) async throws {
        try await client.call(
            InternalMethods.handOver, InternalMessages.handOver, (shard: shard, epoch: epoch), InternalMessages.empty, deadline: deadline)
    }

    public func split(_ order: SplitOrder, deadline: Deadline?) async throws -> SplitProgress {
        try await client.call(InternalMethods.split, InternalMessages.split, order, InternalMessages.splitProgress, deadline: deadline)
    }

    public func merge(_ order: MergeOrder, deadline: Deadline?) async throws -> MergeProgress {
        try await client.call(InternalMethods.merge, InternalMessages.merge, order, InternalMessages.mergeProgress, deadline: deadline)
    }

    public func beginCopy(_ shard: ShardID, deadline: Deadline?) async throws -> CopyDescription {
        try await client.call(InternalMethods.beginCopy, InternalMessages.shard, shard, InternalMessages.copyDescription, deadline: deadline)
    }

    public func readCopy(_ id: UInt64, _ name: String, from offset: UInt64, _ body: (CopyPiece) async throws -> Void) async throws {
        let request = try InternalMessages.readCopy.encode((id: id, name: name, offset: offset))
        for try await message in try await client.serverStreaming(InternalMethods.readCopy, request, options: CallOptions()) {
            try await body(try InternalMessages.copyPiece.decode(answer: message))
        }
    }

    public func digest(_ shard: ShardID, at mark: UInt64, _ scope: ReplicaDigest.Scope, deadline: Deadline?) async throws -> ReplicaDigest {
        try await client.call(
            InternalMethods.digest, InternalMessages.digestRequest, (shard: shard, mark: mark, scope: scope), InternalMessages.digest,
            deadline: deadline)
    }

    public func endCopy(_ id: UInt64) async throws {
        try await client.call(InternalMethods.endCopy, InternalMessages.endCopy, id, InternalMessages.empty, deadline: .after(.seconds(5)))
    }

    /// Opens a stream as a backup.
    public func follow() async throws -> FollowCall { FollowCall(call: try await client.bidirectional(InternalMethods.follow, options: CallOptions())) }
}

/// A backup's side of a stream.
public struct FollowCall: Sendable {
    let call: BidirectionalCall

    public func send(_ request: FollowRequest) async throws { try await call.send(try InternalMessages.followRequest.encode(request)) }

    public func cancel() { call.cancel() }

    /// Reads replies until the primary ends the stream.
    /// - Throws: the status the stream ended with, if it was not OK.
    public func read(_ body: (FollowReply) async throws -> Void) async throws {
        for try await message in call.responses { try await body(try InternalMessages.followReply.decode(answer: message)) }
    }
}

/// The leader as primaries see it, over the network.
public struct RemoteLeader: LeaderOperations {
    private let client: GRPCClient
    private let timeout: Duration

    public init(_ client: GRPCClient, timeout: Duration = .seconds(3)) {
        self.client = client
        self.timeout = timeout
    }

    public func propose(_ proposal: Proposal, for shard: ShardID, by node: NodeID) async throws {
        try await client.call(
            InternalMethods.changeInSync, InternalMessages.proposal, (shard: shard, node: node, proposal: proposal), InternalMessages.empty,
            deadline: .after(timeout))
    }

    public func resign(_ shard: ShardID, by node: NodeID, epoch: UInt64) async throws {
        try await client.call(
            InternalMethods.resign, InternalMessages.resignation, (shard: shard, node: node, epoch: epoch), InternalMessages.empty,
            deadline: .after(timeout))
    }
}
