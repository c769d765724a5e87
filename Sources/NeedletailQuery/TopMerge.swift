public import NeedletailCore

/// Merging of sorted answers: of shards in a node, of nodes in a coordinator. The same code on both, so an answer does not depend on
/// how shards are spread over nodes.
public enum TopMerge {
    /// The best `limit` points of several lists that are sorted best first (`ScoredPoint.isBetter`).
    ///
    /// A point that stands in several lists (its shard was asked twice, or it was replaced during the search) counts once, with the
    /// newer of its versions. Cost: lists × limit × log.
    public static func merge(_ lists: [[ScoredPoint]], limit: Int) -> [ScoredPoint] {
        if lists.count == 1 { return Array(lists[0].prefix(limit)) }
        var points = lists.flatMap { $0.prefix(limit) }
        points.sort(by: ScoredPoint.isBetter)
        var seen: [PointID: Int] = [:]
        var merged: [ScoredPoint] = []
        merged.reserveCapacity(min(limit, points.count))
        for point in points {
            if let position = seen[point.id] {
                if merged[position].sequence < point.sequence { merged[position] = point }
                continue
            }
            if merged.count == limit { continue }
            seen[point.id] = merged.count
            merged.append(point)
        }
        merged.sort(by: ScoredPoint.isBetter)
        return merged
    }
}
