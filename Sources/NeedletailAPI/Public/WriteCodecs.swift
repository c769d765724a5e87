import CNeedletailMessages
import CProtobufC
public import NeedletailCore

/// Points with one vector each and no payload, as two arrays: the fastest way in.
public struct PackedRows: Sendable {
    public var ids: [UInt64]
    /// "" is the only field of a collection that has one.
    public var field: String
    public var element: VectorElement
    /// Row-major, `ids.count` × dimensions elements, little-endian.
    public var rows: [UInt8]

    public init(ids: [UInt64], field: String = "", element: VectorElement = .f32, rows: [UInt8]) {
        self.ids = ids
        self.field = field
        self.element = element
        self.rows = rows
    }
}

/// What a stream of writes came to.
public struct BulkSummary: Sendable {
    public var summary: WriteSummary
    public var requests: UInt64

    public init(summary: WriteSummary = WriteSummary(), requests: UInt64 = 0) {
        self.summary = summary
        self.requests = requests
    }
}

// A decoded write has no deadline; whoever decodes it knows the call's.
extension PublicMessages {
    /// Every operation is an upsert.
    public static let upsert = MessageCodec<PointsWrite>(
        expectedBytes: { write in
            guard case .upsert(_, let vectors, let payload) = write.operations.first else { return 0 }
            let size = 512 + payload.count * 8 + vectors.reduce(0) { $0 + $1.vector.bytes.count + 128 }
            return min(size * write.operations.count, 128 << 20)
        },
        write: { write, arena throws(NeedletailError) in try arena.upsert(write) },
        read: { message throws(NeedletailError) in try PointsWrite(message) })

    /// Every operation is a delete.
    public static let delete = MessageCodec<PointsWrite>(
        write: { write, arena throws(NeedletailError) in try arena.delete(write) },
        read: { message throws(NeedletailError) in try PointsWrite(message) })

    /// Every operation sets the same payload.
    public static let setPayload = MessageCodec<PointsWrite>(
        write: { write, arena throws(NeedletailError) in try arena.setPayload(write, overwrite: false) },
        read: { message throws(NeedletailError) in try PointsWrite(message, overwrite: false) })

    /// Every operation overwrites with the same payload.
    public static let overwritePayload = MessageCodec<PointsWrite>(
        write: { write, arena throws(NeedletailError) in try arena.setPayload(write, overwrite: true) },
        read: { message throws(NeedletailError) in try PointsWrite(message, overwrite: true) })

    /// Every operation deletes the same keys.
    public static let deletePayload = MessageCodec<PointsWrite>(
        write: { write, arena throws(NeedletailError) in try arena.deletePayload(write) },
        read: { message throws(NeedletailError) in try PointsWrite(message) })

    public static let written = MessageCodec<WriteSummary>(
        write: { summary, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__WriteResponse.self)
            message.pointee.applied = summary.applied
            message.pointee.not_found = summary.notFound
            message.pointee.n_shards = summary.sequences.count
            message.pointee.shards = try arena.sequences(summary.sequences)
            if !summary.sequences.isEmpty { message.pointee.session = try arena.bytes(summary.session.encoded) }
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__WriteResponse>) throws(NeedletailError) in
            let response = message.pointee
            return WriteSummary(
                applied: response.applied, notFound: response.not_found,
                sequences: try sequences(response.shards, response.n_shards), incarnation: try incarnation(response.session))
        })

    public static let streamWritten = MessageCodec<BulkSummary>(
        write: { bulk, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__UpsertStreamResponse.self)
            message.pointee.applied = bulk.summary.applied
            message.pointee.requests = bulk.requests
            message.pointee.n_shards = bulk.summary.sequences.count
            message.pointee.shards = try arena.sequences(bulk.summary.sequences)
            if !bulk.summary.sequences.isEmpty { message.pointee.session = try arena.bytes(bulk.summary.session.encoded) }
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__UpsertStreamResponse>) throws(NeedletailError) in
            let response = message.pointee
            let summary = WriteSummary(
                applied: response.applied, sequences: try sequences(response.shards, response.n_shards),
                incarnation: try incarnation(response.session))
            return BulkSummary(summary: summary, requests: response.requests)
        })

    private static func incarnation(_ session: ProtobufCBinaryData) throws(NeedletailError) -> Incarnation {
        session.len == 0 ? Incarnation(0) : try Session(encoded: byteArray(session)).incarnation
    }

    private static func sequences(
        _ pointers: UnsafeMutablePointer<UnsafeMutablePointer<Needletail__V1__ShardSequence>?>?, _ count: Int
    ) throws(NeedletailError) -> [UInt32: UInt64] {
        var sequences: [UInt32: UInt64] = [:]
        let pairs = try messages(pointers, count) { ($0.pointee.shard, $0.pointee.sequence) }
        for (shard, sequence) in pairs { sequences[shard] = sequence }
        return sequences
    }
}

extension MessageArena {
    fileprivate func sequences(
        _ sequences: [UInt32: UInt64]
    ) throws(NeedletailError) -> UnsafeMutablePointer<UnsafeMutablePointer<Needletail__V1__ShardSequence>?>? {
        try list(sequences.keys.sorted()) { shard throws(NeedletailError) in
            let message = try make(Needletail__V1__ShardSequence.self)
            message.pointee.shard = shard
            message.pointee.sequence = sequences[shard] ?? 0
            return message
        }
    }
}
