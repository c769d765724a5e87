import CNeedletailMessages
import CProtobufC
public import NeedletailCore

/// How the values of the public API travel: one codec for each message of `needletail.v1` that is a request or an answer.
public enum PublicMessages {}

extension PublicMessages {
    public static let createCollection = MessageCodec<CollectionSpec>(
        write: { spec, arena throws(NeedletailError) in try arena.createRequest(spec) },
        read: { message throws(NeedletailError) in try CollectionSpec(message) })

    public static let collection = MessageCodec<CollectionInfo>(
        write: { info, arena throws(NeedletailError) in try arena.collection(info) },
        read: { message throws(NeedletailError) in try CollectionInfo(message) })

    /// A collection's name.
    public static let getCollection = MessageCodec<String>(
        write: { name, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__GetCollectionRequest.self)
            message.pointee.name = try arena.text(name)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__GetCollectionRequest>) in string(message.pointee.name) })

    public static let listCollections = MessageCodec<Void>(
        write: { _, arena throws(NeedletailError) in try arena.make(Needletail__V1__ListCollectionsRequest.self) },
        read: { (_: UnsafePointer<Needletail__V1__ListCollectionsRequest>) in })

    public static let collections = MessageCodec<[CollectionInfo]>(
        write: { infos, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__ListCollectionsResponse.self)
            message.pointee.n_collections = infos.count
            message.pointee.collections = try arena.list(infos, arena.collection)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__ListCollectionsResponse>) throws(NeedletailError) in
            try messages(message.pointee.collections, message.pointee.n_collections) { info throws(NeedletailError) in
                try CollectionInfo(info)
            }
        })

    public static let updateCollection = MessageCodec<(name: String, changes: CollectionChanges)>(
        write: { update, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__UpdateCollectionRequest.self)
            message.pointee.name = try arena.text(update.name)
            if let durability = update.changes.durability { message.pointee.durability = try arena.durability(durability) }
            if let factor = update.changes.replicationFactor { message.pointee.replication_factor = try positive(factor, "replication_factor") }
            if let consistency = update.changes.writeConsistency { message.pointee.write_consistency = consistency.message }
            if let minimum = update.changes.minInSync { message.pointee.min_in_sync = try positive(minimum, "min_in_sync") }
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__UpdateCollectionRequest>) throws(NeedletailError) in
            let update = message.pointee
            let changes = CollectionChanges(
                durability: try Durability.read(update.durability),
                replicationFactor: update.replication_factor == 0 ? nil : Int(update.replication_factor),
                writeConsistency: try WriteConsistency.read(update.write_consistency),
                minInSync: update.min_in_sync == 0 ? nil : Int(update.min_in_sync))
            return (name: string(update.name), changes: changes)
        })

    public static let trainCollection = MessageCodec<CollectionTraining>(
        write: { request, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__TrainCollectionRequest.self)
            message.pointee.name = try arena.text(request.collection)
            message.pointee.field = try arena.text(request.field)
            message.pointee.queries = try arena.bytes(request.queries)
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__TrainCollectionRequest>) in
            CollectionTraining(
                collection: string(message.pointee.name), field: string(message.pointee.field), queries: byteArray(message.pointee.queries))
        })

    public static let deleteCollection = MessageCodec<(name: String, ignoreMissing: Bool)>(
        write: { deletion, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__DeleteCollectionRequest.self)
            message.pointee.name = try arena.text(deletion.name)
            message.pointee.ignore_missing = deletion.ignoreMissing ? 1 : 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__DeleteCollectionRequest>) in
            (name: string(message.pointee.name), ignoreMissing: message.pointee.ignore_missing != 0)
        })

    /// Whether there was one.
    public static let collectionDeleted = MessageCodec<Bool>(
        write: { deleted, arena throws(NeedletailError) in
            let message = try arena.make(Needletail__V1__DeleteCollectionResponse.self)
            message.pointee.deleted = deleted ? 1 : 0
            return message
        },
        read: { (message: UnsafePointer<Needletail__V1__DeleteCollectionResponse>) in message.pointee.deleted != 0 })
}
