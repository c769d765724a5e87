public import NeedletailCore

/// All eigenvalues and orthonormal eigenvectors of a symmetric matrix, to the same bits on every machine: only + − × ÷ and square
/// roots, each in a fixed order.
///
/// Plan: scale by a power of two so that nothing over- or underflows; bring the matrix to tridiagonal form by Householder reflections;
/// multiply these out; then implicit QL turns the tridiagonal form diagonal, each plane rotation applied to two rows of the vectors.
/// (Martin, Reinsch and Wilkinson, "Householder's tridiagonalization of a symmetric matrix", 1968; Bowdler et al., "The QR and QL
/// algorithms for symmetric matrices", 1968.) About 9n³ operations, 3 · 8n² bytes.
public struct SymmetricEigen: Sendable {
    /// Falling.
    public let values: [Double]
    /// `size × size`: row k is the eigenvector of `values[k]`, its component of largest magnitude (the first of equals) positive.
    public let vectors: [Double]

    /// - Throws: `invalidArgument` when a value is not finite, `internal` if the iteration does not settle.
    public init(_ matrix: SymmetricMatrix) throws(NeedletailError) {
        try self.init(matrix, kernels: .best)
    }

    init(_ matrix: SymmetricMatrix, kernels: TransformKernels) throws(NeedletailError) {
        let size = matrix.size
        var largest = 0.0
        for value in matrix.values {
            guard value.isFinite else { throw NeedletailError(.invalidArgument, "a matrix with a NaN or an infinity has no eigenvectors") }
            largest = max(largest, value.magnitude)
        }
        let exponent = largest > 0 ? Int(max(-1000, largest.exponent)) : 0
        let down = Double(sign: .plus, exponent: -exponent, significand: 1)
        var form = Tridiagonal(matrix.values.map { $0 * down }, size: size, kernels: kernels)
        try form.diagonalise()
        let diagonal = form.diagonal
        let order = diagonal.indices.sorted { diagonal[$0] != diagonal[$1] ? diagonal[$0] > diagonal[$1] : $0 < $1 }
        values = order.map { diagonal[$0] * Double(sign: .plus, exponent: exponent, significand: 1) }
        vectors = order.flatMap { Self.signed(form.vector($0)) }
    }

    private static func signed(_ vector: [Double]) -> [Double] {
        var largest = 0
        for index in vector.indices where vector[index].magnitude > vector[largest].magnitude { largest = index }
        return vector.isEmpty || vector[largest] >= 0 ? vector : vector.map { 0 - $0 }
    }
}

/// A symmetric matrix brought to tridiagonal form T = QᵀAQ, then to its eigenvalues.
private struct Tridiagonal: ~Copyable {
    let size: Int
    /// T's diagonal; after `diagonalise` the eigenvalues.
    private(set) var diagonal: [Double]
    /// `beside[k]` couples k and k + 1; the last one is 0.
    private var beside: [Double]
    /// Row k is column k of Q; after `diagonalise` the eigenvector of `diagonal[k]`.
    private let rows: DoubleMemory
    private let kernels: TransformKernels

    init(_ matrix: [Double], size: Int, kernels: TransformKernels) {
        self.size = size
        self.kernels = kernels
        diagonal = [Double](repeating: 0, count: size)
        beside = [Double](repeating: 0, count: size)
        rows = DoubleMemory(count: size * size)
        let work = DoubleMemory(matrix)
        let inverses = reduce(work.pointer)
        formVectors(work.pointer, inverses)
    }

    func vector(_ index: Int) -> [Double] { Array(UnsafeBufferPointer(start: rows.pointer + index * size, count: size)) }

    /// Reflects row k's part right of the diagonal onto one axis, for each k. Leaves the reflecting vector u there and returns 1/h, where
    /// H = I − uuᵀ/h, or 0 where nothing had to be done.
    private mutating func reduce(_ a: UnsafeMutablePointer<Double>) -> [Double] {
        var inverses = [Double](repeating: 0, count: size)
        let p = DoubleMemory(count: size)
        for k in 0..<max(0, size - 1) {
            diagonal[k] = a[k * size + k]
            let u = a + k * size + k + 1
            let length = size - k - 1
            var tail = 0.0
            for index in 1..<max(1, length) { tail += u[index] * u[index] }
            guard tail > 0 else {
                beside[k] = u[0]
                continue
            }
            let norm = (u[0] * u[0] + tail).squareRoot()
            let h = norm * (norm + u[0].magnitude)
            beside[k] = u[0] >= 0 ? 0 - norm : norm
            u[0] -= beside[k]
            inverses[k] = 1 / h
            // A' = HAH = A − uqᵀ − quᵀ with p = Au/h and q = p − u(uᵀp)/2h.
            let rest = a + (k + 1) * size + k + 1
            kernels.combine(u, rows: length, matrix: rest, stride: size, columns: length, out: p.pointer)
            var product = 0.0
            for index in 0..<length {
                p.pointer[index] *= inverses[k]
                product += u[index] * p.pointer[index]
            }
            let half = product * inverses[k] * 0.5
            for index in 0..<length { p.pointer[index] -= half * u[index] }
            kernels.rank2(rest, stride: size, size: length, u, p.pointer)
        }
        if size > 0 { diagonal[size - 1] = a[size * size - 1] }
        return inverses
    }

