import CNeedletailMessages
import CProtobufC
import NeedletailCore

// The parts that the messages between the cluster's own processes are made of. A peer of another version may send anything, so
// everything is checked here too.

typealias ShardMessage = Needletail__Internal__V1__ShardId
typealias InternalID = Needletail__Internal__V1__Id
typealias FieldVectorMessage = Needletail__Internal__V1__FieldVector

extension ShardID {
    init(_ message: UnsafeMutablePointer<ShardMessage>?) throws(NeedletailError) {
        guard let message else { throw NeedletailError(.invalidArgument, "shard is missing; set it") }
        self.init(incarnation: Incarnation(message.pointee.incarnation), number: message.pointee.number)
    }
}

extension PointID {
    init(_ message: UnsafePointer<InternalID>) throws(NeedletailError) {
        switch message.pointee.kind {
        case 0: self = .number(message.pointee.low)
        case 1: self = .uuid(high: message.pointee.high, low: message.pointee.low)
        default: throw NeedletailError(.invalidArgument, "id kind \(message.pointee.kind) is unknown to this version")
        }
    }

    init(required message: UnsafeMutablePointer<InternalID>?) throws(NeedletailError) {
        guard let message else { throw NeedletailError(.invalidArgument, "a point has no id") }
        try self.init(message)
    }
}

extension VectorElement {
    init(number: UInt32) throws(NeedletailError) {
        guard let raw = UInt8(exactly: number), let known = VectorElement(rawValue: raw) else {
            throw NeedletailError(.invalidArgument, "element \(number) is unknown to this version")
        }
        self = known
    }
}

extension FieldVector {
    init(_ message: UnsafePointer<FieldVectorMessage>) throws(NeedletailError) {
        let vector = message.pointee
        guard vector.field < UInt32(Limits.fieldsPerCollection) else {
            throw NeedletailError(
                .invalidArgument,
                "vector field \(vector.field) does not exist; a collection has at most \(Limits.fieldsPerCollection)")
        }
        self.init(
            field: Int(vector.field),
            vector: DenseVector(element: try VectorElement(number: vector.element), bytes: byteArray(vector.data)))
    }

    static func list(
        _ vectors: UnsafeMutablePointer<UnsafeMutablePointer<FieldVectorMessage>?>?, _ count: Int
    ) throws(NeedletailError) -> [FieldVector] {
        try messages(vectors, count) { vector throws(NeedletailError) in try FieldVector(vector) }
    }
}

extension MessageArena {
    func shardID(_ shard: ShardID) throws(NeedletailError) -> UnsafeMutablePointer<ShardMessage> {
        let message = try make(ShardMessage.self)
        message.pointee.incarnation = shard.incarnation.value
        message.pointee.number = shard.number
        return message
    }

    func internalID(_ id: PointID) throws(NeedletailError) -> UnsafeMutablePointer<InternalID> {
        let message = try make(InternalID.self)
        switch id {
        case .number(let number): message.pointee.low = number
        case .uuid(let high, let low):
            message.pointee.kind = 1
            message.pointee.high = high
            message.pointee.low = low
        }
        return message
    }

    func fieldVector(_ vector: FieldVector) throws(NeedletailError) -> UnsafeMutablePointer<FieldVectorMessage> {
        let message = try make(FieldVectorMessage.self)
        message.pointee.field = UInt32(clamping: vector.field)
        message.pointee.element = UInt32(vector.vector.element.rawValue)
        message.pointee.data = try bytes(vector.vector.bytes)
        return message
    }
}
