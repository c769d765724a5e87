import NeedletailCore
import NeedletailIndex
import NeedletailTestSupport
import NeedletailVectors

/// An index over plain memory whose slots are the vectors' positions.
struct TestIndex: Sendable {
    let graph: HNSWIndex

    /// With `training` the graph walks on the field's codec from the beginning. Of specs that say so the vectors lie in a mapped file.
    init(field: VectorField, vectors: [[Float]], capacity: Int? = nil, training: [[Float]]? = nil, queries: [[Float]]? = nil) throws {
        let capacity = capacity ?? vectors.count
        func sample(_ rows: [[Float]]) throws -> VectorSample { try VectorSample(rows.flatMap(\.self), dimensions: field.dimensions) }
        let codec = try training.map { try CodecTraining.train(field, sample: sample($0), queries: try queries.map(sample)).rowCodec() }
        var rows: MappedSlotMemory?
        if field.index.rescore.source == .file {
            let directory = TemporaryDirectory()
            // The mapping outlives its name.
            rows = try withExtendedLifetime(directory) {
                try MappedSlotMemory(path: directory.path + "/rows", strideBytes: VectorLayout(field: field).strideBytes, capacity: capacity)
            }
        }
        let memory = GraphMemory.plain(field: field, codec: codec, capacity: capacity, rows: rows)
        graph = HNSWIndex(field: field, codec: codec, memory: memory, capacity: capacity)
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
