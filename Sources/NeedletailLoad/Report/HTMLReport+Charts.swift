import Foundation

extension HTMLReport {
    private var segments: [(phase: PhaseResult, segment: SegmentResult)] {
        result.phases.flatMap { phase in phase.segments.map { (phase, $0) } }
    }

    private var timeAxis: Chart.Axis {
        let end = segments.map { $0.segment.offset + max(1, Double($0.segment.slices.count)) }.max() ?? 1
        return Chart.Axis(title: "seconds since the start", range: 0...max(1, end), format: { ScenarioKey.plain($0) })
    }

    private var bands: [(range: ClosedRange<Double>, name: String)] {
        result.phases.compactMap { phase in
            guard let first = phase.segments.first, let last = phase.segments.last else { return nil }
            return (first.offset...max(first.offset, last.offset + max(last.seconds, 0)), phase.name)
        }
    }

    private var marks: [(x: Double, label: String, name: String)] { numberedMarks.map { ($0.mark.at, "\($0.number)", $0.mark.name) } }

    /// One line a segment; a point stands in the middle of its second.
    private func overTime(_ value: (Slice, SegmentResult) -> Double?) -> [[(x: Double, y: Double)]] {
        segments.map { _, segment in
            segment.slices.compactMap { slice in value(slice, segment).map { (segment.offset + Double(slice.second) + 0.5, $0) } }
        }
    }

    /// - Parameter headroom: for marks, which stand at the top.
    private static func latencyRange(_ lines: [[(x: Double, y: Double)]], headroom: Double = 1.25) -> ClosedRange<Double> {
        let values = lines.flatMap { $0.map(\.y) }.filter { $0 > 0 }
        let (low, high) = (values.min() ?? 0.1, values.max() ?? 10)
        return low * 0.8...max(high * headroom, low * 10)
    }

    private static func milliseconds(_ value: Double) -> String { String(format: "%g", value) }

    /// Latency over time, one chart a kind of request.
    var latencyCharts: String {
        segments.flatMap { $0.segment.slices.kinds }.reduce(into: [String]()) { if !$0.contains($1) { $0.append($1) } }.map {
            kind in
            let percentiles: [(String, Double, String)] = [
                ("p50", 50, "s0"), ("p90", 90, "s1"), ("p99", 99, "s2"), ("slowest", 100, "s7"),
            ]
            let series = percentiles.map { name, percentile, colour in
                Chart.Series(
                    name: name,
                    lines: overTime { slice, _ in
                        guard let latency = slice.tallies[kind]?.latency, !latency.isEmpty else { return nil }
                        return Double(latency.value(at: percentile)) / 1000
                    }, colour: colour)
            }
            let y = Chart.Axis(
                title: "milliseconds", scale: .logarithmic,
                range: Self.latencyRange(series.flatMap(\.lines), headroom: marks.isEmpty ? 1.25 : 3),
                format: Self.milliseconds)
            return figure(
                Chart(
                    title: "Latency of \(Self.plural(kind)), each second", x: timeAxis, y: y, series: series, marks: marks,
                    bands: bands),
                "From the moment a request was meant to start until its answer. A second's figures are of the requests that were meant to start in it."
            )
        }.joined()
    }

    var rateChart: String {
        let asked = segments.map { _, segment in
            segment.rate.map { rate in [(segment.offset, rate), (segment.offset + segment.seconds, rate)] } ?? []
        }
        let answered = overTime { slice, segment in Double(slice.second) + 1 <= segment.seconds ? Double(slice.all.completed) : nil }
        let failed = overTime { slice, _ in slice.all.failures > 0 ? Double(slice.all.failures) : nil }
        let failures = failed.flatMap(\.self)
        let top = ([asked, answered, failed].flatMap { $0 }.flatMap { $0.map(\.y) }.max() ?? 1) * 1.15
        var series = [
            Chart.Series(name: "to be sent", lines: asked, colour: "s7", isDashed: true),
            Chart.Series(name: "answered", lines: answered, colour: "s0"),
        ]
        if !failures.isEmpty { series.append(Chart.Series(name: "failed", lines: failed, colour: "s2", isDots: true)) }
        let chart = Chart(
            title: "Requests a second", x: timeAxis,
            y: Chart.Axis(title: "requests a second", range: 0...max(1, top), format: { Text.count(Int($0)) }),
            series: series, marks: marks, bands: bands)
        return figure(
            chart,
            failures.isEmpty ? "No request failed." : "Requests that failed stand in the second in which they were meant to start.")
    }

