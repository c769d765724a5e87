extension SyntheticSets {
    /// T1 tight200: random unit centres, x = centre + 0.15·g/√dimensions, normalised. Categories come in random order.
    public static func tight(
        count: Int = 20_000, queries: Int = 200, dimensions: Int = 128, centres: Int = 200, seed: UInt64 = 1
    ) -> SyntheticSet {
        var generator = SeededGenerator(seed: seed)
        var middle = VectorRows(dimensions: dimensions, capacity: centres)
        for _ in 0..<centres { middle.append(generator.gaussians(dimensions)) }
        middle.normalise()
        let scale = 0.15 / Float(dimensions).squareRoot()
        func draw(_ count: Int) -> (rows: VectorRows, categories: [Int]) {
            let categories = (0..<count).map { _ in Int.random(in: 0..<centres, using: &generator) }
            var rows = middle.selecting(categories)
            rows.mutateRows { row in for index in row.indices { row[index] += scale * Float(generator.gaussian()) } }
            rows.normalise()
            return (rows, categories)
        }
        let base = draw(count)
        return SyntheticSet(base: base.rows, queries: draw(queries).rows, categories: base.categories)
    }

    /// T2 nested: each point is Gaussian in its first k coordinates, k one of 4, 8, 16, … `dimensions`, zero in the others; normalised.
    public static func nested(count: Int = 20_000, queries: Int = 200, dimensions: Int = 128, seed: UInt64 = 2) -> SyntheticSet {
        precondition(dimensions >= 4, "T2 needs 4 dimensions")
        var generator = SeededGenerator(seed: seed)
        let widths = Array(sequence(first: 4) { $0 * 2 }.prefix { $0 <= dimensions })
        func draw(_ count: Int) -> VectorRows {
            var rows = VectorRows(dimensions: dimensions, capacity: count)
            for _ in 0..<count {
                let width = widths[Int.random(in: widths.indices, using: &generator)]
                rows.append(generator.gaussians(width) + [Float](repeating: 0, count: dimensions - width))
            }
            rows.normalise()
            return rows
        }
        return SyntheticSet(base: draw(count), queries: draw(queries))
    }

    /// T5: Gaussian in a subspace spanned by `rank` random unit directions, normalised.
    public static func subspace(
        rank: Int, count: Int = 30_000, queries: Int = 200, dimensions: Int = 256, seed: UInt64 = 5
    ) -> SyntheticSet {
        var generator = SeededGenerator(seed: seed)
        var basis = VectorRows(dimensions: dimensions, capacity: rank)
        for _ in 0..<rank { basis.append(generator.gaussians(dimensions)) }
        basis.normalise()
        func draw(_ count: Int) -> VectorRows {
            var rows = VectorRows(dimensions: dimensions, capacity: count)
            for _ in 0..<count {
                var vector = [Float](repeating: 0, count: dimensions)
                for direction in 0..<rank {
                    let weight = Float(generator.gaussian())
                    for index in 0..<dimensions { vector[index] += weight * basis.values[direction * dimensions + index] }
                }
                rows.append(vector)
            }
            rows.normalise()
            return rows
        }
        return SyntheticSet(base: draw(count), queries: draw(queries))
    }
}
