import CNeedletailMessages
import CProtobufC
public import NeedletailCluster
public import NeedletailCore

/// From a backup to the primary along a stream: the first message says where it stands, later ones how far its disk is.
public enum FollowRequest: Sendable, Equatable {
    case start(ShardID, Follow)
    case durable(UInt64)
}

/// From the primary to a backup along a stream: the first message is an answer, later ones carry records.
public enum FollowReply: Sendable, Equatable {
    case answer(FollowAnswer)
    case records(RecordMessage)
}

/// Records on a stream.
public struct RecordMessage: Sendable, Equatable {
    /// The primary's epoch.
    public var epoch: UInt64
    /// The sequence before the first record.
    public var previous: UInt64
    public var committed: UInt64
    /// Consecutive; none when only `committed` is new, or to say that the primary is there.
    public var records: [LogRecord]

    public init(epoch: UInt64, previous: UInt64, committed: UInt64, records: [LogRecord]) {
        self.epoch = epoch
        self.previous = previous
        self.committed = committed
        self.records = records
    }
}

extension InternalMessages {
    public static let fence = MessageCodec<(shard: ShardID, fence: Fence)>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__FenceRequest.self)
            message.pointee.shard = try arena.shardID(request.shard)
            message.pointee.epoch = request.fence.epoch
            message.pointee.term = request.fence.term
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__FenceRequest>) throws(NeedletailError) in
            (shard: try ShardID(message.pointee.shard), fence: Fence(epoch: message.pointee.epoch, term: message.pointee.term))
        })

    public static let handOver = MessageCodec<(shard: ShardID, epoch: UInt64)>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__HandOverRequest.self)
            message.pointee.shard = try arena.shardID(request.shard)
            message.pointee.epoch = request.epoch
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__HandOverRequest>) throws(NeedletailError) in
            (shard: try ShardID(message.pointee.shard), epoch: message.pointee.epoch)
        })

    /// The asker knows the fence.
    public static let fenced = MessageCodec<FenceAnswer>(
        write: { answer, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__FenceReply.self)
            message.pointee.node = answer.node.value
            message.pointee.last_epoch = answer.lastEpoch
            message.pointee.end = answer.end
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__FenceReply>) in
            FenceAnswer(
                fence: Fence(epoch: 0, term: 0), node: NodeID(message.pointee.node), lastEpoch: message.pointee.last_epoch,
                end: message.pointee.end)
        })

    public static let proposal = MessageCodec<(shard: ShardID, node: NodeID, proposal: Proposal)>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__InSyncProposal.self)
            message.pointee.shard = try arena.shardID(request.shard)
            message.pointee.primary = request.node.value
            message.pointee.epoch = request.proposal.epoch
            message.pointee.version = request.proposal.version
            let nodes = try arena.array(request.proposal.inSync.count, of: UInt64.self)
            for (index, node) in request.proposal.inSync.enumerated() { nodes[index] = node.value }
            (message.pointee.n_in_sync, message.pointee.in_sync) = (request.proposal.inSync.count, nodes)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__InSyncProposal>) throws(NeedletailError) in
            let request = message.pointee
            try limited(request.n_in_sync, Limits.replicasPerShard, "replicas")
            return (
                shard: try ShardID(request.shard), node: NodeID(request.primary),
                proposal: Proposal(
                    epoch: request.epoch, version: request.version, inSync: (0..<request.n_in_sync).map { NodeID(request.in_sync[$0]) })
            )
        })

    public static let resignation = MessageCodec<(shard: ShardID, node: NodeID, epoch: UInt64)>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__Resignation.self)
            message.pointee.shard = try arena.shardID(request.shard)
            message.pointee.node = request.node.value
            message.pointee.epoch = request.epoch
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__Resignation>) throws(NeedletailError) in
            (shard: try ShardID(message.pointee.shard), node: NodeID(message.pointee.node), epoch: message.pointee.epoch)
        })

    public static let followRequest = MessageCodec<FollowRequest>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__FollowRequest.self)
            switch request {
            case .durable(let sequence): message.pointee.durable = sequence
            case .start(let shard, let follow): message.pointee.start = try arena.start(shard, follow)
            }
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__FollowRequest>) throws(NeedletailError) in
            guard let start = message.pointee.start?.pointee else { return .durable(message.pointee.durable) }
            let runs = try messages(start.runs, start.n_runs) { EpochHistory.Run(epoch: $0.pointee.epoch, first: $0.pointee.first) }
            return .start(
                try ShardID(start.shard),
                Follow(
                    stream: StreamID(node: NodeID(start.node), number: start.stream), epoch: start.epoch, promised: start.promised,
                    history: try EpochHistory(base: start.before, runs: runs, end: start.end)))
        })

    public static let followReply = MessageCodec<FollowReply>(
        expectedBytes: { reply in
            guard case .records(let message) = reply else { return 256 }
            return 256 + message.records.reduce(0) { $0 + $1.payload.count + 128 }
        },
        write: { reply, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__FollowReply.self)
            switch reply {
            case .answer(let answer): message.pointee.answer = try arena.answer(answer)
            case .records(let part):
                message.pointee.epoch = part.epoch
                message.pointee.previous = part.previous
                message.pointee.committed = part.committed
                message.pointee.n_records = part.records.count
                message.pointee.records = try arena.list(part.records, arena.record)
            }
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__FollowReply>) throws(NeedletailError) in
            let reply = message.pointee
            if let answer = reply.answer?.pointee {
                switch answer.kind {
                case 1: return .answer(.agreed(at: answer.sequence))
                case 2: return .answer(.transfer)
                case 3: return .answer(.refused(epoch: answer.sequence))
                default: throw NeedletailError(.invalidArgument, "answer \(answer.kind) to a backup is unknown to this version")
                }
            }
            let records = try messages(reply.records, reply.n_records) { record in
                let trace = string(record.pointee.traceparent)
                return LogRecord(
                    sequence: record.pointee.sequence, epoch: record.pointee.epoch, payload: byteArray(record.pointee.payload),
                    traceparent: trace.isEmpty ? nil : trace)
            }
            return .records(RecordMessage(epoch: reply.epoch, previous: reply.previous, committed: reply.committed, records: records))
        })
}

