private import Glibc

/// A reproducible source of randomness: SplitMix64.
public struct SeededGenerator: RandomNumberGenerator, Sendable {
    public let seed: UInt64
    private var state: UInt64
    private var spare: Double?

    public init(seed: UInt64) {
        self.seed = seed
        state = seed
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

    /// A value of the gamma distribution with scale 1 (Marsaglia and Tsang, "A simple method for generating gamma variables", 2000).
    public mutating func gamma(shape: Double) -> Double {
        guard shape >= 1 else { return gamma(shape: shape + 1) * exp(log(uniform()) / shape) }
        let d = shape - 1.0 / 3
        let c = 1 / (9 * d).squareRoot()
        while true {
            let x = gaussian()
            let v = (1 + c * x) * (1 + c * x) * (1 + c * x)
            if v > 0, log(uniform()) < 0.5 * x * x + d - d * v + d * log(v) { return d * v }
        }
    }

    /// Weights that sum to 1, from the symmetric Dirichlet distribution.
    public mutating func dirichlet(_ concentration: Double, count: Int) -> [Double] {
        let weights = (0..<count).map { _ in gamma(shape: concentration) }
        let sum = weights.reduce(0, +)
        return weights.map { $0 / sum }
    }
}
