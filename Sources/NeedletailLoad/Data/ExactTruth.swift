import NeedletailCore

/// The nearest rows of each query, by comparing it with all of them. With tenants each has lists of its own, over its rows: row r is
/// tenant r mod `tenants`'.
struct ExactTruth: Sendable {
    /// Nearest first.
    struct Nearest: Sendable {
        var rows: [Int32] = []
        var distances: [Float] = []

        mutating func offer(_ row: Int32, _ distance: Float, depth: Int) {
            if distances.count == depth {
                guard distance < distances[depth - 1] else { return }
                rows.removeLast()
                distances.removeLast()
            }
            var place = distances.count
            while place > 0, distances[place - 1] > distance { place -= 1 }
            rows.insert(row, at: place)
            distances.insert(distance, at: place)
        }
    }

    /// Query by query, one a tenant.
    private let lists: [Nearest]
    private let tenants: Int

    subscript(query: Int, tenant: Int) -> Nearest { lists[query * tenants + tenant] }

    /// - Parameter depth: how many of the nearest are kept; more than are asked for when rows come and go.
    init(_ set: LoadSet, rows: Int, tenants: Int, depth: Int, tasks: Int = 2) async {
        self.tenants = tenants
        let parts = max(1, min(tasks, set.queryCount))
        lists = await withTaskGroup(of: (Int, [Nearest]).self) { group in
            for part in 0..<parts {
                group.addTask {
                    let range = part * set.queryCount / parts..<(part + 1) * set.queryCount / parts
                    let lists = Self.scan(set, queries: range, rows: rows, tenants: tenants, depth: depth)
                    return (part, lists)
                }
            }
            var found = [[Nearest]](repeating: [], count: parts)
            for await (part, lists) in group { found[part] = lists }
            return found.flatMap(\.self)
        }
    }

    /// Some rows at a time with all queries, so that those rows stay in the cache.
    private static func scan(_ set: LoadSet, queries: Range<Int>, rows: Int, tenants: Int, depth: Int) -> [Nearest] {
        var lists = [Nearest](repeating: Nearest(), count: queries.count * tenants)
        let (width, isL2) = (set.dimensions, set.metric == .l2)
        let block = max(1, (128 << 10) / (width * 4))
        set.rows.withUnsafeBufferPointer { all in
            set.queries.withUnsafeBufferPointer { asked in
                for start in stride(from: 0, to: rows, by: block) {
                    for query in queries {
                        let wanted = UnsafeBufferPointer(rebasing: asked[query * width..<(query + 1) * width])
                        for row in start..<min(rows, start + block) {
                            let distance = LoadSet.distance(
                                wanted, UnsafeBufferPointer(rebasing: all[row * width..<(row + 1) * width]), isL2: isL2)
                            lists[(query - queries.lowerBound) * tenants + row % tenants].offer(Int32(row), distance, depth: depth)
                        }
                    }
                }
            }
        }
        return lists
    }
}