extension MessageArena {
    fileprivate func start(_ shard: ShardID, _ follow: Follow) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__FollowStart> {
        let message = try make(Needletail__Internal__V1__FollowStart.self)
        message.pointee.shard = try shardID(shard)
        message.pointee.node = follow.stream.node.value
        message.pointee.stream = follow.stream.number
        message.pointee.epoch = follow.epoch
        message.pointee.promised = follow.promised
        message.pointee.before = follow.history.base
        message.pointee.end = follow.history.end
        message.pointee.n_runs = follow.history.runs.count
        message.pointee.runs = try list(follow.history.runs) { run throws(NeedletailError) in
            let part = try make(Needletail__Internal__V1__Run.self)
            part.pointee.epoch = run.epoch
            part.pointee.first = run.first
            return part
        }
        return message
    }

    fileprivate func answer(_ answer: FollowAnswer) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__FollowAnswer> {
        let message = try make(Needletail__Internal__V1__FollowAnswer.self)
        switch answer {
        case .agreed(let sequence): (message.pointee.kind, message.pointee.sequence) = (1, sequence)
        case .transfer: message.pointee.kind = 2
        case .refused(let epoch): (message.pointee.kind, message.pointee.sequence) = (3, epoch)
        }
        return message
    }

    fileprivate func record(_ record: LogRecord) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__Record> {
        let message = try make(Needletail__Internal__V1__Record.self)
        message.pointee.sequence = record.sequence
        message.pointee.epoch = record.epoch
        message.pointee.payload = try bytes(record.payload)
        if let trace = record.traceparent { message.pointee.traceparent = try text(trace) }
        return message
    }
}
