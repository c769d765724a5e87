internal import NeedletailCore

/// Turns field names into numbers and back for one collection.
struct FieldNames {
    private let spec: CollectionSpec

    init(_ spec: CollectionSpec) { self.spec = spec }

    /// - Throws: `invalidArgument` listing the names there are.
    func number(_ name: String) throws(NeedletailError) -> Int {
        if name.isEmpty, spec.fields.count == 1 { return 0 }
        // Fields are few, and a table would have to be made for each request.
        if let number = spec.fields.firstIndex(where: { $0.name == name }) { return number }
        let known = spec.fields.map { "\"\($0.name)\"" }.joined(separator: ", ")
        throw NeedletailError(.invalidArgument, "collection \"\(spec.name)\" has no vector field \"\(name)\"; it has \(known)")
    }

    func resolve(_ operation: NamedOperation) throws(NeedletailError) -> PointOperation {
        switch operation {
        case .upsert(let id, let named, let payload):
            var vectors: [FieldVector] = []
            vectors.reserveCapacity(named.count)
            for entry in named { vectors.append(FieldVector(field: try number(entry.field), vector: entry.vector)) }
            return .upsert(Point(id: id, vectors: vectors, payload: payload))
        case .delete(let id): return .delete(id)
        case .setPayload(let id, let payload): return .setPayload(id, payload)
        case .overwritePayload(let id, let payload): return .overwritePayload(id, payload)
        case .deletePayloadKeys(let id, let keys): return .deletePayloadKeys(id, keys)
        }
    }

    func name(_ vectors: [FieldVector]) -> [NamedVector] { vectors.map { NamedVector(field: spec.fields[$0.field].name, vector: $0.vector) } }

    func name(_ point: StoredPoint) -> NamedPoint {
        NamedPoint(id: point.id, vectors: name(point.vectors), payload: point.payload, sequence: point.sequence)
    }

    func name(_ point: ScoredPoint, field: Int) -> NamedScoredPoint {
        NamedScoredPoint(
            id: point.id, score: point.score, distance: spec.fields[field].metric.distance(ofScore: point.score),
            vectors: name(point.vectors), payload: point.payload, sequence: point.sequence)
    }
}
