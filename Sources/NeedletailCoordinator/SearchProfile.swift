internal import Logging
internal import NeedletailCore
internal import NeedletailTelemetry

/// Where the time of a search went, as its coordinator sees it.
struct SearchProfile {
    let began = ContinuousClock.now
    /// Checked, and its fields resolved.
    var planned: ContinuousClock.Instant?
    /// Every shard has answered, or was given up.
    var gathered: ContinuousClock.Instant?
    var merged: ContinuousClock.Instant?
    var reports: [ShardReport] = []
    var work = SearchWork()
    var isPartial: Bool { reports.contains { if case .failed = $0.outcome { true } else { false } } }

    /// Those that were gone through, in order.
    var stages: [(name: String, from: ContinuousClock.Instant, to: ContinuousClock.Instant)] {
        var stages: [(String, ContinuousClock.Instant, ContinuousClock.Instant)] = []
        var last = began
        for (name, end) in [("plan", planned), ("gather", gathered), ("merge", merged)] {
            guard let end else { break }
            stages.append((name, last, end))
            last = end
        }
        return stages
    }

    /// Stages that ask nobody else; what others do has spans of its own.
    func record(in span: Span?) {
        guard let span else { return }
        for stage in stages where stage.name != "gather" { span.record(stage.name, from: stage.from, to: stage.to) }
    }

    /// What was asked, without vectors and payloads, and what it took.
    func account(of request: PointsSearch, took: Duration, error: (any Error)?) -> Logger.Metadata {
        var metadata: Logger.Metadata = [
            "collection": "\(request.collection)", "queries": .stringConvertible(request.queries.count), "took_ms": .stringConvertible(Self.milliseconds(took)),
            "stages": .dictionary(
                Dictionary(uniqueKeysWithValues: stages.map { ("\($0.name)_ms", .stringConvertible(Self.milliseconds($0.from.duration(to: $0.to)))) })),
            "shards": .array(reports.map(Self.account)), "distances": .stringConvertible(work.distances), "hops": .stringConvertible(work.hops),
        ]
        if let query = request.queries.first {
            metadata["field"] = "\(query.field)"
            metadata["limit"] = .stringConvertible(query.limit)
            if let ef = query.ef { metadata["ef"] = .stringConvertible(ef) }
            if let target = query.recallTarget { metadata["recall_target"] = .stringConvertible(target) }
            metadata["exact"] = .stringConvertible(query.exact)
        }
        if let error { metadata["error"] = "\((error as? NeedletailError)?.message ?? "\(error)")" }
        return metadata
    }

    private static func account(of report: ShardReport) -> Logger.MetadataValue {
        var shard: Logger.Metadata = [
            "shard": .stringConvertible(report.shard.number), "waited_ms": .stringConvertible(milliseconds(report.waited)),
            "searched_ms": .stringConvertible(milliseconds(report.searched)), "distances": .stringConvertible(report.work.distances),
            "hops": .stringConvertible(report.work.hops),
        ]
        if let node = report.node { shard["node"] = "\(node)" }
        switch report.outcome {
        case .complete: shard["outcome"] = "complete"
        case .truncated: shard["outcome"] = "truncated"
        case .failed(let error): shard["outcome"] = "failed: \(error.message)"
        }
        return .dictionary(shard)
    }

    /// To the microsecond.
    private static func milliseconds(_ duration: Duration) -> Double { (duration / .microseconds(1)).rounded() / 1000 }
}
