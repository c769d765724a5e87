private import Glibc

/// How well a book's centroids are used by the codes of a set.
public struct CodebookHealth: Sendable, Hashable {
    /// Centroids that there are.
    public let centroids: Int
    /// The part of them that some code names, 0 … 1.
    public let usedShare: Double
    /// e to the entropy of the codes, 1 … `centroids`: as many evenly used centroids would tell as much.
    public let perplexity: Double

    /// - Parameter uses: how often each centroid is named.
    init(uses: [Int]) {
        centroids = uses.count
        let total = Double(max(1, uses.reduce(0, +)))
        usedShare = Double(uses.count { $0 > 0 }) / Double(max(1, uses.count))
        let entropy = uses.reduce(0.0) { sum, count in count > 0 ? sum - Double(count) / total * log(Double(count) / total) : sum }
        perplexity = exp(entropy)
    }
}

extension CodebookCodec {
    /// How the codes of a sample use each book.
    func health(of sample: VectorSample) -> [CodebookHealth] {
        var uses = [[Int]](repeating: [Int](repeating: 0, count: codebooks.centroids), count: codebooks.books)
        withUnsafeTemporaryAllocation(byteCount: scratchBytes, alignment: 64) { scratch in
            withUnsafeTemporaryAllocation(byteCount: strideBytes, alignment: 16) { row in
                guard let scratch = scratch.baseAddress, let row = row.baseAddress else { return }
                sample.values.withUnsafeBufferPointer { values in
                    for index in 0..<sample.count {
                        encode(values.baseAddress.unsafelyUnwrapped + index * sample.dimensions, at: row, scratch: scratch)
                        for (book, code) in codes(row).enumerated() { uses[book][Int(code)] += 1 }
                    }
                }
            }
        }
        return uses.map { CodebookHealth(uses: $0) }
    }
}
