import CNeedletailMessages
import CProtobufC
import NIOCore
import NeedletailCore

/// An `UpsertRequest` made straight from arrays: the rows are copied once, into the message.
enum PackedUpsert {
    static func encode(
        _ packed: PackedRows, collection: String, acknowledgement: ShardWrite.Acknowledgement
    ) throws -> ByteBuffer {
        var packed = packed
        let arena = MessageArena(expectedBytes: 1024)
        let points = try arena.make(Needletail__V1__PackedPoints.self)
        points.pointee.field = try arena.text(packed.field)
        points.pointee.element = packed.element.message
        let message = try arena.make(Needletail__V1__UpsertRequest.self)
        message.pointee.collection = try arena.text(collection)
        message.pointee.acknowledge = acknowledgement.message
        message.pointee.packed = points
        // protobuf-c's structs hold mutable pointers though packing only reads; taking the arrays as mutable avoids casting that away.
        return try packed.ids.withUnsafeMutableBufferPointer { ids in
            try packed.rows.withUnsafeMutableBufferPointer { rows in
                points.pointee.n_ids = ids.count
                points.pointee.ids = ids.baseAddress
                points.pointee.vectors = ProtobufCBinaryData(len: rows.count, data: rows.baseAddress)
                return try WireCoding.pack(message, in: arena)
            }
        }
    }
}
