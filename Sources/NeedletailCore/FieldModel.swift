/// What was learned for the codec of one field. It belongs to the collection and is the same on every shard, so that moving a shard
/// needs no encoding anew.
public struct FieldModel: Sendable, Hashable {
    /// The field's number in its collection.
    public var field: Int
    /// 1 for the first.
    public var version: UInt64
    /// A `CodecModel`, encoded: opaque to all but shards.
    public var bytes: [UInt8]

    public init(field: Int, version: UInt64, bytes: [UInt8]) {
        self.field = field
        self.version = version
        self.bytes = bytes
    }
}

extension FieldModel {
    public func encode(to writer: inout ByteWriter) {
        writer.varint(UInt64(field))
        writer.u64(version)
        writer.bytes(bytes)
    }

    /// - Throws: `dataLoss` when the bytes are damaged.
    public init(from reader: inout ByteReader) throws(NeedletailError) {
        let field = try reader.varint()
        guard field < UInt64(Limits.fieldsPerCollection) else {
            throw NeedletailError(.dataLoss, "a stored codec model is damaged: there is no field \(field)")
        }
        self.field = Int(field)
        version = try reader.u64()
        guard version > 0 else { throw NeedletailError(.dataLoss, "a stored codec model is damaged: its version is 0") }
        bytes = try reader.bytes()
    }
}

/// A model on its way to the replicas of a collection.
public struct CollectionModel: Sendable, Hashable {
    public var incarnation: Incarnation
    public var model: FieldModel

    public init(incarnation: Incarnation, model: FieldModel) {
        self.incarnation = incarnation
        self.model = model
    }
}

/// How far a replica, or all of a collection, has come with the codes of a field.
public struct CodecProgress: Sendable, Hashable {
    /// The model's; 0 before there is one.
    public var version: UInt64
    /// Of `total` places for points, those that have codes. The graph walks on codes when all of them do.
    public var encoded: UInt64
    public var total: UInt64
    /// Why it does not go on: training failed, or a replica has no memory for the codes. Empty when nothing is wrong.
    public var problem: String

    public init(version: UInt64 = 0, encoded: UInt64 = 0, total: UInt64 = 0, problem: String = "") {
        self.version = version
        self.encoded = encoded
        self.total = total
        self.problem = problem
    }

    public var isDone: Bool { version > 0 && encoded >= total }
}

/// Some of a shard's vectors, drawn evenly.
public struct ShardSample: Sendable {
    public var shard: ShardID
    public var field: Int
    /// At most so many; all of them when the shard has fewer.
    public var count: Int
    public var seed: UInt64
    public var deadline: Deadline?

    public init(shard: ShardID, field: Int, count: Int, seed: UInt64, deadline: Deadline? = nil) {
        self.shard = shard
        self.field = field
        self.count = count
        self.seed = seed
        self.deadline = deadline
    }
}

/// A field whose codec is to be trained. Vectors are float32, little-endian, one after the other.
public struct CodecTrainingRequest: Sendable {
    public var field: VectorField
    public var sample: [UInt8]
    /// Of use to `leanvec(queries)` only.
    public var queries: [UInt8]
    public var deadline: Deadline?

    public init(field: VectorField, sample: [UInt8], queries: [UInt8] = [], deadline: Deadline? = nil) {
        self.field = field
        self.sample = sample
        self.queries = queries
        self.deadline = deadline
    }
}

/// Which fields of a collection are to be trained now, whatever the number of its points.
public struct CollectionTraining: Sendable {
    public var collection: String
    /// Empty: all that have a codec and no model. One that is named is trained again if it has one.
    public var field: String
    /// As in `CodecTrainingRequest`.
    public var queries: [UInt8]
    public var deadline: Deadline?

    public init(collection: String, field: String = "", queries: [UInt8] = [], deadline: Deadline? = nil) {
        self.collection = collection
        self.field = field
        self.queries = queries
        self.deadline = deadline
    }
}
