/// Byte keys in order, with values: sorted chunks of bounded size, so that inserting moves little and scanning is a walk.
struct OrderedByteMap<Value: Sendable>: Sendable {
    private static var chunkLimit: Int { 256 }

    private struct Chunk: Sendable {
        var keys: [[UInt8]] = []
        var values: [Value] = []
    }

    /// Never empty chunks; every key of a chunk is below every key of the next.
    private var chunks: [Chunk] = []
    private(set) var count = 0

    subscript(key: [UInt8]) -> Value? {
        guard let chunk = chunkIndex(for: key) else { return nil }
        let place = lowerBound(key, in: chunk)
        return place < chunks[chunk].keys.count && chunks[chunk].keys[place] == key ? chunks[chunk].values[place] : nil
    }

    /// Returns the value that was replaced, if any.
    @discardableResult
    mutating func set(_ key: [UInt8], _ value: Value) -> Value? {
        guard let chunk = chunkIndex(for: key) else {
            chunks = [Chunk(keys: [key], values: [value])]
            count = 1
            return nil
        }
        let place = lowerBound(key, in: chunk)
        if place < chunks[chunk].keys.count, chunks[chunk].keys[place] == key {
            defer { chunks[chunk].values[place] = value }
            return chunks[chunk].values[place]
        }
        chunks[chunk].keys.insert(key, at: place)
        chunks[chunk].values.insert(value, at: place)
        count += 1
        if chunks[chunk].keys.count > Self.chunkLimit { split(chunk) }
        return nil
    }

    /// At most `limit` entries after `key` (nil: from the first), in order.
    func entries(after key: [UInt8]?, limit: Int) -> [(key: [UInt8], value: Value)] {
        var result: [(key: [UInt8], value: Value)] = []
        guard count > 0, limit > 0 else { return result }
        var chunk = key.flatMap(chunkIndex(for:)) ?? 0
        var place = key.map { lowerBound($0, in: chunk) } ?? 0
        if let key, place < chunks[chunk].keys.count, chunks[chunk].keys[place] == key { place += 1 }
        while chunk < chunks.count, result.count < limit {
            let taken = min(limit - result.count, chunks[chunk].keys.count - place)
            for index in place..<place + max(0, taken) { result.append((chunks[chunk].keys[index], chunks[chunk].values[index])) }
            chunk += 1
            place = 0
        }
        return result
    }

    private mutating func split(_ index: Int) {
        let half = chunks[index].keys.count / 2
        let upper = Chunk(keys: Array(chunks[index].keys[half...]), values: Array(chunks[index].values[half...]))
        chunks[index].keys.removeSubrange(half...)
        chunks[index].values.removeSubrange(half...)
        chunks.insert(upper, at: index + 1)
    }

    /// The chunk that holds `key` or would; nil when there is none at all.
    private func chunkIndex(for key: [UInt8]) -> Int? {
        if chunks.isEmpty { return nil }
        var (low, high) = (0, chunks.count - 1)
        while low < high {
            let middle = (low + high + 1) / 2
            if key.lexicographicallyPrecedes(chunks[middle].keys[0]) { high = middle - 1 } else { low = middle }
        }
        return low
    }

    private func lowerBound(_ key: [UInt8], in chunk: Int) -> Int {
        var (low, high) = (0, chunks[chunk].keys.count)
        while low < high {
            let middle = (low + high) / 2
            if chunks[chunk].keys[middle].lexicographicallyPrecedes(key) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
