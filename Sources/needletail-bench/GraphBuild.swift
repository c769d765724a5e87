import Foundation
import NeedletailCore
import NeedletailIndex
import NeedletailSyntheticSets
import NeedletailVectors
import Synchronization

/// Building a graph in this process, from all rows of a file, on a number of threads.
enum GraphBuild {
    /// The codec of the field's spec, trained on an even sample of the rows; nil for a field without one.
    static func train(_ data: VectorFile, field: VectorField) throws -> (any RowCodec)? {
        guard field.index.needsTraining else { return nil }
        let step = max(1, data.count / CodecTraining.sampleCount)
        let sample = stride(from: 0, to: data.count, by: step).flatMap {
            data.values[$0 * data.dimensions..<($0 + 1) * data.dimensions]
        }
        return try CodecTraining.train(field, sample: VectorSample(sample, dimensions: data.dimensions)).rowCodec()
    }

    static func build(_ data: VectorFile, field: VectorField, codec: (any RowCodec)? = nil, threads: Int) async throws -> HNSWIndex {
        var rows: MappedSlotMemory?
        if field.index.rescore.source == .file {
            let path = NSTemporaryDirectory() + "/needletail-bench-\(getpid())-vectors"
            rows = try MappedSlotMemory(path: path, strideBytes: VectorLayout(field: field).strideBytes, capacity: data.count)
        }
        let memory = GraphMemory.plain(field: field, codec: codec, capacity: data.count, rows: rows)
        let index = HNSWIndex(field: field, codec: codec, memory: memory, capacity: data.count)
        try index.ensureCapacity(slots: data.count)
        let next = SharedCounter()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<threads {
                group.addTask {
                    var scratch = SearchScratch()
                    while let row = next.take(below: data.count) {
                        let vector = try index.distance.layout.convert(data.vector(row), field: field.name)
                        index.store(vector, slot: UInt32(row), scratch: &scratch)
                        try index.link(slot: UInt32(row), id: .number(UInt64(row)), scratch: &scratch)
                        index.publish(slot: UInt32(row))
                    }
                }
            }
            try await group.waitForAll()
        }
        rows?.evict()
        return index
    }
}

/// Hands out the numbers from 0 upwards, each once, to any thread.
final class SharedCounter: Sendable {
    private let next = Atomic<Int>(0)

    func take(below bound: Int) -> Int? {
        let value = next.wrappingAdd(1, ordering: .relaxed).oldValue
        return value < bound ? value : nil
    }
}
