import CNeedletailMessages
import CProtobufC
public import NeedletailCore

extension InternalMessages {
    public static let sample = MessageCodec<ShardSample>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__SampleRequest.self)
            message.pointee.shard = try arena.shardID(request.shard)
            message.pointee.field = UInt32(clamping: request.field)
            message.pointee.count = UInt32(clamping: request.count)
            message.pointee.seed = request.seed
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SampleRequest>) throws(NeedletailError) in
            ShardSample(
                shard: try ShardID(message.pointee.shard), field: Int(message.pointee.field), count: Int(message.pointee.count),
                seed: message.pointee.seed)
        })

    public static let sampled = MessageCodec<[UInt8]>(
        write: { vectors, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__SampleReply.self)
            message.pointee.vectors = try arena.bytes(vectors)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__SampleReply>) in byteArray(message.pointee.vectors) })

    public static let train = MessageCodec<CodecTrainingRequest>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__TrainRequest.self)
            message.pointee.field = try arena.internalField(request.field)
            message.pointee.sample = try arena.bytes(request.sample)
            message.pointee.queries = try arena.bytes(request.queries)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__TrainRequest>) throws(NeedletailError) in
            CodecTrainingRequest(
                field: try VectorField(try need(message.pointee.field, "field")), sample: byteArray(message.pointee.sample),
                queries: byteArray(message.pointee.queries))
        })

    public static let trained = MessageCodec<[UInt8]>(
        write: { model, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__Internal__V1__TrainReply.self)
            message.pointee.model = try arena.bytes(model)
            return message
        },
        read: { (message: UnsafePointer<Needletail__Internal__V1__TrainReply>) in byteArray(message.pointee.model) })
}

extension CollectionModel {
    init(_ message: UnsafePointer<Needletail__Internal__V1__Model>) throws(NeedletailError) {
        let model = message.pointee
        guard model.field < UInt32(Limits.fieldsPerCollection), model.version > 0 else {
            throw NeedletailError(.invalidArgument, "a codec model is of field \(model.field), version \(model.version): there is no such thing")
        }
        self.init(
            incarnation: Incarnation(model.incarnation),
            model: FieldModel(field: Int(model.field), version: model.version, bytes: byteArray(model.model)))
    }
}

extension MessageArena {
    func model(_ model: CollectionModel) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__Internal__V1__Model> {
        let message = try make(Needletail__Internal__V1__Model.self)
        message.pointee.incarnation = model.incarnation.value
        message.pointee.field = UInt32(clamping: model.model.field)
        message.pointee.version = model.model.version
        message.pointee.model = try bytes(model.model.bytes)
        return message
    }
}
