internal import NeedletailCore
internal import NeedletailIndex
internal import NeedletailVectors

/// Some of the queries that a field was asked, evenly drawn, the last few thousand preferred: what calibrations rest on.
///
/// A reservoir (Vitter, "Random sampling with a reservoir", 1985, algorithm R), but the count that chances are taken from stops growing, so
/// that a query leaves in the end and the sample follows what is asked.
struct QuerySample {
    static let capacity = 512
    private static let memory = 16 * capacity

    private(set) var queries: [DenseVector] = []
    /// All that were asked.
    private(set) var seen: UInt64 = 0
    private var random: SplitMix

    init(seed: UInt64) { random = SplitMix(state: seed) }

    mutating func note(_ query: DenseVector) {
        seen += 1
        if queries.count < Self.capacity { return queries.append(query) }
        let place = Int(random.next(below: min(seen, UInt64(Self.memory))))
        if place < Self.capacity { queries[place] = query }
    }
}

extension DenseVector {
    /// A vector as far from this one as `other` is, in a random direction: where another point of the same kind could lie.
    func moved(asFarAs other: DenseVector, graph: HNSWIndex, random: inout SplitMix) -> DenseVector {
        let dimensions = graph.field.dimensions
        if element == .bit {
            // As many bits as differ, at random places; one may be met twice.
            var moved = self
            let flips = zip(bytes, other.bytes).reduce(0) { $0 + ($1.0 ^ $1.1).nonzeroBitCount }
            for _ in 0..<flips {
                let bit = Int(random.next(below: UInt64(dimensions)))
                moved.bytes[bit >> 3] ^= 1 << UInt8(bit & 7)
            }
            return moved
        }
        let (from, to) = (graph.distance.floats(bytes), graph.distance.floats(other.bytes))
        let distance = zip(from, to).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
        // Sums of four uniform numbers are nearly normal, so no direction is preferred.
        var step: [Float] = []
        for _ in 0..<dimensions {
            var sum: Float = -2
            for _ in 0..<4 { sum += Float(random.next(below: 1 << 24)) / Float(1 << 24) }
            step.append(sum)
        }
        let length = step.reduce(0) { $0 + $1 * $1 }.squareRoot()
        let factor = length > 0 ? distance / length : 0
        return DenseVector(zip(from, step).map { $0 + $1 * factor })
    }
}