    /// Multiplies the reflections out, last first, so that each meets only the corner that is no longer the unit matrix; then `rows`
    /// is the transpose of the product.
    private func formVectors(_ reflectors: UnsafeMutablePointer<Double>, _ inverses: [Double]) {
        let q = DoubleMemory(count: size * size)
        let v = DoubleMemory(count: size)
        for index in 0..<size { q.pointer[index * size + index] = 1 }
        for k in stride(from: size - 2, through: 0, by: -1) where inverses[k] != 0 {
            let u = reflectors + k * size + k + 1
            let length = size - k - 1
            let corner = q.pointer + (k + 1) * size + k + 1
            kernels.combine(u, rows: length, matrix: corner, stride: size, columns: length, out: v.pointer)
            for index in 0..<length { v.pointer[index] *= inverses[k] }
            kernels.rank1(corner, stride: size, rows: length, columns: length, u, v.pointer)
        }
        for row in 0..<size {
            for column in 0..<size { rows.pointer[column * size + row] = q.pointer[row * size + column] }
        }
    }

    /// Implicit QL with the shifts of EISPACK's tql2. A value settles in two or three sweeps; 100 mean that something is broken.
    mutating func diagonalise() throws(NeedletailError) {
        var shift = 0.0
        var scale = 0.0
        for l in 0..<size {
            scale = max(scale, diagonal[l].magnitude + beside[l].magnitude)
            let negligible = 0x1p-52 * scale
            var sweeps = 0
            while true {
                // `beside` ends in 0, so this stops.
                var m = l
                while beside[m].magnitude > negligible { m += 1 }
                if m == l { break }
                sweeps += 1
                guard sweeps <= 100 else {
                    throw NeedletailError(.internal, "the eigenvalues of a \(size) × \(size) matrix do not settle; report this as a bug")
                }
                shift += sweep(from: m, to: l)
            }
            diagonal[l] += shift
            beside[l] = 0
        }
    }

    /// One QL sweep over l … m; returns what it took off the diagonal from l on.
    private mutating func sweep(from m: Int, to l: Int) -> Double {
        let g = diagonal[l]
        let half = (diagonal[l + 1] - g) / (2 * beside[l])
        let root = (half * half + 1).squareRoot()
        let pivot = half < 0 ? half - root : half + root
        diagonal[l] = beside[l] / pivot
        diagonal[l + 1] = beside[l] * pivot
        let next = diagonal[l + 1]
        let shift = g - diagonal[l]
        for index in (l + 2)..<max(l + 2, size) { diagonal[index] -= shift }
        var p = diagonal[m]
        var (c, c2, c3, s, s2) = (1.0, 1.0, 1.0, 0.0, 0.0)
        let following = beside[l + 1]
        for i in stride(from: m - 1, through: l, by: -1) {
            (c3, c2, s2) = (c2, c, s)
            let (across, along) = (c * beside[i], c * p)
            let r = (p * p + beside[i] * beside[i]).squareRoot()
            beside[i + 1] = s * r
            s = beside[i] / r
            c = p / r
            p = c * diagonal[i] - s * across
            diagonal[i + 1] = along + s * (c * across + s * diagonal[i])
            kernels.turn(rows.pointer + i * size, rows.pointer + (i + 1) * size, count: size, cosine: c, sine: s)
        }
        p = 0 - s * s2 * c3 * following * beside[l] / next
        beside[l] = s * p
        diagonal[l] = c * p
        return shift
    }
}

/// float64 memory with one owner.
private struct DoubleMemory: ~Copyable {
    /// Owned; as many values as `init` was told, never moved.
    let pointer: UnsafeMutablePointer<Double>

    init(count: Int) {
        pointer = .allocate(capacity: max(1, count))
        pointer.initialize(repeating: 0, count: max(1, count))
    }

    init(_ values: [Double]) {
        self.init(count: values.count)
        values.withUnsafeBufferPointer { source in
            if let base = source.baseAddress { pointer.update(from: base, count: source.count) }
        }
    }

    deinit { pointer.deallocate() }
}
