public import NeedletailCore
internal import Synchronization

/// What a walk spends: the knobs behind a recall target.
public struct SearchEffort: Sendable, Hashable {
    /// Breadth of the walk.
    public var ef: Int
    /// Distances after which it ends; a limit only when even the smallest breadth finds more than is asked.
    public var distanceLimit: Int

    public init(ef: Int, distanceLimit: Int = .max) {
        self.ef = ef
        self.distanceLimit = distanceLimit
    }
}

/// How much of the truth each effort found on a sample of queries, for one number of answers: turns a recall target into an effort (F19).
public struct RecallCalibration: Sendable, Hashable {
    public struct Step: Sendable, Hashable {
        public var effort: SearchEffort
        /// Mean recall@limit of the sample; never falls from one step to the next.
        public var recall: Double
    }

    public let limit: Int
    /// By rising effort.
    public let steps: [Step]
    public let queryCount: Int

    init(limit: Int, steps: [Step], queryCount: Int) {
        self.limit = limit
        self.queryCount = queryCount
        var best = 0.0
        // More effort finds no less; what a finite sample says otherwise is noise.
        self.steps = steps.map { step in
            best = max(best, step.recall)
            return Step(effort: step.effort, recall: best)
        }
    }

    /// The least effort whose recall is expected at the target: one percent above it, so that the sample's error rarely lands
    /// a search below. nil when no effort tried reaches it: the target cannot be met.
    public func effort(target: Double) -> SearchEffort? {
        let aim = min(target + 0.0125, (1 + target) / 2)
        guard let index = steps.firstIndex(where: { $0.recall >= aim }) else {
            // The last step may reach the target itself, if not the margin.
            return steps.last.flatMap { $0.recall >= target ? $0.effort : nil }
        }
        guard index > 0 else { return steps[0].effort }
        let (below, above) = (steps[index - 1], steps[index])
        let part = above.recall > below.recall ? (aim - below.recall) / (above.recall - below.recall) : 1
        func between(_ low: Int, _ high: Int) -> Int { low + Int((Double(high - low) * part).rounded(.up)) }
        if above.effort.distanceLimit != .max {
            let limit = between(below.effort.distanceLimit, above.effort.distanceLimit)
            return SearchEffort(ef: above.effort.ef, distanceLimit: limit)
        }
        if below.effort.distanceLimit != .max { return above.effort }
        return SearchEffort(ef: between(below.effort.ef, above.effort.ef))
    }
}

extension HNSWIndex {
    /// Breadths tried, as multiples of the answers wanted, and for less than the smallest of them parts of the distances that it takes: one
    /// more candidate can mean a jump in recall, one more distance hardly.
    private static let parts = [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3]
    private static let breadths = [2, 2.5, 3.2, 4, 5, 6.4, 8, 10, 13, 16, 20, 26, 32, 40, 52, 64]

    /// Measures recall@limit over a ladder of efforts on sample queries, against their exact answers. Ends where nothing is left to find.
    /// - Throws: `invalidArgument` for a query that does not fit, or no queries.
    public func calibrate(
        queries: [DenseVector], limit: Int, scratch: inout SearchScratch
    ) throws(NeedletailError) -> RecallCalibration {
        guard !queries.isEmpty, limit > 0 else {
            throw NeedletailError(.invalidArgument, "a recall target is calibrated on queries; give some, better some hundreds")
        }
        var truths: [Set<UInt32>] = []
        for query in queries {
            let truth = try exactSearch(query, limit: limit, deadline: nil, scratch: &scratch, precedes: <)
            truths.append(Set(truth.nearest.map(\.slot)))
        }
        var work = SearchWork()
        for query in queries { work += try search(query, limit: limit, ef: 2 * limit, deadline: nil, scratch: &scratch).work }
        let usual = Double(work.distances) / Double(queries.count)
        let efforts =
            Self.parts.map { SearchEffort(ef: 2 * limit, distanceLimit: max(1, Int(usual * $0))) }
            + Self.breadths.map { SearchEffort(ef: Int((Double(limit) * $0).rounded(.up))) }
        var steps: [RecallCalibration.Step] = []
        for effort in efforts where effort != steps.last?.effort {
            let recall = try recall(queries, truths, limit: limit, effort, scratch: &scratch)
            steps.append(RecallCalibration.Step(effort: effort, recall: recall))
            if recall >= 0.9995 { break }
        }
        return RecallCalibration(limit: limit, steps: steps, queryCount: queries.count)
    }

    private func recall(
        _ queries: [DenseVector], _ truths: [Set<UInt32>], limit: Int, _ effort: SearchEffort, scratch: inout SearchScratch
    ) throws(NeedletailError) -> Double {
        var sum = 0.0
        for (query, truth) in zip(queries, truths) {
            let found = try search(
                query, limit: limit, ef: effort.ef, distanceLimit: effort.distanceLimit, deadline: nil, scratch: &scratch)
            let hits = found.nearest.prefix(limit).count { truth.contains($0.slot) }
            sum += truth.isEmpty ? 1 : Double(hits) / Double(truth.count)
        }
        return sum / Double(queries.count)
    }
}
