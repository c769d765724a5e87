import CNeedletailMessages
import CProtobufC
import NeedletailCore

extension Metric {
    init(_ metric: Needletail__V1__Metric, field: String) throws(NeedletailError) {
        guard let raw = UInt8(exactly: metric.rawValue), let known = Metric(rawValue: raw) else {
            throw NeedletailError(.invalidArgument, "field \"\(field)\" has no known metric; set it to L2, COSINE, DOT or HAMMING")
        }
        self = known
    }
}

extension VectorField {
    init(_ message: UnsafePointer<Needletail__V1__VectorField>) throws(NeedletailError) {
        let name = string(message.pointee.name)
        self.init(
            name: name, dimensions: Int(message.pointee.dimensions), metric: try Metric(message.pointee.metric, field: name),
            element: try VectorElement(message.pointee.element),
            index: try IndexSpec(message.pointee.index, graph: message.pointee.graph, field: name))
    }
}

extension Durability {
    /// nil when nothing is said.
    static func read(_ message: UnsafePointer<Needletail__V1__Durability>?) throws(NeedletailError) -> Durability? {
        guard let message else { return nil }
        switch message.pointee.mode_case {
        case NEEDLETAIL__V1__DURABILITY__MODE_EVERY_COMMIT:
            guard message.pointee.every_commit != 0 else {
                throw NeedletailError(
                    .invalidArgument, "durability: set every_commit to true, or set interval_milliseconds instead")
            }
            return .everyCommit
        case NEEDLETAIL__V1__DURABILITY__MODE_INTERVAL_MILLISECONDS:
            let milliseconds = message.pointee.interval_milliseconds
            guard (1...60_000).contains(milliseconds) else {
                throw NeedletailError(.invalidArgument, "durability: interval_milliseconds must be 1 to 60000, not \(milliseconds)")
            }
            return .interval(milliseconds: Int(milliseconds))
        default: return nil
        }
    }
}

extension CollectionSpec {
    init(_ message: UnsafePointer<Needletail__V1__CreateCollectionRequest>) throws(NeedletailError) {
        let request = message.pointee
        self.init(
            name: string(request.name), fields: try Self.fields(request.fields, request.n_fields),
            shardCount: request.shard_count == 0 ? 1 : Int(request.shard_count),
            replicationFactor: request.replication_factor == 0 ? 1 : Int(request.replication_factor),
            durability: try Durability.read(request.durability) ?? .everyCommit,
            writeConsistency: try WriteConsistency.read(request.write_consistency) ?? .allInSync,
            minInSync: request.min_in_sync == 0 ? 1 : Int(request.min_in_sync))
    }

    fileprivate static func fields(
        _ fields: UnsafeMutablePointer<UnsafeMutablePointer<Needletail__V1__VectorField>?>?, _ count: Int
    ) throws(NeedletailError) -> [VectorField] {
        try limited(count, Limits.fieldsPerCollection, "fields")
        return try messages(fields, count) { field throws(NeedletailError) in try VectorField(field) }
    }
}

extension CollectionInfo {
    init(_ message: UnsafePointer<Needletail__V1__Collection>) throws(NeedletailError) {
        let collection = message.pointee
        let spec = CollectionSpec(
            name: string(collection.name), fields: try CollectionSpec.fields(collection.fields, collection.n_fields),
            shardCount: Int(collection.shard_count), replicationFactor: Int(collection.replication_factor),
            durability: try Durability.read(collection.durability) ?? .everyCommit,
            writeConsistency: try WriteConsistency.read(collection.write_consistency) ?? .allInSync,
            minInSync: collection.min_in_sync == 0 ? 1 : Int(collection.min_in_sync))
        let codecs = try messages(collection.codecs, collection.n_codecs) { codec throws(NeedletailError) in
            CodecProgress(
                version: codec.pointee.version, encoded: codec.pointee.encoded, total: codec.pointee.total, problem: string(codec.pointee.problem))
        }
        self.init(spec: spec, incarnation: Incarnation(try hexadecimal(string(collection.incarnation), "incarnation")), codecs: codecs)
    }
}

extension MessageArena {
    func field(_ field: VectorField) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__VectorField> {
        let message = try make(Needletail__V1__VectorField.self)
        message.pointee.name = try text(field.name)
        message.pointee.dimensions = UInt32(clamping: field.dimensions)
        message.pointee.metric = Needletail__V1__Metric(rawValue: UInt32(field.metric.rawValue))
        message.pointee.element = field.element.message
        message.pointee.graph = try graph(field.graph)
        message.pointee.index = try index(field.index)
        return message
    }

    func durability(_ durability: Durability) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Durability> {
        let message = try make(Needletail__V1__Durability.self)
        switch durability {
        case .everyCommit:
            message.pointee.mode_case = NEEDLETAIL__V1__DURABILITY__MODE_EVERY_COMMIT
            message.pointee.every_commit = 1
        case .interval(let milliseconds):
            message.pointee.mode_case = NEEDLETAIL__V1__DURABILITY__MODE_INTERVAL_MILLISECONDS
            message.pointee.interval_milliseconds = UInt32(clamping: milliseconds)
        }
        return message
    }

    func createRequest(_ spec: CollectionSpec) throws(NeedletailError) -> UnsafeMutablePointer<
        Needletail__V1__CreateCollectionRequest
    > {
        let message = try make(Needletail__V1__CreateCollectionRequest.self)
        message.pointee.name = try text(spec.name)
        message.pointee.n_fields = spec.fields.count
        message.pointee.fields = try list(spec.fields, field)
        message.pointee.shard_count = try positive(spec.shardCount, "shard_count")
        message.pointee.replication_factor = try positive(spec.replicationFactor, "replication_factor")
        message.pointee.durability = try durability(spec.durability)
        message.pointee.write_consistency = spec.writeConsistency.message
        message.pointee.min_in_sync = try positive(spec.minInSync, "min_in_sync")
        return message
    }

    func collection(_ info: CollectionInfo) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__Collection> {
        let message = try make(Needletail__V1__Collection.self)
        message.pointee.name = try text(info.spec.name)
        message.pointee.n_fields = info.spec.fields.count
        message.pointee.fields = try list(info.spec.fields, field)
        message.pointee.shard_count = UInt32(clamping: info.spec.shardCount)
        message.pointee.replication_factor = UInt32(clamping: info.spec.replicationFactor)
        message.pointee.durability = try durability(info.spec.durability)
        message.pointee.write_consistency = info.spec.writeConsistency.message
        message.pointee.min_in_sync = UInt32(clamping: info.spec.minInSync)
        message.pointee.incarnation = try text(info.incarnation.description)
        message.pointee.n_codecs = info.codecs.count
        message.pointee.codecs = try list(info.codecs, codecStatus)
        return message
    }

    private func codecStatus(_ codec: CodecProgress) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__CodecStatus> {
        let message = try make(Needletail__V1__CodecStatus.self)
        message.pointee.version = codec.version
        message.pointee.encoded = codec.encoded
        message.pointee.total = codec.total
        message.pointee.problem = try text(codec.problem.withoutNUL)
        return message
    }
}
