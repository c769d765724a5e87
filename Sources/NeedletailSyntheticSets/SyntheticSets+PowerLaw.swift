extension SyntheticSets {
    /// T3 powerlaw768: the shape of a text embedding. In coordinates of its own, coordinate i has the scale i^-½;
    /// x = 0.15 in each coordinate + centre + 0.8·noise, centres and noise of that scale; normalised, then rotated at random.
    ///
    /// The shifted queries have no offset and no clusters, and their coordinate i has the scale (dimensions + 1 − i)^-½ before the same
    /// rotation: what they ask about is where the base varies least.
    public static func powerLaw(
        count: Int = 50_000, queries: Int = 200, dimensions: Int = 768, centres: Int = 200, seed: UInt64 = 3
    ) -> SyntheticSet {
        var generator = SeededGenerator(seed: seed)
        let scales = (1...dimensions).map { 1 / Float($0).squareRoot() }
        var middle = VectorRows(dimensions: dimensions, capacity: centres)
        for _ in 0..<centres { middle.append(zip(generator.gaussians(dimensions), scales).map { $0 * $1 }) }
        let rotation = RandomRotation(dimensions: dimensions, generator: &generator)
        func clustered(_ count: Int) -> (rows: VectorRows, categories: [Int]) {
            let categories = (0..<count).map { _ in Int.random(in: 0..<centres, using: &generator) }
            var rows = middle.selecting(categories)
            rows.mutateRows { row in
                for index in row.indices { row[index] += offset + 0.8 * Float(generator.gaussian()) * scales[index] }
            }
            return (rows, categories)
        }
        func shifted(_ count: Int) -> VectorRows {
            var rows = VectorRows(dimensions: dimensions, capacity: count)
            for _ in 0..<count { rows.append(zip(generator.gaussians(dimensions), scales.reversed()).map { $0 * $1 }) }
            return rows
        }
        let (base, asked, elsewhere) = (clustered(count), clustered(queries), shifted(queries))
        func finish(_ rows: VectorRows) -> VectorRows {
            var rows = rows
            rows.normalise()
            rows.mutateRows(rotation.apply)
            return rows
        }
        return SyntheticSet(
            base: finish(base.rows), queries: finish(asked.rows), categories: base.categories, shiftedQueries: finish(elsewhere))
    }

    private static let offset: Float = 0.15
}

/// A random rotation in O(d log d): rounds of plane rotations by random angles, over random pairs of coordinates (Kac's walk, whose
/// mixing takes about log d rounds when all pairs of a round turn at once).
struct RandomRotation {
    private struct Turn {
        let first: Int, second: Int
        let cosine: Float, sine: Float
    }

    private let turns: [Turn]

    init(dimensions: Int, generator: inout SeededGenerator) {
        let rounds = 10 + 2 * (Int.bitWidth - dimensions.leadingZeroBitCount)
        var turns: [Turn] = []
        turns.reserveCapacity(rounds * dimensions / 2)
        for _ in 0..<rounds {
            let order = (0..<dimensions).shuffled(using: &generator)
            for pair in stride(from: 0, to: dimensions - 1, by: 2) {
                // The direction of a Gaussian point is uniform.
                let (x, y) = (generator.gaussian(), generator.gaussian())
                let norm = (x * x + y * y).squareRoot()
                turns.append(Turn(first: order[pair], second: order[pair + 1], cosine: Float(x / norm), sine: Float(y / norm)))
            }
        }
        self.turns = turns
    }

    func apply(_ row: UnsafeMutableBufferPointer<Float>) {
        for turn in turns {
            let (a, b) = (row[turn.first], row[turn.second])
            row[turn.first] = turn.cosine * a - turn.sine * b
            row[turn.second] = turn.sine * a + turn.cosine * b
        }
    }
}
