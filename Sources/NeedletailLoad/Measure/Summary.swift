/// What one kind of request came to in a phase: a row of the report's first table.
public struct SummaryRow: Sendable, Equatable {
    public var phase: String
    public var kind: String
    /// How requests came: "poisson", "constant", "4 workers", "bulk load".
    public var arrivals: String
    /// Requests a second of this kind that were to be sent, as many as there were; nil without a schedule.
    public var asked: Double?
    public var seconds: Double
    public var total: Tally

    public var answeredPerSecond: Double { seconds > 0 ? Double(total.answered) / seconds : 0 }
    public var pointsPerSecond: Double { seconds > 0 ? Double(total.points) / seconds : 0 }
    /// Share of requests that were answered.
    public var availability: Double? { total.ended > 0 ? Double(total.answered) / Double(total.ended) : nil }
    public var recall: Double? { total.wanted > 0 ? Double(total.right) / Double(total.wanted) : nil }
    /// Milliseconds from the moment requests were meant to start.
    public func latency(at percentile: Double) -> Double { Double(total.latency.value(at: percentile)) / 1000 }
}

extension PhaseResult {
    /// The segment that stands for the phase: the only one, or the last at the rate that was found.
    public var representative: SegmentResult? {
        guard segments.count > 1 || found != nil else { return segments.first }
        return segments.last { $0.rate == found } ?? segments.last
    }

    public func summary(_ plan: Scenario.Phase) -> [SummaryRow] {
        guard let segment = representative else { return [] }
        let arrivals =
            plan.bulk.map { "bulk load, \($0.streams) streams" }
            ?? (plan.arrivals == .closed
                ? "closed loop, \(plan.workers) worker\(plan.workers == 1 ? "" : "s")" : "open loop, \(plan.arrivals.rawValue)")
        // As the objective counts: without the first second.
        let slices = segment.isMet == nil ? segment.slices : segment.slices.filter { $0.second >= 1 }
        let seconds = segment.isMet == nil ? segment.seconds : segment.seconds - 1
        return slices.kinds.map { kind in
            let total = slices.total(kind)
            let asked = segment.rate.map { _ in seconds > 0 ? Double(total.ended) / seconds : 0 }
            return SummaryRow(phase: name, kind: kind, arrivals: arrivals, asked: asked, seconds: seconds, total: total)
        }
    }
}

extension LoadResult {
    public var summary: [SummaryRow] { phases.flatMap { $0.summary(scenario.phases[$0.phase]) } }
}
