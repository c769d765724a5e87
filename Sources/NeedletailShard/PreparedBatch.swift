internal import NeedletailCore
internal import NeedletailVectors

/// A write batch, decoded and checked against the collection before it reaches the log: applying it cannot fail for a reason that
/// lies in the batch, neither now nor when the log is replayed.
struct PreparedBatch: Sendable {
    var operations: [PointOperation]

    /// Nothing is written: what the replica holds then is remembered.
    var isMark: Bool

    init(operations: [PointOperation]) {
        self.operations = operations
        isMark = operations.isEmpty
    }

    /// - Parameters:
    ///   - range: the shard's part of the hash space; an id outside it means that the sender's map is old.
    /// - Throws: `invalidArgument` naming the point and field; `notFound` for an id of another shard.
    init(encoded: [UInt8], collection: CollectionSpec, layouts: [VectorLayout], range: HashRange) throws(NeedletailError) {
        self.init(operations: try WriteBatch(encoded: encoded).operations)
        for index in operations.indices {
            let id = operations[index].id
            guard range.contains(id.placementHash) else {
                throw NeedletailError(.notFound, "point \(id) does not belong to this shard; read the cluster map again")
            }
            guard var point = operations[index].upserted else { continue }
            try Self.convert(&point, collection: collection, layouts: layouts)
            operations[index].upserted = point
        }
    }

    /// A batch that comes from the network, and not from the log, which holds only what this has accepted.
    ///
    /// - Throws: `invalidArgument` also for bytes that are no batch, and for a payload that is none: a later change of it would fail.
    init(received: [UInt8], collection: CollectionSpec, layouts: [VectorLayout], range: HashRange) throws(NeedletailError) {
        do throws(NeedletailError) {
            try self.init(encoded: received, collection: collection, layouts: layouts, range: range)
            for case let point? in operations.lazy.map(\.upserted) where !point.payload.isEmpty { _ = try PayloadCoding.decode(point.payload) }
        } catch {
            guard error.code == .dataLoss else { throw error }
            throw NeedletailError(.invalidArgument, "the write batch cannot be read: \(error.message)")
        }
    }

    private static func convert(_ point: inout Point, collection: CollectionSpec, layouts: [VectorLayout]) throws(NeedletailError) {
        guard point.payload.count <= Limits.payloadBytes else {
            throw NeedletailError(
                .invalidArgument, "point \(point.id) has \(point.payload.count) bytes of payload; the limit is \(Limits.payloadBytes)")
        }
        var seen = 0
        for index in point.vectors.indices {
            let field = point.vectors[index].field
            guard field < layouts.count else {
                throw NeedletailError(.invalidArgument, "point \(point.id) has a vector for field \(field); there are \(layouts.count)")
            }
            guard seen & (1 << field) == 0 else {
                throw NeedletailError(.invalidArgument, "point \(point.id) has two vectors for field \"\(collection.fields[field].name)\"")
            }
            seen |= 1 << field
            do {
                let bytes = try layouts[field].convert(point.vectors[index].vector, field: collection.fields[field].name)
                point.vectors[index].vector = DenseVector(element: layouts[field].element, bytes: bytes)
            } catch {
                throw NeedletailError(error.code, "point \(point.id): \(error.message)")
            }
        }
    }
}
