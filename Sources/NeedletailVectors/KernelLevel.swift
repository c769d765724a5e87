import NeedletailCore
private import CNeedletailKernels

/// An instruction set that there are distance kernels for.
public enum KernelLevel: String, Sendable, CaseIterable {
    case scalar, avx2, avx512, neon

    /// The levels this processor can run, slowest first.
    public static var available: [KernelLevel] { allCases.filter { nt_kernels_at(nt_level($0.number)) != nil } }

    /// The fastest level of this processor.
    public static var best: KernelLevel {
        let level = unsafe nt_kernels_best().pointee.level
        return allCases.first { $0.code == level } ?? .scalar
    }

    /// Reads memory once, in order, with this level's widest loads, and returns a sum of it: the rate that a scan can reach at best.
    /// The level must be an available one.
    public func read(_ memory: UnsafeRawBufferPointer) -> UInt64 {
        guard let kernels = nt_kernels_at(nt_level(number)) else { preconditionFailure("this processor has no kernels of level \(self)") }
        return kernels.pointee.read(memory.baseAddress, memory.count)
    }

    /// What C calls this level.
    var number: UInt32 { code.rawValue }

    private var code: nt_level {
        switch self {
        case .scalar: NT_LEVEL_SCALAR
        case .avx2: NT_LEVEL_AVX2
        case .avx512: NT_LEVEL_AVX512
        case .neon: NT_LEVEL_NEON
        }
    }
}

/// The C functions of one (metric, element) at one level: the only place where Swift holds kernel pointers.
///
/// Every method is one call into C for a whole list of rows; nothing here allocates.
struct RowKernel: Sendable {
    private let function: nt_rows_fn
    private let widenFunction: nt_widen_fn?

    init(metric: NeedletailCore.Metric, element: VectorElement, level: KernelLevel) {
        guard let table = nt_kernels_at(nt_level(level.number)) else {
            preconditionFailure("this processor has no kernels of level \(level)")
        }
        let kernels = table.pointee
        switch (metric, element) {
        case (_, .bit): function = kernels.hamming
        case (.l2, .f32): function = kernels.l2_f32
        case (.l2, .f16): function = kernels.l2_f16
        case (.l2, .u8): function = kernels.l2_u8
        case (_, .f32): function = kernels.dot_f32
        case (_, .f16): function = kernels.dot_f16
        case (_, .u8): function = kernels.dot_u8
        }
        switch element {
        case .f16: widenFunction = kernels.widen_f16
        case .u8: widenFunction = kernels.widen_u8
        case .f32, .bit: widenFunction = nil
        }
    }

    /// Scores `count` rows into `out`; `rows == nil` means rows 0 … count−1 from `base`.
    func score(
        query: UnsafeRawPointer, base: UnsafeRawPointer, stride: Int, rows: UnsafePointer<UInt32>?, count: Int, dimensions: Int,
        out: UnsafeMutablePointer<Float>
    ) {
        function(query, base, stride, rows, count, dimensions, out)
    }

    /// Whether a stored row must be widened before it can stand as a query.
    var widens: Bool { widenFunction != nil }

    /// Writes the row's elements as float32 to `target`.
    func widen(row: UnsafeRawPointer, dimensions: Int, target: UnsafeMutablePointer<Float>) {
        widenFunction?(row, dimensions, target)
    }
}

/// Rounds `count` float32 values to IEEE half.
func narrowToHalf(_ source: UnsafePointer<Float>, count: Int, target: UnsafeMutablePointer<UInt16>) {
    nt_narrow_f16(source, count, target)
}
