import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension InternalMessages {
    public static let hold = MessageCodec<(shard: ShardID, epoch: UInt64, token: UInt64, limit: Duration)>(
        write: { hold, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__HoldRequest.self)
            message.pointee.shard = try arena.shardID(hold.shard)
            message.pointee.epoch = hold.epoch
            message.pointee.token = hold.token
            message.pointee.limit_milliseconds = UInt32(clamping: Int(hold.limit.milliseconds))
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__HoldRequest>) throws(NeedletailError) in
            let hold = message.pointee
            return (shard: try ShardID(hold.shard), epoch: hold.epoch, token: hold.token, limit: .milliseconds(min(hold.limit_milliseconds, 1_000)))
        })

    public static let held = MessageCodec<UInt64>(
        write: { sequence, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__HoldReply.self)
            message.pointee.sequence = sequence
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__HoldReply>) in message.pointee.sequence })

    public static let release = MessageCodec<(shard: ShardID, epoch: UInt64, token: UInt64)>(
        write: { hold, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__ReleaseRequest.self)
            message.pointee.shard = try arena.shardID(hold.shard)
            message.pointee.epoch = hold.epoch
            message.pointee.token = hold.token
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__ReleaseRequest>) throws(NeedletailError) in
            (shard: try ShardID(message.pointee.shard), epoch: message.pointee.epoch, token: message.pointee.token)
        })

    public static let released = MessageCodec<Duration>(
        write: { held, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__ReleaseReply.self)
            message.pointee.held_microseconds = UInt64(max(0, held.nanoseconds) / 1_000)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__ReleaseReply>) in
            .microseconds(Int64(clamping: min(message.pointee.held_microseconds, 1 << 40)))
        })

    public static let store = MessageCodec<ShardStore>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__StoreRequest.self)
            message.pointee.shard = try arena.shardID(request.shard)
            message.pointee.copy = request.copy
            message.pointee.cut = request.cut
            message.pointee.target = try arena.text(request.target)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__StoreRequest>) throws(NeedletailError) in
            let request = message.pointee
            return ShardStore(shard: try ShardID(request.shard), copy: request.copy, cut: request.cut, target: string(request.target))
        })

    public static let stored = MessageCodec<StoredShard>(
        write: { stored, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__StoreReply.self)
            message.pointee.index = try arena.piece(stored.index)
            message.pointee.epoch = stored.epoch
            message.pointee.pieces = stored.pieces
            message.pointee.bytes = stored.bytes
            message.pointee.new_pieces = stored.newPieces
            message.pointee.new_bytes = stored.newBytes
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__StoreReply>) throws(NeedletailError) in
            let stored = message.pointee
            return StoredShard(
                index: PieceName(try need(stored.index, "index")), epoch: stored.epoch, pieces: stored.pieces, bytes: stored.bytes,
                newPieces: stored.new_pieces, newBytes: stored.new_bytes)
        })

    public static let restore = MessageCodec<ShardRestore>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__RestoreRequest.self)
            message.pointee.assignment = try arena.assignment(request.assignment)
            message.pointee.target = try arena.text(request.target)
            message.pointee.index = try arena.piece(request.index)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__RestoreRequest>) throws(NeedletailError) in
            ShardRestore(
                assignment: try ReplicaAssignment(try need(message.pointee.assignment, "assignment")), target: string(message.pointee.target),
                index: PieceName(try need(message.pointee.index, "index")))
        })
}

extension MessageArena {
    fileprivate func piece(_ piece: PieceName) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__Piece> {
        let message = try make(Needletail__Internal__V1__Piece.self)
        message.pointee.checksum = try bytes(piece.checksum)
        message.pointee.size_bytes = piece.sizeBytes
        return message
    }
}

extension PieceName {
    fileprivate init(_ message: UnsafePointer<Needletail__Internal__V1__Piece>) {
        self.init(checksum: byteArray(message.pointee.checksum), sizeBytes: message.pointee.size_bytes)
    }
}
