import NeedletailCore
import NeedletailIndex
import NeedletailVectors

/// An index over plain memory whose slots are the vectors' positions.
struct TestIndex: Sendable {
    let graph: HNSWIndex

    /// With `training` the graph walks on the field's codec from the beginning.
    init(field: VectorField, vectors: [[Float]], capacity: Int? = nil, training: [[Float]]? = nil) throws {
        let capacity = capacity ?? vectors.count
        let codec = try training.map {
            try CodecTraining.train(field, sample: VectorSample($0.flatMap(\.self), dimensions: field.dimensions)).rowCodec()
        }
        graph = HNSWIndex(field: field, codec: codec, memory: .plain(field: field, codec: codec, capacity: capacity), capacity: capacity)
        try graph.ensureCapacity(slots: capacity)
        for (slot, vector) in vectors.enumerated() { try insert(vector, slot: slot) }
    }

    func insert(_ vector: [Float], slot: Int) throws {
        var scratch = SearchScratch()
        graph.store(try graph.distance.layout.convert(DenseVector(vector), field: graph.field.name), slot: UInt32(slot), scratch: &scratch)
        try graph.link(slot: UInt32(slot), id: .number(UInt64(slot)), scratch: &scratch)
        graph.publish(slot: UInt32(slot))
    }

    func search(_ query: [Float], limit: Int = 10, ef: Int) throws -> [SlotDistance] {
        var scratch = SearchScratch()
        return try graph.search(DenseVector(query), limit: limit, ef: ef, deadline: nil, scratch: &scratch).nearest
    }

    func exact(_ query: [Float], limit: Int) throws -> [SlotDistance] {
        var scratch = SearchScratch()
        return try graph.exactSearch(DenseVector(query), limit: limit, deadline: nil, scratch: &scratch, precedes: <).nearest
    }

    /// recall@10 over the queries.
    func recall(_ queries: [[Float]], ef: Int) throws -> Double {
        var hits = 0
        for query in queries {
            let truth = Set(try exact(query, limit: 10).map(\.slot))
            hits += try search(query, ef: ef).prefix(10).count { truth.contains($0.slot) }
        }
        let recall = Double(hits) / Double(10 * queries.count)
        print("recall@10 at ef \(ef): \(recall)")
        return recall
    }
}
