internal import NeedletailCore

// A caller may be kept to the points that a filter admits. Shards do that; what they hand out is looked at once more here, so that a node of an
// older version, which overlooks filters, gives nothing away.
extension Coordinator {
    /// Refuses what would be outside in any case, before anything is written, and has the rest acknowledged when it is known what became of it.
    static func confine(_ write: inout PointsWrite) throws {
        guard let filter = write.filter else { return }
        for operation in write.operations {
            switch operation {
            case .upsert(_, _, let payload): if try !filter.matches(encoded: payload) { throw outside }
            case .overwritePayload(_, let payload): if !filter.matches(payload) { throw outside }
            // What these leave depends on what is there.
            case .delete, .setPayload, .deletePayloadKeys: continue
            }
        }
        (write.acknowledgement, write.consistency) = (.applied, .allInSync)
    }

    static let outside = NeedletailError(
        .permissionDenied,
        "a point would not be among those that this key may write, or its id is taken by one that is not; such points stay as they were. "
            + "Give every point the payload that the key's filter asks for, and ids of your own")

    static let knowsNoFilter = NeedletailError(
        .unimplemented, "a shard worker is of a version that knows no filters, which this key has; upgrade the shard workers")
}

extension PointParts {
    /// With what the filter has to look at.
    func checked(by filter: PayloadFilter?) -> PointParts { PointParts(payload: payload || filter != nil, vectors: vectors) }
}

extension PayloadFilter? {
    /// The point with the parts that were asked for; nil when the filter does not admit it.
    func admits(_ point: StoredPoint, _ parts: PointParts) throws -> StoredPoint? {
        guard let filter = self else { return point }
        guard try filter.matches(encoded: point.payload) else { return nil }
        var admitted = point
        if !parts.payload { admitted.payload = [] }
        return admitted
    }

    func admits(_ points: [ScoredPoint], _ parts: PointParts) throws -> [ScoredPoint] {
        guard let filter = self else { return points }
        return try points.compactMap { point in
            guard try filter.matches(encoded: point.payload) else { return nil }
            var admitted = point
            if !parts.payload { admitted.payload = [] }
            return admitted
        }
    }
}
