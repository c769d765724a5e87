import CNeedletailMessages
import CProtobufC
import NeedletailCore

extension ShardWrite.Acknowledgement {
    init(_ message: Needletail__V1__Acknowledge) throws(NeedletailError) {
        guard let raw = UInt8(exactly: message.rawValue), let known = ShardWrite.Acknowledgement(rawValue: raw) else {
            throw NeedletailError(
                .invalidArgument, "acknowledge \(message.rawValue) is unknown to this version; use APPLIED or DURABLE")
        }
        self = known
    }

    var message: Needletail__V1__Acknowledge { Needletail__V1__Acknowledge(rawValue: UInt32(rawValue)) }
}

extension WriteConsistency {
    /// nil: unspecified.
    static func read(_ message: Needletail__V1__WriteConsistency) throws(NeedletailError) -> WriteConsistency? {
        if message.rawValue == 0 { return nil }
        guard let raw = UInt8(exactly: message.rawValue - 1), let known = WriteConsistency(rawValue: raw) else {
            throw NeedletailError(
                .invalidArgument, "write consistency \(message.rawValue) is unknown to this version; use ALL_IN_SYNC, MAJORITY or PRIMARY")
        }
        return known
    }

    var message: Needletail__V1__WriteConsistency { Needletail__V1__WriteConsistency(rawValue: UInt32(rawValue) + 1) }
}

extension PointsWrite {
    fileprivate mutating func apply(_ options: UnsafeMutablePointer<Needletail__V1__WriteOptions>?) throws(NeedletailError) {
        guard let options = options?.pointee else { return }
        consistency = try WriteConsistency.read(options.consistency)
        if options.operation_id.len > 0 { operation = try OperationID(bytes: byteArray(options.operation_id)) }
    }

    init(_ message: UnsafePointer<Needletail__V1__UpsertRequest>) throws(NeedletailError) {
        let request = message.pointee
        let packed = request.packed.map { UnsafePointer($0) }
        try limited(request.n_points + (packed?.pointee.n_ids ?? 0), Limits.pointsPerWrite, "points")
        var operations: [NamedOperation] = []
        operations.reserveCapacity(request.n_points + (packed?.pointee.n_ids ?? 0))
        for index in 0..<request.n_points {
            guard let point = request.points[index] else { continue }
            operations.append(
                .upsert(
                    id: try PointID(required: point.pointee.id),
                    vectors: try NamedVector.list(point.pointee.vectors, point.pointee.n_vectors),
                    payload: try PayloadReader.encode(point.pointee.payload, point.pointee.n_payload)))
        }
        if let packed { try Self.expand(packed, into: &operations) }
        self.init(
            collection: string(request.collection), operations: operations,
            acknowledgement: try ShardWrite.Acknowledgement(request.acknowledge))
        try apply(request.options)
    }

    private static func expand(
        _ message: UnsafePointer<Needletail__V1__PackedPoints>, into operations: inout [NamedOperation]
    ) throws(NeedletailError) {
        let packed = message.pointee
        let element = try VectorElement(packed.element)
        let (count, size) = (packed.n_ids, packed.vectors.len)
        guard count > 0 else {
            if size == 0 { return }
            throw NeedletailError(
                .invalidArgument, "packed.vectors has \(size) bytes but packed.ids is empty; give an id for each row")
        }
        let rowBytes = size / count
        guard size == rowBytes * count, rowBytes > 0, rowBytes.isMultiple(of: element.strideBytes) else {
            throw NeedletailError(
                .invalidArgument,
                "packed.vectors has \(size) bytes, which is no whole number of rows of \(element) for \(count) ids; check both")
        }
        let field = string(packed.field)
        let rows = UnsafeRawPointer(packed.vectors.data!)
        for index in 0..<count {
            let vector = DenseVector(element: element, bytes: byteArray(rows + index * rowBytes, rowBytes))
            operations.append(
                .upsert(id: .number(packed.ids[index]), vectors: [NamedVector(field: field, vector: vector)], payload: []))
        }
    }

    init(_ message: UnsafePointer<Needletail__V1__DeletePointsRequest>) throws(NeedletailError) {
        let request = message.pointee
        let ids = try PointID.list(request.ids, request.n_ids)
        self.init(
            collection: string(request.collection), operations: ids.map { .delete($0) },
            acknowledgement: try ShardWrite.Acknowledgement(request.acknowledge))
        try apply(request.options)
    }

    init(_ message: UnsafePointer<Needletail__V1__SetPayloadRequest>, overwrite: Bool) throws(NeedletailError) {
        let request = message.pointee
        let ids = try PointID.list(request.ids, request.n_ids)
        let payload = try PayloadCoding.decode(try PayloadReader.encode(request.payload, request.n_payload))
        self.init(
            collection: string(request.collection),
            operations: ids.map { overwrite ? .overwritePayload($0, payload) : .setPayload($0, payload) },
            acknowledgement: try ShardWrite.Acknowledgement(request.acknowledge))
        try apply(request.options)
    }

