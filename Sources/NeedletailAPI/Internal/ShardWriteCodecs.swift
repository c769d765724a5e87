import CNeedletailMessages
import CProtobufC
public import NeedletailCore

/// How the values between the cluster's own processes travel: one codec for each message of `needletail.internal.v1` that is a request
/// or an answer. A decoded request has no deadline; whoever decodes it knows the call's.
public enum InternalMessages {}

extension InternalMessages {
    public static let empty = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__Internal__V1__Empty.self) },
        read: { (_: UnsafePointer<Needletail__Internal__V1__Empty>) in })

    public static let write = MessageCodec<ShardWrite>(
        expectedBytes: { write in write.batch.count + 512 },
        write: { write, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__WriteRequest.self)
            message.pointee.shard = try arena.shardID(write.shard)
            message.pointee.epoch = write.epoch
            message.pointee.batch = try arena.bytes(write.batch)
            message.pointee.acknowledgement = UInt32(write.acknowledgement.rawValue)
            message.pointee.consistency = UInt32(write.consistency.rawValue)
            message.pointee.operation_high = write.operation?.high ?? 0
            message.pointee.operation_low = write.operation?.low ?? 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__WriteRequest>) throws(NeedletailError) in
            let request = message.pointee
            guard let raw = UInt8(exactly: request.acknowledgement), let acknowledgement = ShardWrite.Acknowledgement(rawValue: raw)
            else {
                throw NeedletailError(.invalidArgument, "acknowledgement \(request.acknowledgement) is unknown to this version")
            }
            guard let raw = UInt8(exactly: request.consistency), let consistency = WriteConsistency(rawValue: raw) else {
                throw NeedletailError(.invalidArgument, "write consistency \(request.consistency) is unknown to this version")
            }
            let (high, low) = (request.operation_high, request.operation_low)
            return ShardWrite(
                shard: try ShardID(request.shard), epoch: request.epoch, batch: byteArray(request.batch),
                acknowledgement: acknowledgement, consistency: consistency,
                operation: (high, low) == (0, 0) ? nil : OperationID(high: high, low: low))
        })

    public static let written = MessageCodec<WriteReceipt>(
        write: { receipt, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__WriteReply.self)
            message.pointee.sequence = receipt.sequence
            message.pointee.outcomes = try arena.bytes(receipt.outcomes.map(\.rawValue))
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__WriteReply>) throws(NeedletailError) in
            var outcomes: [OperationOutcome] = []
            outcomes.reserveCapacity(message.pointee.outcomes.len)
            for byte in UnsafeBufferPointer(start: message.pointee.outcomes.data, count: message.pointee.outcomes.len) {
                guard let outcome = OperationOutcome(rawValue: byte) else {
                    throw NeedletailError(.invalidArgument, "outcome \(byte) is unknown to this version")
                }
                outcomes.append(outcome)
            }
            return WriteReceipt(sequence: message.pointee.sequence, outcomes: outcomes)
        })

    public static let shard = MessageCodec<ShardID>(
        write: { shard, arena throws(NeedletailError) in try arena.shardID(shard) },
        read: { (message: UnsafePointer<ShardMessage>) in
            ShardID(incarnation: Incarnation(message.pointee.incarnation), number: message.pointee.number)
        })
}
