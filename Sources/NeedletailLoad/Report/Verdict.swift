/// A result in sentences, for the report's beginning and the terminal.
public enum Verdict {
    public static func sentences(_ result: LoadResult) -> [String] {
        var all: [String] = []
        if let interruption = result.interruption {
            all.append("Ended early: \(interruption). What follows is of the time until then.")
        }
        for phase in result.phases {
            let plan = result.scenario.phases[phase.phase]
            if let find = plan.find { all.append(sentence(phase, find)) }
            for row in phase.summary(plan) { all.append(sentence(row)) }
            for impact in FaultImpact.of(phase) { all.append(sentence(impact)) }
        }
        if let turnover = turnover(result) { all.append(turnover) }
        return all
    }

    private static func sentence(_ phase: PhaseResult, _ find: Scenario.Find) -> String {
        let objective = "p\(ScenarioKey.plain(find.percentile)) of at most \(Text.milliseconds(find.milliseconds))"
        let recall = find.recall > 0 ? " and recall of at least \(ScenarioKey.plain(find.recall))" : ""
        guard let found = phase.found else {
            return phase.segments.isEmpty
                ? "\(phase.name): no rate was tried." : "\(phase.name): no rate with \(objective)\(recall) was found."
        }
        return "\(phase.name): the highest rate with \(objective)\(recall) is \(Text.rate(found)) requests a second."
    }

    private static func sentence(_ row: SummaryRow) -> String {
        let kind = HTMLReport.plural(row.kind)
        guard row.total.answered > 0 else { return "\(row.phase): none of \(Text.count(row.total.ended)) \(kind) was answered." }
        let failed =
            row.total.failures == 0
            ? "none failed"
            : "\(Text.count(row.total.failures)) failed (\(row.availability.map(Text.percent) ?? "–") were answered)"
        var text =
            "\(row.phase): \(Text.count(row.total.ended)) \(kind), \(Text.rate(row.answeredPerSecond)) answered a second, \(failed)"
        if row.kind.hasPrefix("load") || row.kind.hasPrefix("upsert") {
            text += ", \(Text.rate(row.pointsPerSecond)) points a second"
        }
        text += "; p50 \(Text.milliseconds(row.latency(at: 50))), p99 \(Text.milliseconds(row.latency(at: 99)))"
        if let recall = row.recall { text += ", recall \(Text.share(recall))" }
        return text + "."
    }

    private static func sentence(_ impact: FaultImpact) -> String {
        let name = impact.mark.name.prefix(1).uppercased() + impact.mark.name.dropFirst()
        if let problem = impact.mark.problem { return "\(name): could not be done: \(problem)" }
        let failed = impact.failed == 0 ? "none" : "\(Text.count(impact.failed))"
        let recovery = impact.recovery.map { $0 == 0 ? "the three seconds after it were as before" : "well again after \(Text.digits($0)) s" }
        return "\(name) at \(Text.digits(impact.mark.at)) s: \(failed) of \(Text.count(impact.ended)) \(impact.requests) failed, "
            + "worst second's p99 \(Text.milliseconds(impact.p99Worst)), \(recovery ?? "not well again before the next fault or the end")."
    }

    /// How much of the set was replaced.
    private static func turnover(_ result: LoadResult) -> String? {
        let deleted = result.phases.flatMap(\.segments).flatMap(\.slices).reduce(0) { sum, slice in
            sum + slice.tallies.filter { $0.key.hasPrefix("delete") }.reduce(0) { $0 + $1.value.points }
        }
        guard deleted > 0, result.scenario.data.points > 0 else { return nil }
        let share = Double(deleted) / Double(result.scenario.data.points)
        return "\(Text.count(deleted)) points were deleted and others took their place: \(Text.digits(share)) times the set."
    }

    /// What must be known before the figures are believed.
    public static func warnings(_ result: LoadResult) -> [String] {
        var all: [String] = []
        for phase in result.phases {
            guard let segment = phase.representative, segment.rate != nil else { continue }
            let held = segment.slices.reduce(0) { $0 + $1.held }
            if held > 0 {
                all.append(
                    "\(phase.name): \(Text.count(held)) requests had to wait because \(Text.count(result.scenario.client.outstanding)) were under way "
                        + "in a load process; "
                        + "their wait is in the latency.")
            }
            let lag = segment.slices.reduce(into: LatencyHistogram()) { $0 += $1.lag }
            let late = Double(lag.value(at: 99)) / 1000
            let p99 = Double(segment.slices.total().latency.value(at: 99)) / 1000
            if late > 1, late > 0.2 * p99, held == 0 {
                all.append(
                    "\(phase.name): the load process itself sent one request in a hundred more than \(Text.milliseconds(late)) late: "
                        + "it lacked processor time, and the figures "
                        + "are of it as much as of the cluster. Use more load processes, or another machine.")
            }
        }
        let found = result.phases.flatMap(\.segments).flatMap(\.slices).total()
        if found.deletedFound > 0 {
            all.append(
                "\(Text.count(found.deletedFound)) answers had a point whose deletion had been acknowledged when they were asked for."
            )
        }
        return all
    }
}
