/// Transforms spelled out value by value, in the order that the kernels promise: what every level must equal to the bit.
enum TransformReference {
    /// Sixteen interleaved sums, folded in halves.
    static func sum(_ terms: [Double]) -> Double {
        var lanes = [Double](repeating: 0, count: 16)
        for (index, term) in terms.enumerated() { lanes[index % 16] += term }
        for half in [8, 4, 2, 1] { for lane in 0..<half { lanes[lane] += lanes[lane + half] } }
        return lanes[0]
    }

    static func prepare(_ input: [Float], normalise: Bool, mean: [Float]?) -> (centred: [Float], squaredNorm: Double, meanProduct: Double) {
        let squares = sum(input.map { Double($0) * Double($0) })
        let factor = !normalise ? 1 : squares > 0 ? 1 / squares.squareRoot() : 0
        let middle = mean ?? input.map { _ in 0 }
        let centred = zip(input, middle).map { Float(Double($0) * factor) - $1 }
        return (
            centred, sum(centred.map { Double($0) * Double($0) }), sum(zip(centred, middle).map { Double($0) * Double($1) })
        )
    }

    static func project(_ input: [Float], rows: [Float]) -> [Float] {
        (0..<rows.count / input.count).map { output in
            var sum: Float = 0
            for index in input.indices { sum += rows[output * input.count + index] * input[index] }
            return sum
        }
    }

    static func rotate(_ input: [Float], seed: UInt64) -> [Float] {
        var values = input
        let block = sequence(first: 1) { $0 * 2 }.prefix { $0 <= input.count }.reduce(0) { max($0, $1) }
        let words = (input.count + 15) / 16
        var state = seed
        for step in 0..<(block == input.count ? 3 : 4) {
            let signs = (0..<words).map { _ in splitMix(&state) >> 48 }
            for index in values.indices where signs[index / 16] >> UInt64(index % 16) & 1 == 1 { values[index] = -values[index] }
            hadamard(&values, first: step % 2 == 0 ? 0 : input.count - block, count: block)
            if block < input.count, step == 1 {
                for index in 0..<input.count / 2 {
                    let other = index + (input.count + 1) / 2
                    let (a, b) = (values[index], values[other])
                    (values[index], values[other]) = ((a + b) * 0x1.6a09e6p-1, (a - b) * 0x1.6a09e6p-1)
                }
            }
        }
        return values
    }

    private static func hadamard(_ values: inout [Float], first: Int, count: Int) {
        let levels = count.trailingZeroBitCount
        let scale = Float(sign: .plus, exponent: -(levels / 2), significand: 1) * (levels % 2 == 1 ? 0x1.6a09e6p-1 : 1)
        for width in (0..<levels).map({ 1 << $0 }) {
            for index in 0..<count where index & width == 0 {
                let (a, b) = (values[first + index], values[first + index + width])
                (values[first + index], values[first + index + width]) = (a + b, a - b)
            }
            // Scaled after the steps inside a block of 16.
            if width == 8 || (count < 16 && width == count / 2) { for index in first..<first + count { values[index] *= scale } }
        }
    }

    static func splitMix(_ state: inout UInt64) -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
