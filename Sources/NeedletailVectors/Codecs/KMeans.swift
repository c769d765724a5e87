import NeedletailCore

/// Lloyd's k-means, the same centroids on every machine: products are summed in one order, means in float64, and every draw comes from
/// the seed.
///
/// It begins with the mean and doubles the centroids (Linde, Buzo and Gray, "An algorithm for vector quantizer design", 1980): each becomes
/// two, to both sides on the line to one of its rows. In many dimensions drawn rows would be poor centroids: most rows are nearer to the
/// mean than to any of them, and one centroid would keep nearly all.
///
/// A centroid that no row is nearest to is given a half of the rows of the one with the largest distortion (as Faiss splits clusters): both
/// become its mean, pushed a little to either side. So few codes stay unused.
struct KMeans {
    private let rows: UnsafePointer<Float>
    private let count: Int
    private let dimensions: Int
    private let centroids: Int
    /// The centroid of each row, and the squared distance from it.
    private(set) var codes: [Int]
    private var errors: [Double]

    /// `rows`: `count × dimensions`, `count >= centroids`. They must outlive this value.
    init(rows: UnsafePointer<Float>, count: Int, dimensions: Int, centroids: Int) {
        precondition(count >= centroids, "as many rows as centroids at least")
        self.rows = rows
        self.count = count
        self.dimensions = dimensions
        self.centroids = centroids
        codes = [Int](repeating: 0, count: count)
        errors = [Double](repeating: 0, count: count)
    }

    /// `centroids × dimensions` values.
    mutating func fit(rounds: Int, generator: inout SplitMix64) throws(NeedletailError) -> [Float] {
        var means = [Float](repeating: 0, count: dimensions)
        _ = update(&means)
        while means.count < centroids * dimensions {
            try assign(to: means)
            means = doubled(means, &generator)
            for _ in 0..<Self.roundsBetween {
                try assign(to: means)
                _ = update(&means)
            }
        }
        for round in 0..<rounds + Self.extraRounds {
            try assign(to: means)
            let unused = update(&means)
            if unused == 0, round >= rounds - 1 { break }
        }
        try assign(to: means)
        return means
    }

    /// Rounds between two doublings.
    private static let roundsBetween = 2
    /// Rounds beyond those asked for, as long as centroids are unused.
    private static let extraRounds = 10
    /// How far a centroid is pushed towards one of its rows, and away from it, when it becomes two.
    private static let push: Float = 0.1

    /// Twice the centroids, as far as more are wanted.
    private func doubled(_ means: [Float], _ generator: inout SplitMix64) -> [Float] {
        let old = means.count / dimensions
        var sizes = [Int](repeating: 0, count: old)
        for code in codes { sizes[code] += 1 }
        var drawn = sizes.map { $0 > 0 ? Int(generator.next() % UInt64($0)) : -1 }
        var result = means
        result += [Float](repeating: 0, count: min(old, centroids - old) * dimensions)
        for row in 0..<count {
            let code = codes[row]
            drawn[code] -= 1
            guard drawn[code] == -1, old + code < centroids else { continue }
            for index in 0..<dimensions {
                let mean = means[code * dimensions + index]
                let push = Self.push * (rows[row * dimensions + index] - mean)
                result[code * dimensions + index] = mean + push
                result[(old + code) * dimensions + index] = mean - push
            }
        }
        return result
    }

    private mutating func assign(to means: [Float]) throws(NeedletailError) {
        // Books are of whole blocks of sixteen; what fills up the last is farther away than anything.
        let book = try Codebooks(kind: .product, books: 1, centroids: means.count / dimensions, dimensions: dimensions, rows: means)
        var products = [Float](repeating: 0, count: TransformKernels.padded(book.centroids))
        let kernels = TransformKernels.best
        products.withUnsafeMutableBufferPointer { products in
            guard let products = products.baseAddress else { return }
            for row in 0..<count {
                let values = rows + row * dimensions
                book.products(values, to: products)
                let code = book.nearest(products, book: 0)
                codes[row] = code
                errors[row] = max(0, kernels.squares(values, count: dimensions) + 2 * (Double(book.halves[code]) - Double(products[code])))
            }
        }
    }

    /// Moves each centroid to the mean of its rows; returns how many had none and were given some.
    private func update(_ means: inout [Float]) -> Int {
        let centroids = means.count / dimensions
        var sums = [Double](repeating: 0, count: centroids * dimensions)
        var sizes = [Int](repeating: 0, count: centroids)
        var distortions = [Double](repeating: 0, count: centroids)
        sums.withUnsafeMutableBufferPointer { sums in
            for row in 0..<count {
                let (code, values) = (codes[row], rows + row * dimensions)
                sizes[code] += 1
                distortions[code] += errors[row]
                for index in 0..<dimensions { sums[code * dimensions + index] += Double(values[index]) }
            }
        }
        for code in 0..<centroids where sizes[code] > 0 {
            for index in code * dimensions..<(code + 1) * dimensions { means[index] = Float(sums[index] / Double(sizes[code])) }
        }
        let unused = (0..<centroids).filter { sizes[$0] == 0 }
        for code in unused { split(into: code, &means, &sizes, &distortions) }
        return unused.count
    }

    private func split(into code: Int, _ means: inout [Float], _ sizes: inout [Int], _ distortions: inout [Double]) {
        var largest = 0
        for other in distortions.indices where distortions[other] > distortions[largest] { largest = other }
        for index in 0..<dimensions {
            let value = means[largest * dimensions + index]
            // Faiss's 1/1024, to one side in even dimensions and to the other in odd ones.
            let push = value * (index.isMultiple(of: 2) ? 1 : -1) / 1_024
            means[largest * dimensions + index] = value + push
            means[code * dimensions + index] = value - push
        }
        distortions[largest] /= 2
        distortions[code] = distortions[largest]
        sizes[code] = 1
    }
}
