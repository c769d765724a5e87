private import Glibc
import NeedletailSyntheticSets

/// The moments at which requests are meant to start, in seconds from the start of a segment: an infinite, increasing sequence that no
/// answer has an influence on.
///
/// A load process takes its part of the whole: at equal distances every `processes`-th moment, so that all together are at equal
/// distances again; at random ones a process of its own, since Poisson processes add up to one.
public struct Arrivals: Sequence, IteratorProtocol, Sendable {
    private let isRandom: Bool
    private let interval: Double
    private var last: Double
    private var count = 0.0
    private let offset: Double
    private var random: SeededGenerator

    /// - Parameters:
    ///   - rate: requests a second of all processes together, above 0.
    ///   - process: 0 ..< `processes`.
    public init(_ kind: Scenario.ArrivalKind, rate: Double, process: Int = 0, processes: Int = 1, seed: UInt64) {
        precondition(rate > 0 && (0..<processes).contains(process), "arrivals need a rate and a place among the processes")
        isRandom = kind != .constant
        interval = Double(processes) / rate
        offset = Double(process) / rate
        last = 0
        random = SeededGenerator(seed: seed, branch: process)
    }

    public mutating func next() -> Double? {
        if isRandom {
            // Distances of a Poisson process are exponentially distributed.
            last -= interval * log(random.uniform())
            return last
        }
        // Not by adding up, which would drift.
        defer { count += 1 }
        return offset + count * interval
    }
}
