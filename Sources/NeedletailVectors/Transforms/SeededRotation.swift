public import NeedletailCore

/// An orthogonal map of `dimensions` values drawn from a seed, in O(d log d).
///
/// A step flips signs at random and applies the orthonormal Walsh–Hadamard transform to a block of 2^k values, the largest power of two
/// ≤ d. For d = 2^k three steps make a rotation that mixes every value into every other (Andoni et al., "Practical and optimal LSH for
/// angular distance"). For another d there are two rounds, each a step on the first 2^k values and one on the last. The blocks may
/// overlap by little, so between the rounds the halves of the vector are turned into one another.
public struct SeededRotation: Sendable, Hashable {
    public let seed: UInt64
    public let dimensions: Int
    /// A bit a value and step, 16 a word: 1 flips the sign. Follows from the seed.
    private let signs: [UInt16]

    /// - Throws: `invalidArgument` unless there are 1 … 16,384 dimensions.
    public init(seed: UInt64, dimensions: Int) throws(NeedletailError) {
        guard (1...Limits.dimensions).contains(dimensions) else {
            throw NeedletailError(.invalidArgument, "a rotation takes 1 to \(Limits.dimensions) dimensions, not \(dimensions)")
        }
        self.seed = seed
        self.dimensions = dimensions
        let words = TransformKernels.padded(dimensions) / 16 * Self.steps(dimensions)
        var generator = SplitMix64(seed: seed)
        signs = (0..<words).map { _ in UInt16(truncatingIfNeeded: generator.next() >> 48) }
    }

    public static func == (left: Self, right: Self) -> Bool { left.seed == right.seed && left.dimensions == right.dimensions }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(seed)
        hasher.combine(dimensions)
    }

    /// Rotates `values` (`dimensions` of them) in place.
    func apply(_ values: UnsafeMutablePointer<Float>, kernels: TransformKernels) {
        let length = dimensions
        let words = TransformKernels.padded(length) / 16
        let block = 1 << (Int.bitWidth - 1 - length.leadingZeroBitCount)
        signs.withUnsafeBufferPointer { signs in
            guard let base = signs.baseAddress else { return }
            for step in 0..<Self.steps(length) {
                let first = step % 2 == 0 ? 0 : length - block
                kernels.mix(values, length: length, signs: base + step * words, first: first, count: block)
                if block < length, step == 1 { kernels.pair(values, distance: length - length / 2, count: length / 2) }
            }
        }
    }

    private static func steps(_ dimensions: Int) -> Int {
        dimensions.nonzeroBitCount == 1 ? 3 : 4
    }
}
