import Foundation

extension HTMLReport {
    /// The result in a few sentences.
    var verdict: String {
        let sentences = Verdict.sentences(result)
        let isBad =
            result.interruption != nil || result.summary.contains { $0.total.failures > 0 }
            || result.phases.contains { $0.marks.contains { $0.problem != nil } }
        return
            "<div class=\"verdict\(isBad ? " bad" : "")\"><ul>\(sentences.map { "<li>\(HTML.escape($0))</li>" }.joined())</ul></div>\n"
    }

    var summaryTable: String {
        let rows = result.summary.map { row in
            [
                row.phase, Self.plural(row.kind), row.arrivals, row.asked.map(Text.rate) ?? "–", Text.rate(row.answeredPerSecond),
                Text.count(row.total.failures),
                Text.count(row.total.uncovered), Text.count(row.total.stale),
            ] + [50, 90, 99, 99.9, 100].map { row.total.latency.isEmpty ? "–" : Text.milliseconds(row.latency(at: $0)) } + [
                row.recall.map(Text.share) ?? "–"
            ]
        }
        return HTML.table(
            [
                "phase", "requests", "arrivals", "sent /s", "answered /s", "failed", "uncovered", "stale", "p50", "p90", "p99",
                "p99.9", "slowest", "recall",
            ], rows,
            numbersFrom: 3)
    }

    /// What the reader must know before believing the figures.
    var notes: String {
        let notes = Verdict.warnings(result)
        return notes.isEmpty ? "" : "<ul>\(notes.map { "<li>\(HTML.escape($0))</li>" }.joined())</ul>\n"
    }

    var faultTable: String {
        guard !numberedMarks.isEmpty else { return "" }
        let impacts = result.phases.flatMap { FaultImpact.of($0) }
        let rows = numberedMarks.flatMap { number, phase, mark -> [[String]] in
            let own = impacts.filter { $0.mark == mark && $0.phase == phase.name }
            return own.isEmpty ? [Self.row(number, mark, nil)] : own.map { Self.row(number, mark, $0) }
        }
        let table = HTML.table(
            [
                "", "fault", "at", "took", "requests", "answered", "failed", "last failure after", "p99 before", "p99 worst second",
                "well again after",
            ], rows, numbersFrom: 2)
        return
            "<h2>Faults</h2>\n\(table)<p>Each row counts until the next fault. Well: no request of the second failed, "
            + "and its p99 was at most three times what it was before the "
            + "first fault, or 5 ms above it; this for three seconds running.</p>\n"
    }

    private static func row(_ number: Int, _ mark: FaultMark, _ impact: FaultImpact?) -> [String] {
        let none = "–"
        func seconds(_ value: Double?) -> String { value.map { Text.digits($0) + " s" } ?? none }
        let name = mark.name + (mark.problem.map { " – could not be done: \($0)" } ?? "")
        var row = ["\(number)", name, seconds(mark.at), mark.took >= 0.05 ? seconds(mark.took) : none]
        guard let impact else { return row + [String](repeating: none, count: 7) }
        row += [impact.requests, impact.availability.map(Text.percent) ?? none, Text.count(impact.failed), seconds(impact.lastFailure)]
        row += [impact.p99Before.map(Text.milliseconds) ?? none, Text.milliseconds(impact.p99Worst)]
        guard let recovery = impact.recovery else { return row + ["not before the next"] }
        return row + [recovery == 0 ? "at once" : seconds(recovery)]
    }

    /// Every rate that was tried.
    var stepTable: String {
        result.phases.filter { result.scenario.phases[$0.phase].find != nil }.map { phase in
            let find = result.scenario.phases[phase.phase].find
            let rows = phase.segments.map { segment in
                let total = segment.slices.filter { $0.second >= 1 }.total()
                return [
                    Text.rate(segment.rate ?? 0), Text.digits(segment.seconds) + " s",
                    Text.milliseconds(Double(total.latency.value(at: 50)) / 1000),
                    Text.milliseconds(Double(total.latency.value(at: find?.percentile ?? 99)) / 1000),
                    total.wanted > 0 ? Text.share(Double(total.right) / Double(total.wanted)) : "–", Text.count(total.failures),
                    segment.isMet == true ? "met" : segment.miss,
                ]
            }
            let percentile = "p\(ScenarioKey.plain(find?.percentile ?? 99))"
            return "<h2>Rates tried in “\(HTML.escape(phase.name))”</h2>\n"
                + HTML.table(["rate", "for", "p50", percentile, "recall", "failed", "objective"], rows, numbersFrom: 0)
        }.joined()
    }

    var errorTable: String {
        var rows: [[String]] = []
        for phase in result.phases {
            let slices = phase.segments.flatMap(\.slices)
            for (code, count) in slices.total().failed.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) }) {
                rows.append([phase.name, code, Text.count(count), slices.lazy.compactMap { $0.messages[code] }.first ?? ""])
            }
        }
        return rows.isEmpty
            ? "" : "<h2>Errors</h2>\n" + HTML.table(["phase", "code", "requests", "the first one said"], rows, numbersFrom: 9)
    }

    var facts: String {
        let scenario = result.scenario
        let collection = scenario.collection
        let tenants =
            collection.tenants > 1
            ? ", \(collection.tenants) tenants with a collection each, skew \(ScenarioKey.plain(collection.skew))" : ""
        let facts = [
            "Target: \(result.target).",
            "Set: \(result.set). Collection: \(collection.shards) shards, "
                + "\(collection.replicas) replica\(collection.replicas == 1 ? "" : "s") each, index \(collection.index)\(tenants).",
            "Load: \(result.processes) process\(result.processes == 1 ? "" : "es") with \(scenario.client.connections) connections each and at most "
                + "\(Text.count(scenario.client.outstanding)) requests under way, over plain gRPC.",
            "Machine of the conductor: \(result.machine). Needletail \(result.version), \(result.startedAt).",
            "Latency counts from the moment a request was meant to be sent, by the schedule that was drawn beforehand, and only answered requests are in it; "
                + "it is kept in HDR histograms of three digits, one a second. Nothing is sent again: a request that fails has failed.",
            "Uncovered: the answer lacked shards. Stale: it was of a state before a write that the same load process had been told of when it asked.",
        ]
        return "<ul>\(facts.map { "<li>\(HTML.escape($0))</li>" }.joined())</ul>\n"
    }
}
