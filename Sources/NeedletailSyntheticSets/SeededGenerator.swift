import Foundation

/// A reproducible source of randomness for tests: SplitMix64.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    public let seed: UInt64
    private var state: UInt64
    private var spare: Double?

    public init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// A fresh seed, printed so that a failure can be replayed with `NEEDLETAIL_SEED=…`.
    public static func fresh(_ test: String = #function) -> SeededGenerator {
        let chosen = ProcessInfo.processInfo.environment["NEEDLETAIL_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64.max)
        print("\(test): NEEDLETAIL_SEED=\(chosen)")
        return SeededGenerator(seed: chosen)
    }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Uniform in (0, 1).
    public mutating func uniform() -> Double { (Double(next() >> 11) + 0.5) / Double(1 << 53) }

    /// A standard normal value (Box–Muller, both of its values used).
    public mutating func gaussian() -> Double {
        if let value = spare {
            spare = nil
            return value
        }
        let radius = (-2 * log(uniform())).squareRoot()
        let angle = 2 * Double.pi * uniform()
        spare = radius * sin(angle)
        return radius * cos(angle)
    }

    public mutating func gaussians(_ count: Int) -> [Float] { (0..<count).map { _ in Float(gaussian()) } }
}
