import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension InternalMessages {
    public static let get = MessageCodec<ShardGet>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__GetRequest.self)
            message.pointee.shard = try arena.shardID(request.shard)
            message.pointee.n_ids = request.ids.count
            message.pointee.ids = try arena.list(request.ids, arena.internalID)
            message.pointee.with_payload = request.parts.payload ? 1 : 0
            message.pointee.with_vectors = request.parts.vectors ? 1 : 0
            message.pointee.condition = try arena.condition(request.condition)
            message.pointee.filter = try arena.bytes(request.filter?.encoded ?? [])
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__GetRequest>) throws(NeedletailError) in
            let request = message.pointee
            try limited(request.n_ids, Limits.idsPerRequest, "ids")
            return ShardGet(
                shard: try ShardID(request.shard),
                ids: try messages(request.ids, request.n_ids) { id throws(NeedletailError) in try PointID(id) },
                parts: PointParts(payload: request.with_payload != 0, vectors: request.with_vectors != 0),
                condition: ReadCondition(request.condition), filter: try PayloadFilter(optional: request.filter))
        })

    public static let points = MessageCodec<ShardPoints>(
        write: { answer, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__GetReply.self)
            message.pointee.n_points = answer.points.count
            message.pointee.points = try arena.list(answer.points, arena.internalStored)
            message.pointee.applied_sequence = answer.appliedSequence
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__GetReply>) throws(NeedletailError) in
            let points = try messages(message.pointee.points, message.pointee.n_points) { point throws(NeedletailError) in
                try StoredPoint(point)
            }
            return ShardPoints(points: points, appliedSequence: message.pointee.applied_sequence)
        })

    public static let scroll = MessageCodec<ShardScroll>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__ScrollRequest.self)
            message.pointee.shard = try arena.shardID(request.shard)
            if let after = request.after { message.pointee.after = try arena.internalID(after) }
            message.pointee.limit = try positive(request.limit, "limit")
            message.pointee.with_payload = request.parts.payload ? 1 : 0
            message.pointee.with_vectors = request.parts.vectors ? 1 : 0
            message.pointee.condition = try arena.condition(request.condition)
            message.pointee.filter = try arena.bytes(request.filter?.encoded ?? [])
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__ScrollRequest>) throws(NeedletailError) in
            let request = message.pointee
            guard request.limit > 0, request.limit <= UInt32(Limits.scrollPage) else {
                throw NeedletailError(.invalidArgument, "limit must be 1 to \(Limits.scrollPage), not \(request.limit)")
            }
            var after: PointID?
            if let message = request.after { after = try PointID(message) }
            return ShardScroll(
                shard: try ShardID(request.shard), after: after, limit: Int(request.limit),
                parts: PointParts(payload: request.with_payload != 0, vectors: request.with_vectors != 0),
                condition: ReadCondition(request.condition), filter: try PayloadFilter(optional: request.filter))
        })

    public static let scrollPage = MessageCodec<ScrollPage>(
        write: { page, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__ScrollReply.self)
            message.pointee.n_points = page.points.count
            message.pointee.points = try arena.list(page.points, arena.internalStored)
            message.pointee.has_more = page.hasMore ? 1 : 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__ScrollReply>) throws(NeedletailError) in
            let points = try messages(message.pointee.points, message.pointee.n_points) { point throws(NeedletailError) in
                try StoredPoint(point)
            }
            return ScrollPage(points: points, hasMore: message.pointee.has_more != 0)
        })

    public static let count = MessageCodec<(shard: ShardID, filter: PayloadFilter?, condition: ReadCondition)>(
        write: { count, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__CountRequest.self)
            message.pointee.shard = try arena.shardID(count.shard)
            message.pointee.condition = try arena.condition(count.condition)
            message.pointee.filter = try arena.bytes(count.filter?.encoded ?? [])
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__CountRequest>) throws(NeedletailError) in
            (
                shard: try ShardID(message.pointee.shard), filter: try PayloadFilter(optional: message.pointee.filter),
                condition: ReadCondition(message.pointee.condition)
            )
        })

    public static let counted = MessageCodec<ShardCount>(
        write: { answer, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__CountReply.self)
            message.pointee.count = answer.count
            message.pointee.applied_sequence = answer.appliedSequence
            message.pointee.filtered = answer.isFiltered ? 1 : 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__CountReply>) in
            ShardCount(count: message.pointee.count, appliedSequence: message.pointee.applied_sequence, isFiltered: message.pointee.filtered != 0)
        })
}

extension PayloadFilter {
    /// nil when there is none.
    /// - Throws: `invalidArgument` for bytes that are no filter: they must not count as none.
    init?(optional data: ProtobufCBinaryData) throws(NeedletailError) {
        if data.len == 0 { return nil }
        do throws(NeedletailError) {
            try self.init(encoded: byteArray(data))
        } catch {
            throw error.code == .dataLoss ? NeedletailError(.invalidArgument, error.message) : error
        }
    }
}

extension ReadCondition {
    init(_ message: UnsafeMutablePointer<Needletail__Internal__V1__ReadCondition>?) {
        if let message { self.init(message.pointee) } else { self.init() }
    }

    init(_ condition: Needletail__Internal__V1__ReadCondition) { self.init(isPrimary: condition.primary != 0, sequence: condition.sequence) }
}

extension MessageArena {
    /// nil when there is none.
    func condition(_ condition: ReadCondition) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__ReadCondition>? {
        if condition.isNone { return nil }
        let message = try make(Needletail__Internal__V1__ReadCondition.self)
        message.pointee.primary = condition.isPrimary ? 1 : 0
        message.pointee.sequence = condition.sequence
        return message
    }
}

extension StoredPoint {
    fileprivate init(_ message: UnsafePointer<Needletail__Internal__V1__Stored>) throws(NeedletailError) {
        let point = message.pointee
        self.init(
            id: try PointID(required: point.id), vectors: try FieldVector.list(point.vectors, point.n_vectors),
            payload: byteArray(point.payload), sequence: point.sequence)
    }
}

extension MessageArena {
    fileprivate func internalStored(
        _ point: StoredPoint
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__Stored> {
        let message = try make(Needletail__Internal__V1__Stored.self)
        message.pointee.id = try internalID(point.id)
        message.pointee.sequence = point.sequence
        message.pointee.payload = try bytes(point.payload)
        message.pointee.n_vectors = point.vectors.count
        message.pointee.vectors = try list(point.vectors, fieldVector)
        return message
    }
}
