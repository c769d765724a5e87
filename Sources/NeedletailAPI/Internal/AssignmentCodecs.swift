import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension InternalMessages {
    public static let assignment = MessageCodec<ReplicaAssignment>(
        write: { assignment, arena throws(NeedletailError) in try arena.assignment(assignment) },
        read: { message throws(NeedletailError) in try ReplicaAssignment(message) })

    public static let nodeStatus = MessageCodec<NodeStatus>(
        write: { status, arena throws(NeedletailError) in try arena.nodeStatus(status) },
        read: { message throws(NeedletailError) in try NodeStatus(message) })

    public static let heartbeat = MessageCodec<Heartbeat>(
        write: { heartbeat, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__HeartbeatRequest.self)
            message.pointee.node = heartbeat.node
            message.pointee.address = try arena.text(heartbeat.address)
            message.pointee.cluster = heartbeat.cluster
            message.pointee.status = try arena.nodeStatus(heartbeat.status)
            message.pointee.draining = heartbeat.isDraining ? 1 : 0
            message.pointee.facts = try arena.facts(heartbeat.facts)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__HeartbeatRequest>) throws(NeedletailError) in
            let heartbeat = message.pointee
            return Heartbeat(
                node: heartbeat.node, address: string(heartbeat.address), cluster: heartbeat.cluster,
                status: try NodeStatus(try need(heartbeat.status, "status")), isDraining: heartbeat.draining != 0,
                facts: heartbeat.facts.map { NodeFacts($0) } ?? NodeFacts())
        })

    public static let heartbeatAnswer = MessageCodec<HeartbeatAnswer>(
        write: { answer, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__HeartbeatReply.self)
            message.pointee.cluster = answer.cluster
            message.pointee.n_assignments = answer.assignments.count
            message.pointee.assignments = try arena.list(answer.assignments, arena.assignment)
            message.pointee.n_models = answer.models.count
            message.pointee.models = try arena.list(answer.models, arena.model)
            if let leadership = answer.leadership {
                message.pointee.leader = 1
                message.pointee.term = leadership.term
                message.pointee.lease_milliseconds = UInt32(clamping: leadership.lease.nanoseconds / 1_000_000)
                message.pointee.n_leased = leadership.epochs.count
                message.pointee.leased = try arena.list(leadership.epochs.sorted { $0.key < $1.key }) { shard, epoch throws(NeedletailError) in
                    let part = try arena.make(Needletail__Internal__V1__LeasedEpoch.self)
                    part.pointee.shard = try arena.shardID(shard)
                    part.pointee.epoch = epoch
                    return part
                }
            }
            message.pointee.n_dropped = answer.dropped.count
            message.pointee.dropped = try arena.list(answer.dropped, arena.shardID)
            message.pointee.n_kept = answer.kept.count
            message.pointee.kept = try arena.list(answer.kept, arena.shardID)
            message.pointee.n_coordinators = answer.coordinators.count
            message.pointee.coordinators = try arena.texts(answer.coordinators)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__HeartbeatReply>) throws(NeedletailError) in
            let reply = message.pointee
            let assignments = try messages(reply.assignments, reply.n_assignments) { assignment throws(NeedletailError) in
                try ReplicaAssignment(assignment)
            }
            let models = try messages(reply.models, reply.n_models) { model throws(NeedletailError) in try CollectionModel(model) }
            let leased = try messages(reply.leased, reply.n_leased) { part throws(NeedletailError) in
                (try ShardID(part.pointee.shard), part.pointee.epoch)
            }
            let leadership = HeartbeatAnswer.Leadership(
                term: reply.term, lease: .milliseconds(Int64(reply.lease_milliseconds)), epochs: Dictionary(leased) { $1 })
            return HeartbeatAnswer(
                cluster: reply.cluster, leadership: reply.leader != 0 ? leadership : nil, coordinators: texts(reply.coordinators, reply.n_coordinators),
                assignments: assignments, models: models,
                dropped: try messages(reply.dropped, reply.n_dropped) { shard throws(NeedletailError) in try ShardID(UnsafeMutablePointer(mutating: shard)) },
                kept: try messages(reply.kept, reply.n_kept) { shard throws(NeedletailError) in try ShardID(UnsafeMutablePointer(mutating: shard)) })
        })
}
