public import NeedletailCore
internal import Synchronization
private import Glibc

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

    /// An effort and what it is expected to find.
    public struct Choice: Sendable, Hashable {
        public var effort: SearchEffort
        public var recall: Double
        /// False when no effort tried reaches the target: then this is the greatest.
        public var isEnough: Bool
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
        let choice = choose(target: target)
        return choice.isEnough ? choice.effort : nil
    }

    /// As `effort`, with the greatest effort when none reaches the target.
    public func choose(target: Double) -> Choice {
        let aim = min(target + 0.0125, (1 + target) / 2)
        guard let index = steps.firstIndex(where: { $0.recall >= aim }) else {
            // The last step may reach the target itself, if not the margin.
            let last = steps.last ?? Step(effort: SearchEffort(ef: limit), recall: 0)
            return Choice(effort: last.effort, recall: last.recall, isEnough: last.recall >= target)
        }
        guard index > 0 else { return Choice(effort: steps[0].effort, recall: steps[0].recall, isEnough: true) }
        return Choice(effort: effort(from: index - 1, to: index, aim: aim), recall: aim, isEnough: true)
    }

    private func effort(from first: Int, to second: Int, aim: Double) -> SearchEffort {
        let (below, above) = (steps[first], steps[second])
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

extension RecallCalibration {
    /// How much the r-th nearest point of one shard counts for the recall of all: the chance that it is among the `limit` nearest of the
    /// whole collection, of which the shard holds `share` at random. At most `limit` − r points of the nearest are then elsewhere: the
    /// chance that of `limit` points at least r are the shard's (a binomial's tail). With one shard all count the same.
    ///
    /// Weighed like this, each shard's recall is that of its part of the merged answer: if all are at the target, so is the whole.
    public static func rankWeights(limit: Int, share: Double) -> [Double] {
        guard share < 1, share > 0 else { return Array(repeating: 1, count: limit) }
        // In logarithms: the probability of none can be too small for a Double.
        var term = Double(limit) * log(1 - share)
        var below = 0.0
        return (0..<limit).map { count in
            below += exp(term)
            term += log(Double(limit - count) / Double(count + 1)) + log(share / (1 - share))
            return max(0, 1 - below)
        }
    }
}

/// A calibration being made, a little at a time: exact answers to the sample, then walks up a ladder of efforts. Whoever waits until no
/// search is under way need not wait for all of it.
public struct CalibrationRun: Sendable {
    /// Breadths tried, as multiples of the answers wanted, and for less than the smallest of them parts of the distances that it takes: one
    /// more candidate can mean a jump in recall, one more distance hardly.
    private static let parts = [0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.1, 1.25, 1.5, 1.75, 2, 2.5, 3]
    private static let breadths = [2, 2.5, 3.2, 4, 5, 6.4, 8, 10, 13, 16, 20, 26, 32, 40, 52, 64]
    /// Walks in one `advance`.
    private static let walks = 32
    /// Nothing is left to find.
    private static let complete = 0.9995

    private let queries: [DenseVector]
    private let limit: Int
    private let weights: [Double]
    private var truths: [[SlotDistance]] = []
    private var distances: UInt64 = 0
    /// What is left of the ladder, least effort last.
    private var efforts: [SearchEffort] = []
    private var steps: [RecallCalibration.Step] = []
    private var walked = 0
    private var recalls = 0.0

    /// - Parameter share: part of all points that is in this graph, drawn at random; see `rankWeights`.
    /// - Throws: `invalidArgument` without queries.
    public init(queries: [DenseVector], limit: Int, share: Double = 1) throws(NeedletailError) {
        guard !queries.isEmpty, limit > 0 else {
            throw NeedletailError(.invalidArgument, "a recall target is calibrated on queries; give some, better some hundreds")
        }
        self.queries = queries
        self.limit = limit
        weights = RecallCalibration.rankWeights(limit: limit, share: share)
    }

    /// Goes on for as long as one exact search takes, or some walks. The calibration once it is done.
    /// - Throws: `invalidArgument` for a query that does not fit.
    public mutating func advance(on graph: HNSWIndex, scratch: inout SearchScratch) throws(NeedletailError) -> RecallCalibration? {
        if truths.count < queries.count {
            let query = queries[truths.count]
            let truth = try graph.exactSearch(query, limit: limit, deadline: nil, scratch: &scratch, precedes: <)
            truths.append(truth.nearest)
            distances += try graph.search(query, limit: limit, ef: min(2 * limit, Limits.ef), deadline: nil, scratch: &scratch).work.distances
            if truths.count == queries.count { makeLadder() }
            return nil
        }
        let effort = efforts[efforts.count - 1]
        let end = min(queries.count, walked + Self.walks)
        for index in walked..<end {
            let found = try graph.search(
                queries[index], limit: limit, ef: effort.ef, distanceLimit: effort.distanceLimit, deadline: nil, scratch: &scratch)
            recalls += recall(found.nearest.prefix(limit), of: truths[index], graph)
        }
        walked = end
        guard walked == queries.count else { return nil }
        steps.append(RecallCalibration.Step(effort: effort, recall: recalls / Double(queries.count)))
        efforts.removeLast()
        let isDone = efforts.isEmpty || recalls / Double(queries.count) >= Self.complete
        (walked, recalls) = (0, 0)
        return isDone ? RecallCalibration(limit: limit, steps: steps, queryCount: queries.count) : nil
    }

    private mutating func makeLadder() {
        let usual = Double(distances) / Double(queries.count)
        var ladder = Self.parts.map { SearchEffort(ef: min(2 * limit, Limits.ef), distanceLimit: max(1, Int(usual * $0))) }
        ladder += Self.breadths.map { SearchEffort(ef: min(Limits.ef, Int((Double(limit) * $0).rounded(.up)))) }
        var seen: Set<SearchEffort> = []
        efforts = ladder.filter { seen.insert($0).inserted }.reversed()
    }

    /// Points that were replaced since the truth was found count neither way; one at the very distance of another is as good as that,
    /// or a field of bits, where most distances are shared, could reach no target.
    private func recall(_ found: ArraySlice<SlotDistance>, of truth: [SlotDistance], _ graph: HNSWIndex) -> Double {
        let (known, slots) = (Set(truth.map(\.slot)), Set(found.map(\.slot)))
        var equals: [Float: Int] = [:]
        for entry in found where !known.contains(entry.slot) { equals[entry.distance, default: 0] += 1 }
        var (hits, all) = (0.0, 0.0)
        for (entry, weight) in zip(truth, weights) where graph.live[Int(entry.slot)] {
            all += weight
            if slots.contains(entry.slot) {
                hits += weight
            } else if let count = equals[entry.distance], count > 0 {
                equals[entry.distance] = count - 1
                hits += weight
            }
        }
        return all > 0 ? hits / all : 1
    }
}

extension HNSWIndex {
    /// Measures recall@limit over a ladder of efforts on sample queries, against their exact answers. Ends where nothing is left to find.
    /// - Parameter share: see `CalibrationRun`.
    /// - Throws: `invalidArgument` for a query that does not fit, or no queries.
    public func calibrate(
        queries: [DenseVector], limit: Int, share: Double = 1, scratch: inout SearchScratch
    ) throws(NeedletailError) -> RecallCalibration {
        var run = try CalibrationRun(queries: queries, limit: limit, share: share)
        while true {
            if let calibration = try run.advance(on: self, scratch: &scratch) { return calibration }
        }
    }
}
