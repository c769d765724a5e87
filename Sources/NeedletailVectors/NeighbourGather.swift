private import CNeedletailKernels

/// Reads neighbour lists on a walk: which of a node's neighbours are new, and a hint to fetch their rows.
///
/// The caller vouches for the memory: `visited` has a bit for every slot below `bound`, `out` has room for `degree` slots, and `base` is
/// where the rows begin.
public struct NeighbourGather: Sendable {
    private let stride: Int
    private let walkedBytes: Int

    /// - Parameter walkedBytes: how much of a row is worth fetching.
    public init(strideBytes: Int, walkedBytes: Int) {
        stride = strideBytes
        self.walkedBytes = walkedBytes
    }

    /// Writes the slots below `bound` whose bit is not set to `out`, sets their bits, and returns how many there are.
    @inline(__always)
    public func unvisited(
        list: UnsafeRawPointer, degree: Int, bound: UInt32, visited: UnsafeMutablePointer<UInt64>, base: UnsafeRawPointer,
        out: UnsafeMutablePointer<UInt32>
    ) -> Int {
        var rows = nt_rows(base: base, stride: stride, prefetch_bytes: walkedBytes)
        return nt_gather_unvisited(list.assumingMemoryBound(to: UInt32.self), degree, bound, visited, &rows, out)
    }

    /// Writes the slots below `bound` whose bit is set in `admitted` and not in `visited` to `out` and sets the latter; those
    /// neither admitted nor visited go to `refused`. Both have room for `degree` slots.
    @inline(__always)
    public func admitted(
        list: UnsafeRawPointer, degree: Int, bound: UInt32, visited: UnsafeMutablePointer<UInt64>, admitted: UnsafeRawPointer,
        out: UnsafeMutablePointer<UInt32>, refused: UnsafeMutablePointer<UInt32>
    ) -> (admitted: Int, refused: Int) {
        var refusedCount = 0
        let count = nt_gather_admitted(
            list.assumingMemoryBound(to: UInt32.self), degree, bound, visited, admitted.assumingMemoryBound(to: UInt64.self),
            out, refused, &refusedCount)
        return (count, refusedCount)
    }

    /// Hints the processor to fetch a list of `degree` entries.
    public func prefetch(list: UnsafeRawPointer, degree: Int) {
        for offset in Swift.stride(from: 0, to: degree * 4, by: 64) { nt_prefetch(list + offset) }
    }
}