    init(_ message: UnsafePointer<Needletail__V1__DeletePayloadRequest>) throws(NeedletailError) {
        let request = message.pointee
        let ids = try PointID.list(request.ids, request.n_ids)
        try limited(request.n_keys, Limits.idsPerRequest, "keys")
        let keys = (0..<request.n_keys).map { PayloadKey(string(request.keys[$0])) }
        self.init(
            collection: string(request.collection), operations: ids.map { .deletePayloadKeys($0, keys) },
            acknowledgement: try ShardWrite.Acknowledgement(request.acknowledge))
        try apply(request.options)
    }
}

extension MessageArena {
    /// nil when there is nothing to say.
    private func options(_ write: PointsWrite) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__WriteOptions>? {
        if write.consistency == nil, write.operation == nil { return nil }
        let message = try make(Needletail__V1__WriteOptions.self)
        if let consistency = write.consistency { message.pointee.consistency = consistency.message }
        if let operation = write.operation { message.pointee.operation_id = try bytes(operation.bytes) }
        return message
    }

    func upsert(_ write: PointsWrite) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__UpsertRequest> {
        let message = try make(Needletail__V1__UpsertRequest.self)
        message.pointee.collection = try text(write.collection)
        message.pointee.acknowledge = write.acknowledgement.message
        message.pointee.options = try options(write)
        message.pointee.n_points = write.operations.count
        message.pointee.points = try list(write.operations) { operation throws(NeedletailError) in
            guard case .upsert(let id, let vectors, let payload) = operation else { throw Self.mixed }
            let point = try make(Needletail__V1__Point.self)
            point.pointee.id = try self.id(id)
            point.pointee.n_vectors = vectors.count
            point.pointee.vectors = try self.vectors(vectors)
            (point.pointee.n_payload, point.pointee.payload) = try PayloadWriter.entries(payload, in: self)
            return point
        }
        return message
    }

    func delete(_ write: PointsWrite) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__DeletePointsRequest> {
        let message = try make(Needletail__V1__DeletePointsRequest.self)
        message.pointee.collection = try text(write.collection)
        message.pointee.acknowledge = write.acknowledgement.message
        message.pointee.options = try options(write)
        message.pointee.n_ids = write.operations.count
        message.pointee.ids = try list(write.operations) { operation throws(NeedletailError) in
            guard case .delete(let id) = operation else { throw Self.mixed }
            return try self.id(id)
        }
        return message
    }

    func setPayload(
        _ write: PointsWrite, overwrite: Bool
    ) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__SetPayloadRequest> {
        let message = try make(Needletail__V1__SetPayloadRequest.self)
        message.pointee.collection = try text(write.collection)
        message.pointee.acknowledge = write.acknowledgement.message
        message.pointee.options = try options(write)
        message.pointee.n_ids = write.operations.count
        var shared: Payload?
        message.pointee.ids = try list(write.operations) { operation throws(NeedletailError) in
            let id: PointID
            let payload: Payload
            switch operation {
            case .setPayload(let target, let value) where !overwrite: (id, payload) = (target, value)
            case .overwritePayload(let target, let value) where overwrite: (id, payload) = (target, value)
            default: throw Self.mixed
            }
            guard shared == nil || shared == payload else { throw Self.mixed }
            shared = payload
            return try self.id(id)
        }
        (message.pointee.n_payload, message.pointee.payload) = try PayloadWriter.entries(
            PayloadCoding.encode(shared ?? [:]), in: self)
        return message
    }

    func deletePayload(_ write: PointsWrite) throws(NeedletailError) -> UnsafeMutablePointer<Needletail__V1__DeletePayloadRequest> {
        let message = try make(Needletail__V1__DeletePayloadRequest.self)
        message.pointee.collection = try text(write.collection)
        message.pointee.acknowledge = write.acknowledgement.message
        message.pointee.options = try options(write)
        message.pointee.n_ids = write.operations.count
        var shared: [PayloadKey]?
        message.pointee.ids = try list(write.operations) { operation throws(NeedletailError) in
            guard case .deletePayloadKeys(let id, let keys) = operation, shared == nil || shared == keys else { throw Self.mixed }
            shared = keys
            return try self.id(id)
        }
        let keys = shared ?? []
        message.pointee.n_keys = keys.count
        message.pointee.keys = try array(keys.count, of: UnsafeMutablePointer<CChar>?.self)
        for (index, key) in keys.enumerated() { message.pointee.keys[index] = try text(key.text) }
        return message
    }

    /// `RemoteCluster` cuts a write into runs that fit one message each; nothing else comes here.
    private static var mixed: NeedletailError {
        NeedletailError(.invalidArgument, "one message carries operations of one kind with one payload; send the others separately")
    }
}
