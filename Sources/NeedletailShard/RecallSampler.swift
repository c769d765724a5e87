internal import NeedletailCore
internal import NeedletailIndex
internal import Synchronization

/// Asks some of the real queries again exactly, in the background, and keeps count of how much the graph had found: the recall that
/// users get, not the one a benchmark had (catalogue F1).
///
/// An exact answer costs as much as hundreds of walks. After each one the sampler rests a hundred times as long as it took, and all of a node rest
/// together (`SamplingBudget`): so sampling takes less than a hundredth of one processor, whatever the number of partitions, their sizes and the
/// rate of queries.
final class RecallSampler: Sendable {
    private struct State {
        var samples: UInt64 = 0
        /// Sums that fade: old samples lose weight, so that the figures follow the data.
        var weight = 0.0
        var recall = 0.0
        var dimensionWeight = 0.0
        var dimension = 0.0
        var restUntil = ContinuousClock.now
        var isBusy = false
    }

    private let state = Mutex(State())
    private let budget: SamplingBudget
    /// Each sample leaves this much of the weight of those before it: the last few hundred count.
    private static let fading = 0.995
    private static let restFactor = 100
    /// Larger answers are not sampled: they would say little about the usual ones.
    private static let largestLimit = 100

    init(budget: SamplingBudget) { self.budget = budget }

    /// Whether this query may be sampled now; if so, `finish` must follow.
    func claim(_ query: SearchQuery) -> Bool {
        guard !query.exact, query.limit <= Self.largestLimit else { return false }
        return state.withLock { state in
            let now = ContinuousClock.now
            guard !state.isBusy, now >= state.restUntil, budget.isOpen(now) else { return false }
            state.isBusy = true
            return true
        }
    }

    /// Ends a sample that could not be taken.
    func abandon() { state.withLock { $0.isBusy = false } }

    /// Notes a sample.
    /// - Parameters:
    ///   - found: ids that the walk answered.
    ///   - truth: the exact answer, nearest first.
    func finish(found: [PointID], truth: [ScoredPoint], metric: Metric, took: Duration) {
        budget.spend(took)
        let hits = Set(found).intersection(truth.map(\.id)).count
        let dimension = Self.localIntrinsicDimension(truth.map { metric.distance(ofScore: $0.score) }, metric: metric)
        state.withLock { state in
            state.isBusy = false
            state.restUntil = .now.advanced(by: took * Self.restFactor)
            guard !truth.isEmpty else { return }
            state.samples += 1
            state.weight = state.weight * Self.fading + 1
            state.recall = state.recall * Self.fading + Double(hits) / Double(truth.count)
            if let dimension {
                state.dimensionWeight = state.dimensionWeight * Self.fading + 1
                state.dimension = state.dimension * Self.fading + dimension
            }
        }
    }

    var sampled: SampledRecall {
        state.withLock { state in
            SampledRecall(
                samples: state.samples, recall: state.weight > 0 ? state.recall / state.weight : 0,
                localIntrinsicDimension: state.dimensionWeight > 0 ? state.dimension / state.dimensionWeight : 0)
        }
    }

    /// The maximum-likelihood estimate from the distances of the k nearest points (Levina & Bickel, 2004; Amsaleg et al., 2015):
    /// −(mean of ln(rᵢ/r_k))⁻¹. Nil where it is not defined: fewer than three distances, zeros, or an inner product.
    static func localIntrinsicDimension(_ distances: [Float], metric: Metric) -> Double? {
        // Squared euclidean distance, and 1 − cos, go with the square of a radius.
        let exponent: Double
        switch metric {
        case .l2, .cosine: exponent = 0.5
        case .hamming: exponent = 1
        case .dot: return nil
        }
        let positive = distances.filter { $0 > 0 }.map(Double.init)
        guard positive.count >= 3, let farthest = positive.last, farthest > positive[0] else { return nil }
        var sum = 0.0
        for distance in positive.dropLast() { sum += exponent * NaturalLogarithm.of(distance / farthest) }
        return sum < 0 ? -Double(positive.count - 1) / sum : nil
    }
}

/// What the samplers of a node may take together: a three-hundredth of one processor, since what reads all vectors also takes the processors' caches from
/// searches, which costs them about as much again.
final class SamplingBudget: Sendable {
    private let restUntil = Mutex(ContinuousClock.now)
    private static let restFactor = 300

    func isOpen(_ now: ContinuousClock.Instant) -> Bool { restUntil.withLock { now >= $0 } }

    func spend(_ took: Duration) {
        let now = ContinuousClock.now
        restUntil.withLock { $0 = max(now, $0).advanced(by: took * Self.restFactor) }
    }
}
