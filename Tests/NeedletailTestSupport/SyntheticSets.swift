import NeedletailCore

/// The catalogue's seeded data sets. Each returns row-major vectors, one array a vector.
public enum SyntheticSets {
    /// T1 tight200: random unit centres, x = centre + 0.15·g/√dimensions, normalised. In order of clusters.
    public static func tight(
        count: Int = 20_000, dimensions: Int = 128, centres: Int = 200, generator: inout SeededGenerator
    ) -> [[Float]] {
        let middle = (0..<centres).map { _ in normalised(generator.gaussians(dimensions)) }
        let scale = 0.15 / Float(dimensions).squareRoot()
        return (0..<count).map { index in
            let centre = middle[index * centres / count]
            let noise = generator.gaussians(dimensions)
            return normalised(zip(centre, noise).map { $0 + scale * $1 })
        }
    }

    /// T5: Gaussian in a random subspace, normalised. Pass the same `basis` for base and queries.
    public static func subspace(count: Int, basis: [[Float]], generator: inout SeededGenerator) -> [[Float]] {
        let dimensions = basis.first?.count ?? 0
        return (0..<count).map { _ in
            var vector = [Float](repeating: 0, count: dimensions)
            for direction in basis {
                let weight = Float(generator.gaussian())
                for index in 0..<dimensions { vector[index] += weight * direction[index] }
            }
            return normalised(vector)
        }
    }

    /// A random basis of `rank` directions.
    public static func basis(rank: Int, dimensions: Int, generator: inout SeededGenerator) -> [[Float]] {
        (0..<rank).map { _ in normalised(generator.gaussians(dimensions)) }
    }

    public static func normalised(_ vector: [Float]) -> [Float] {
        let norm = Float(vector.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot())
        return norm > 0 ? vector.map { $0 / norm } : vector
    }
}
