public import NeedletailCore
internal import NeedletailIndex
internal import NeedletailStorage
internal import NeedletailVectors
internal import Synchronization

extension LocalNode {
    public func sample(_ request: ShardSample) async throws -> [UInt8] {
        let replica = try replica(request.shard)
        return try await resources.searchPool.run { _ in try replica.sample(request) }
    }

    public func train(_ request: CodecTrainingRequest) async throws -> [UInt8] {
        try request.field.validate()
        return try await resources.trainingPool.run { _ in
            try request.deadline?.check(before: "the codec of field \"\(request.field.name)\" was trained")
            let dimensions = request.field.dimensions
            let sample = try VectorSample(request.sample.floats, dimensions: dimensions)
            let queries = request.queries.isEmpty ? nil : try VectorSample(request.queries.floats, dimensions: dimensions)
            return try CodecTraining.train(request.field, sample: sample, queries: queries).encoded
        }
    }
}

extension LocalNode {
    /// Hands a codec's model to the replicas of its collection that are here and have no later one; they encode in the background.
    /// - Throws: `dataLoss` when it does not fit the field, what the disk says otherwise.
    public func take(_ model: CollectionModel) async throws {
        for case .ready(let replica) in replicas.withLock({ Array($0.values) })
        where replica.assignment.shard.incarnation == model.incarnation { try await replica.take(model.model) }
    }
}

extension Replica {
    /// Runs in a job of the search pool, so that no slot that it reads is used for another point meanwhile.
    func sample(_ request: ShardSample) throws -> [UInt8] {
        guard fields.indices.contains(request.field), fields[request.field].graph.field.element != .bit else {
            throw NeedletailError(.invalidArgument, "there is no field number \(request.field) of floats to draw vectors from")
        }
        let graph = fields[request.field].graph
        var slots = (0..<UInt32(points.slab.slotCount)).filter { graph.live[Int($0)] }
        if slots.count > request.count {
            // The first steps of a shuffle (Fisher and Yates), then in the order of memory.
            var random = SplitMix(state: request.seed)
            for index in 0..<request.count { slots.swapAt(index, index + Int(random.next(below: UInt64(slots.count - index)))) }
            slots = slots.prefix(request.count).sorted()
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(slots.count * graph.field.dimensions * 4)
        for slot in slots {
            if let vector = graph.vector(slot: slot) { bytes += DenseVector(graph.distance.floats(vector.bytes)).bytes }
        }
        return bytes
    }
}

extension [UInt8] {
    /// Little-endian float32; bytes beyond the last whole one count as one more value, which no number of dimensions fits.
    fileprivate var floats: [Float] {
        withUnsafeBytes { bytes in
            (0..<(bytes.count + 3) / 4).map { index in
                index * 4 + 4 <= bytes.count
                    ? Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: index * 4, as: UInt32.self))) : .nan
            }
        }
    }
}

/// Steele, Lea and Flood's SplitMix64 ("Fast splittable pseudorandom number generators", 2014).
struct SplitMix {
    var state: UInt64

    mutating func next(below bound: UInt64) -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return (mixed ^ (mixed >> 31)).multipliedFullWidth(by: bound).high
    }
}