    var percentileChart: String {
        var series: [Chart.Series] = []
        for (number, phase) in result.phases.enumerated() where number < 8 {
            guard let segment = phase.representative else { continue }
            let kinds = segment.slices.kinds
            guard let kind = kinds.first(where: { $0.hasPrefix("search") }) ?? kinds.first else { continue }
            let total = segment.slices.total(kind)
            guard !total.latency.isEmpty else { continue }
            let label = kinds.count > 1 ? "\(phase.name) (\(Self.plural(kind)))" : phase.name
            series.append(Chart.Series(name: label, lines: [Self.curve(total.latency)], colour: "s\(number % 7)"))
            // Worth a line of its own only where it tells another story.
            if total.service.value(at: 99) * 10 < total.latency.value(at: 99) * 9, segment.rate != nil {
                series.append(
                    Chart.Series(
                        name: "\(phase.name), from sending", lines: [Self.curve(total.service)], colour: "s\(number % 7)",
                        isDashed: true))
            }
        }
        let most = series.flatMap { $0.lines.flatMap { $0.map(\.x) } }.max() ?? 99
        let y = Chart.Axis(
            title: "milliseconds", scale: .logarithmic, range: Self.latencyRange(series.flatMap(\.lines)), format: Self.milliseconds
        )
        let x = Chart.Axis(
            title: "percentile of requests", scale: .tail, range: 0...max(99.9, most), format: { ScenarioKey.plain($0) })
        return figure(
            Chart(title: "Latency by percentile", x: x, y: y, series: series),
            "At 99, one request in a hundred took longer than the line says. A closed loop waits when the server stalls, "
                + "and so asks less just then: its tail looks "
                + "better than what independent clients see.")
    }

    /// To the last percentile that ten requests lie beyond.
    private static func curve(_ histogram: LatencyHistogram) -> [(x: Double, y: Double)] {
        let last = 100 * (1 - 10 / Double(max(20, histogram.count)))
        let steps = stride(from: 0.0, through: 5, by: 0.05).map { 100 * (1 - pow(10, -$0)) }
        return (steps.filter { $0 <= last }).map { ($0, max(0.001, Double(histogram.value(at: $0)) / 1000)) }
    }

    /// Of searches for a rate, and of several phases at different rates.
    var throughputChart: String {
        let open = segments.filter { $0.segment.rate != nil && $0.segment.slices.total().answered > 0 }
        guard Set(open.map { $0.segment.rate ?? 0 }).count > 2 else { return "" }
        func points(_ percentile: Double, _ isWanted: (SegmentResult) -> Bool) -> [(x: Double, y: Double)] {
            open.filter { isWanted($0.segment) }.map { _, segment in
                // As the objective counts: without the cold second.
                let total = segment.slices.filter { $0.second >= 1 || segment.isMet == nil }.total()
                let seconds = segment.isMet == nil ? segment.seconds : segment.seconds - 1
                return (Double(total.answered) / max(0.1, seconds), Double(total.latency.value(at: percentile)) / 1000)
            }.sorted { $0.x < $1.x }
        }
        let find = result.phases.lazy.compactMap { result.scenario.phases[$0.phase].find }.first
        let shown: [(Double, String)] = [(50, "s0"), (find?.percentile ?? 99, "s2")]
        let series = shown.map { percentile, colour in
            Chart.Series(
                name: "p\(ScenarioKey.plain(percentile))", lines: [points(percentile) { $0.isMet ?? true }], colour: colour,
                isDots: true,
                hollow: points(percentile) { $0.isMet == false })
        }
        let all = series.flatMap { $0.lines + [$0.hollow] }
        let x = Chart.Axis(
            title: "requests answered a second", range: 0...((all.flatMap { $0.map(\.x) }.max() ?? 1) * 1.08),
            format: { Text.count(Int($0)) })
        let y = Chart.Axis(title: "milliseconds", scale: .logarithmic, range: Self.latencyRange(all), format: Self.milliseconds)
        let limit = find.map {
            (
                y: $0.milliseconds,
                label: "objective: p\(ScenarioKey.plain($0.percentile)) at most \(Text.milliseconds($0.milliseconds))"
            )
        }
        return figure(
            Chart(title: "Throughput against latency", x: x, y: y, series: series, limit: limit),
            find == nil ? "A dot is a phase." : "A dot is a rate that was tried. Hollow: it missed the objective.")
    }

    var recallChart: String {
        guard result.summary.contains(where: { $0.recall != nil }) else { return "" }
        let lines = overTime { slice, _ in
            let all = slice.all
            return all.wanted > 0 ? Double(all.right) / Double(all.wanted) : nil
        }
        let least = lines.flatMap { $0.map(\.y) }.min() ?? 0
        let low = max(0, least - max(0.02, (1 - least) * 0.3))
        let y = Chart.Axis(title: "recall", range: min(low, 0.98)...1.0, format: { String(format: "%.3f", $0) })
        return figure(
            Chart(
                title: "Recall of the answers, each second", x: timeAxis, y: y,
                series: [Chart.Series(name: "recall", lines: lines, colour: "s0")], marks: marks, bands: bands),
            "Share of the true nearest points that answers had, compared with an exact search in the load process.")
    }

    static func plural(_ kind: String) -> String {
        let words = [
            "search": "searches", "batch": "batches of searches", "upsert": "upserts", "delete": "deletions",
            "load": "writes of the bulk load",
        ]
        let name = kind.prefix { $0 != "," }
        return (words[String(name)] ?? String(name)) + kind.dropFirst(name.count)
    }
}
