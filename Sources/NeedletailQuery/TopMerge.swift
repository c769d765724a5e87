public import NeedletailCore

/// Merging of sorted answers: of shards in a node, of nodes in a coordinator. The same code on both, so an answer does not depend on
/// how shards are spread over nodes.
public enum TopMerge {
    /// The best `limit` points of several lists that are sorted best first (`ScoredPoint.isBetter`).
    ///
    /// A point that stands in several lists (its shard was asked twice, or it was replaced during the search) counts once, with the
    /// newer of its versions. Cost: lists² × limit.
    public static func merge(_ lists: [[ScoredPoint]], limit: Int) -> [ScoredPoint] {
        lists.count == 1 ? Array(lists[0].prefix(limit)) : unique(interleaved(lists, limit: limit), limit: limit)
    }

    /// The best `limit` of points in any order, each once.
    public static func best(of points: [ScoredPoint], limit: Int) -> [ScoredPoint] {
        let isSorted = points.indices.dropFirst().allSatisfy { !ScoredPoint.isBetter(points[$0], points[$0 - 1]) }
        return unique(isSorted ? points : points.sorted(by: ScoredPoint.isBetter), limit: limit)
    }

    /// All points of the lists' first `limit`, sorted. Lists are few, so the best of their heads is looked for one by one.
    private static func interleaved(_ lists: [[ScoredPoint]], limit: Int) -> [ScoredPoint] {
        let ends = lists.map { min($0.count, limit) }
        var next = Array(repeating: 0, count: lists.count)
        var points: [ScoredPoint] = []
        points.reserveCapacity(ends.reduce(0, +))
        while true {
            var first: (list: Int, score: Float, id: PointID)?
            for list in lists.indices where next[list] < ends[list] {
                // Only what orders points is read: a whole point owns arrays.
                let (score, id) = (lists[list][next[list]].score, lists[list][next[list]].id)
                if let best = first, best.score > score || (best.score == score && best.id <= id) { continue }
                first = (list, score, id)
            }
            guard let first else { return points }
            points.append(lists[first.list][next[first.list]])
            next[first.list] += 1
        }
    }

    /// The first `limit` of sorted points, each with the newest of its versions.
    private static func unique(_ points: [ScoredPoint], limit: Int) -> [ScoredPoint] {
        // Hashing costs more than looking through a few.
        var known: [PointID: Int]? = points.count > 64 ? [:] : nil
        var merged: [ScoredPoint] = []
        merged.reserveCapacity(min(limit, points.count))
        var isReplaced = false
        for index in points.indices {
            let id = points[index].id
            let position = known.map { $0[id] } ?? merged.firstIndex { $0.id == id }
            if let position {
                guard merged[position].sequence < points[index].sequence else { continue }
                merged[position] = points[index]
                isReplaced = true
            } else if merged.count < limit {
                known?[id] = merged.count
                merged.append(points[index])
            }
        }
        if isReplaced { merged.sort(by: ScoredPoint.isBetter) }
        return merged
    }
}
