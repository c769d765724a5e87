import NeedletailCore
import NeedletailTestSupport
@testable import NeedletailVectors
import Testing

@Suite struct SymmetricEigenTests {
    @Test(arguments: [1, 2, 3, 4, 5, 16, 33, 100, 257]) func decomposesRandomMatrices(size: Int) throws {
        var generator = SeededGenerator.fresh()
        for scale in [1.0, 1e-150, 1e150] {
            var matrix = SymmetricMatrix(size: size)
            for row in 0..<size {
                for column in 0...row {
                    let value = generator.gaussian() * scale
                    matrix.values[row * size + column] = value
                    matrix.values[column * size + row] = value
                }
            }
            try check(matrix, tolerance: 1e-13 * Double(size) * scale)
        }
    }

    @Test func decomposesWhatIsDegenerate() throws {
        let zero = SymmetricMatrix(size: 7)
        try check(zero, tolerance: 0)
        var identity = zero
        for index in 0..<7 { identity.values[index * 8] = 3 }
        try check(identity, tolerance: 0)
        var line = SymmetricMatrix(size: 50)
        line.addSquare(of: (0..<50).map { Double($0 % 5) - 2 })
        try check(line, tolerance: 1e-12)
        var graded = SymmetricMatrix(size: 40)
        for row in 0..<40 { for column in 0..<40 { graded.values[row * 40 + column] = 1 / Double(1 + row + column) } }
        try check(graded, tolerance: 1e-14)
        // Two blocks that do not touch, with the same eigenvalues.
        var twins = SymmetricMatrix(size: 4)
        twins.values = [2, 1, 0, 0, 1, 2, 0, 0, 0, 0, 2, 1, 0, 0, 1, 2]
        try check(twins, tolerance: 1e-14)
        #expect(try SymmetricEigen(twins).values.map { ($0 * 1e9).rounded() / 1e9 } == [3, 3, 1, 1])
    }

    @Test func knowsSmallCases() throws {
        var matrix = SymmetricMatrix(size: 2)
        matrix.values = [1, 2, 2, 1]
        let eigen = try SymmetricEigen(matrix)
        let half = 0.5.squareRoot()
        #expect(zip(eigen.values, [3, -1]).allSatisfy { abs($0 - $1) < 1e-15 })
        #expect(zip(eigen.vectors, [half, half, half, -half]).allSatisfy { abs($0 - $1) < 1e-15 })
        #expect(throws: NeedletailError.self) {
            matrix.values[0] = .nan
            _ = try SymmetricEigen(matrix)
        }
    }

    @Test func everyLevelGivesTheSameBits() throws {
        var generator = SeededGenerator.fresh()
        var matrix = SymmetricMatrix(size: 77)
        for _ in 0..<90 { matrix.addSquare(of: generator.gaussians(77).map(Double.init)) }
        let results = try KernelLevel.available.map { try SymmetricEigen(matrix, kernels: TransformKernels(level: $0)) }
        for result in results {
            #expect(result.values.map(\.bitPattern) == results[0].values.map(\.bitPattern))
            #expect(result.vectors.map(\.bitPattern) == results[0].vectors.map(\.bitPattern))
        }
    }

    /// A·v = λ·v, the vectors orthonormal, the values falling, the signs fixed.
    private func check(_ matrix: SymmetricMatrix, tolerance: Double) throws {
        let eigen = try SymmetricEigen(matrix)
        let size = matrix.size
        let falling = eigen.values.sorted(by: >)
        #expect(eigen.values == falling)
        let vectors = (0..<size).map { Array(eigen.vectors[$0 * size..<($0 + 1) * size]) }
        for (k, vector) in vectors.enumerated() {
            for row in 0..<size {
                var image = 0.0
                for column in 0..<size { image += matrix[row, column] * vector[column] }
                try #require(abs(image - eigen.values[k] * vector[row]) <= tolerance, "size \(size), vector \(k)")
            }
            for other in 0...k {
                let product = zip(vector, vectors[other]).reduce(0) { $0 + $1.0 * $1.1 }
                try #require(abs(product - (other == k ? 1 : 0)) < 1e-12, "size \(size), vectors \(k) and \(other)")
            }
            let largest = vector.map(\.magnitude).max() ?? 0
            #expect(vector.first { $0.magnitude == largest } ?? -1 > 0)
        }
    }
}
