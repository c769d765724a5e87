private import Glibc
import NeedletailSyntheticSets

extension SeededGenerator {
    /// One of many generators of a seed. Their states are drawn: states at a distance, such as `seed + branch`, may give shifted copies of one
    /// sequence, and load processes would send in step.
    init(seed: UInt64, branch: Int) {
        var states = SeededGenerator(seed: ~seed)
        var state: UInt64 = 0
        for _ in 0...branch { state = states.next() }
        self.init(seed: state)
    }
}

/// Chooses among things by weight.
struct WeightedChoice: Sendable {
    private let cumulative: [Double]

    /// - Parameter weights: at least one, none negative, their sum above 0.
    init(_ weights: [Double]) {
        var sum = 0.0
        cumulative = weights.map { weight in
            sum += weight
            return sum
        }
        precondition(sum > 0, "a choice needs a weight above 0")
    }

    /// Zipf: the thing with number n (from 1) has the weight 1 / n^`exponent`.
    static func zipf(count: Int, exponent: Double) -> WeightedChoice {
        WeightedChoice((1...count).map { pow(Double($0), -exponent) })
    }

    func next(_ random: inout SeededGenerator) -> Int {
        let place = random.uniform() * (cumulative.last ?? 0)
        // The first sum that is greater.
        var (low, high) = (0, cumulative.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if cumulative[middle] > place { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
