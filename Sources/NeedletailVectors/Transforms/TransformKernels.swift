private import CNeedletailKernels

/// The C functions behind transforms and their fitting, at one level: the only place where Swift holds their pointers.
///
/// Every level gives the same bits. The caller vouches for the memory: lengths are those that `CNeedletailTransforms.h` names.
struct TransformKernels: Sendable {
    private let table: nt_transforms

    init(level: KernelLevel) {
        let code: nt_level = switch level {
        case .scalar: NT_LEVEL_SCALAR
        case .avx2: NT_LEVEL_AVX2
        case .avx512: NT_LEVEL_AVX512
        case .neon: NT_LEVEL_NEON
        }
        guard let kernels = nt_transforms_at(code) else { preconditionFailure("this processor has no kernels of level \(level)") }
        table = kernels.pointee
    }

    static let best = TransformKernels(level: .best)

    /// Matrices are padded to whole blocks of this many outputs.
    static let block = NT_BLOCK
    /// Rows that `moments` takes at a time.
    static let panelRows = NT_PANEL

    static func padded(_ count: Int) -> Int { (count + block - 1) / block * block }

    func squares(_ x: UnsafePointer<Float>, count: Int) -> Double { table.squares(x, count) }

    func centre(
        _ x: UnsafePointer<Float>, count: Int, factor: Double, mean: UnsafePointer<Float>?, out: UnsafeMutablePointer<Float>
    ) -> CentredConstants {
        var sums = (0.0, 0.0)
        withUnsafeMutableBytes(of: &sums) { table.centre(x, count, factor, mean, out, $0.baseAddress?.assumingMemoryBound(to: Double.self)) }
        return CentredConstants(squaredNorm: sums.0, meanProduct: sums.1)
    }

    func project(
        _ x: UnsafePointer<Float>, inputs: Int, columns: UnsafePointer<Float>, outputs: Int, out: UnsafeMutablePointer<Float>
    ) {
        table.project(x, inputs, columns, Self.padded(outputs), outputs, out)
    }

    func mix(_ x: UnsafeMutablePointer<Float>, length: Int, signs: UnsafePointer<UInt16>, first: Int, count: Int) {
        table.mix(x, length, signs, first, count)
    }

    func pair(_ x: UnsafeMutablePointer<Float>, distance: Int, count: Int) { table.pair(x, distance, count) }

    func moments(_ panel: UnsafePointer<Double>, count: Int, stride: Int, sum: UnsafeMutablePointer<Double>) {
        table.moments(panel, count, stride, sum)
    }

    func combine(
        _ x: UnsafePointer<Double>, rows: Int, matrix: UnsafePointer<Double>, stride: Int, columns: Int, out: UnsafeMutablePointer<Double>
    ) {
        table.combine(x, rows, matrix, stride, columns, out)
    }

    func rank2(_ matrix: UnsafeMutablePointer<Double>, stride: Int, size: Int, _ u: UnsafePointer<Double>, _ v: UnsafePointer<Double>) {
        table.rank2(matrix, stride, size, u, v)
    }

    func rank1(
        _ matrix: UnsafeMutablePointer<Double>, stride: Int, rows: Int, columns: Int, _ u: UnsafePointer<Double>, _ v: UnsafePointer<Double>
    ) {
        table.rank1(matrix, stride, rows, columns, u, v)
    }

    func turn(_ x: UnsafeMutablePointer<Double>, _ y: UnsafeMutablePointer<Double>, count: Int, cosine: Double, sine: Double) {
        table.turn(x, y, count, cosine, sine)
    }
}
