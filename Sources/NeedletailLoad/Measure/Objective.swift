/// Whether a rate meets what was asked for.
enum Objective {
    /// The first second does not count: connections and caches are cold.
    /// - Returns: nil when it is met, else why not.
    static func miss(_ find: Scenario.Find, _ slices: [Slice]) -> String? {
        let total = slices.filter { $0.second >= 1 }.total()
        guard total.answered > 0 else { return "nothing was answered" }
        let share = Double(total.failures) / Double(max(1, total.ended))
        if share > find.failed { return "\(total.failures) of \(total.ended) requests failed" }
        let latency = Double(total.latency.value(at: find.percentile)) / 1000
        if latency > find.milliseconds { return "p\(ScenarioKey.plain(find.percentile)) was \(Text.milliseconds(latency))" }
        if find.recall > 0 {
            guard total.wanted > 0 else { return "no answer could be judged" }
            let recall = Double(total.right) / Double(total.wanted)
            if recall < find.recall { return "recall was \(Text.share(recall))" }
        }
        return nil
    }
}
