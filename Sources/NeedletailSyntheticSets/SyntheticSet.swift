/// Seeded vectors with a known shape, for tests and benchmarks that need no download: what to store and what to ask.
public struct SyntheticSet: Sendable {
    public var base: VectorRows
    /// Held-out draws of the distribution that the base is from.
    public var queries: VectorRows
    /// The cluster of each base row; empty when the set has none.
    public var categories: [Int] = []
    /// Queries whose covariance is unlike the base's; nil when the set has none.
    public var shiftedQueries: VectorRows?

    /// The same rows category by category: the order that is hardest on a graph built row by row.
    public func orderedByCategory() -> SyntheticSet {
        let order = categories.indices.sorted { (categories[$0], $0) < (categories[$1], $1) }
        var ordered = self
        ordered.base = base.selecting(order)
        ordered.categories = order.map { categories[$0] }
        return ordered
    }
}

/// The sets T1 to T5. A seed gives the same rows again with the same C library; another library's logarithm and cosine may differ in
/// a last bit.
public enum SyntheticSets {}
