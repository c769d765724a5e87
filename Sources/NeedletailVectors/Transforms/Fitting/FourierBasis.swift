/// The real discrete Fourier basis, without the C library's cosine, whose last bit differs between machines.
enum FourierBasis {
    /// The `count` rows of lowest frequency, each of norm 1 and orthogonal to the others: the constant, then cosine and sine of one wave,
    /// of two waves, …; for even `dimensions` the last row alternates.
    static func rows(_ count: Int, dimensions: Int) -> [Double] {
        let cosines = (0..<dimensions).map { Turn.cosine($0, of: dimensions) }
        let sines = (0..<dimensions).map { Turn.sine($0, of: dimensions) }
        let plain = (1 / Double(dimensions)).squareRoot()
        let wave = (2 / Double(dimensions)).squareRoot()
        var rows: [Double] = []
        rows.reserveCapacity(count * dimensions)
        for row in 0..<count {
            let frequency = (row + 1) / 2
            let alone = row == 0 || 2 * frequency == dimensions
            for index in 0..<dimensions {
                let place = frequency * index % dimensions
                rows.append((alone ? plain : wave) * (row % 2 == 1 || row == 0 ? cosines[place] : sines[place]))
            }
        }
        return rows
    }
}

/// Sines and cosines of fractions of a full turn, by reduction to an eighth in whole numbers and a Taylor series: within 2⁻⁵² of the
/// truth, the same bits everywhere.
enum Turn {
    /// cos(2π·part/whole) for 0 ≤ part ≤ whole.
    static func cosine(_ part: Int, of whole: Int) -> Double {
        // In eighths: a full turn is 8·whole.
        let eighths = 8 * min(part, whole - part)
        if eighths <= whole { return cosineSeries(angle(eighths, whole)) }
        if eighths <= 3 * whole { return sineSeries(angle(2 * whole - eighths, whole)) }
        return 0 - cosineSeries(angle(4 * whole - eighths, whole))
    }

    /// sin(2π·part/whole) for 0 ≤ part ≤ whole: the cosine a quarter of a turn earlier.
    static func sine(_ part: Int, of whole: Int) -> Double { cosine(abs(4 * part - whole), of: 4 * whole) }

    private static func angle(_ eighths: Int, _ whole: Int) -> Double { Double(eighths) * (Double.pi / 4) / Double(whole) }

    /// |x| ≤ π/4: the term behind the last is below 2⁻⁶⁰.
    private static func cosineSeries(_ x: Double) -> Double {
        var (term, sum) = (1.0, 1.0)
        for n in stride(from: 2.0, through: 18, by: 2) {
            term *= 0 - x * x / (n * (n - 1))
            sum += term
        }
        return sum
    }

    private static func sineSeries(_ x: Double) -> Double {
        var (term, sum) = (x, x)
        for n in stride(from: 3.0, through: 19, by: 2) {
            term *= 0 - x * x / (n * (n - 1))
            sum += term
        }
        return sum
    }
}
