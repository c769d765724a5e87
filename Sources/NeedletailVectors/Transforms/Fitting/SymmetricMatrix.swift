/// A symmetric matrix of float64: `size × size`, row-major, both triangles filled.
public struct SymmetricMatrix: Sendable, Hashable {
    public let size: Int
    public internal(set) var values: [Double]

    /// Zeros.
    public init(size: Int) {
        self.size = size
        values = [Double](repeating: 0, count: size * size)
    }

    public subscript(row: Int, column: Int) -> Double { values[row * size + column] }

    public var trace: Double {
        var sum = 0.0
        for index in 0..<size { sum += values[index * size + index] }
        return sum
    }

    /// Adds vector · vectorᵀ.
    mutating func addSquare(of vector: [Double]) {
        for row in 0..<size {
            for column in 0..<size { values[row * size + column] += vector[row] * vector[column] }
        }
    }

    /// weight · self + otherWeight · other.
    func blended(_ weight: Double, with other: SymmetricMatrix, _ otherWeight: Double) -> SymmetricMatrix {
        var blend = self
        for index in values.indices { blend.values[index] = weight * values[index] + otherWeight * other.values[index] }
        return blend
    }
}
