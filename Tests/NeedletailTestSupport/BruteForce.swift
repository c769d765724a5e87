public import NeedletailCore

/// The slow, obvious answer that every fast one is held against, in float64.
public enum BruteForce {
    public static func distance(_ metric: Metric, _ left: [Float], _ right: [Float]) -> Double {
        switch metric {
        case .l2: return zip(left, right).reduce(0) { $0 + (Double($1.0) - Double($1.1)) * (Double($1.0) - Double($1.1)) }
        case .dot: return -dot(left, right)
        case .cosine:
            let norms = (dot(left, left) * dot(right, right)).squareRoot()
            return norms > 0 ? 1 - dot(left, right) / norms : 1
        case .hamming: return Double(zip(left, right).count { $0 != $1 })
        }
    }

    private static func dot(_ left: [Float], _ right: [Float]) -> Double {
        var sum = 0.0
        for index in left.indices { sum += Double(left[index]) * Double(right[index]) }
        return sum
    }

    /// Indices of the `limit` nearest vectors, nearest first, ties by index.
    public static func nearest(_ metric: Metric, to query: [Float], in vectors: [[Float]], limit: Int) -> [Int] {
        let distances = vectors.map { distance(metric, query, $0) }
        return Array(vectors.indices.sorted { (distances[$0], $0) < (distances[$1], $1) }.prefix(limit))
    }
}
