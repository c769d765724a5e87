/// Looks for the highest rate that meets an objective: doubles the rate until one misses, halves the ratio in between until it is small,
/// then asks for the best again, for longer. A rate that does not hold then counts as missed, and the next lower one that was met is tried.
///
/// A rate is missed when it misses `tries` times running: on a machine that others use, one stall of theirs would otherwise end the search.
public struct RateSearch: Sendable {
    public enum Step: Sendable, Equatable {
        case probe(Double)
        case confirm(Double)
        /// nil: not even the first rate met the objective.
        case done(Double?)
    }

    private let to: Double
    private let precision: Double
    private let confirms: Bool
    private let tries: Int
    private var misses = 0
    private var met: [Double] = []
    private var missed: Double?
    private var isConfirmed = false
    private var current: Step

    /// - Parameter precision: of the ratio between a rate that is missed and one that is met, less 1.
    public init(from: Double, to: Double, precision: Double, confirms: Bool, tries: Int = 1) {
        self.to = to
        self.precision = precision
        self.confirms = confirms
        self.tries = tries
        current = .probe(min(from, to))
    }

    /// What is to be done now.
    public var step: Step { current }

    /// Takes in whether the present step's rate met the objective.
    public mutating func record(met isMet: Bool) {
        misses = isMet ? 0 : misses + 1
        guard isMet || misses >= tries else { return }
        misses = 0
        switch current {
        case .probe(let rate): if isMet { met.append(rate) } else { missed = rate }
        case .confirm(let rate):
            if isMet {
                isConfirmed = true
            } else {
                missed = rate
                met.removeAll { $0 >= rate }
            }
        case .done: return
        }
        current = following
    }

    private var following: Step {
        guard let best = met.max() else { return .done(nil) }
        if isConfirmed { return .done(best) }
        if let missed {
            // After a rate that did not hold there may be a wide gap again.
            if missed / best > 1 + precision { return .probe((missed * best).squareRoot()) }
        } else if best < to {
            return .probe(min(to, best * 2))
        }
        return confirms ? .confirm(best) : .done(best)
    }
}
