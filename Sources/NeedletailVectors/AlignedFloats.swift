/// Floats on a cache-line boundary that never change once made.
///
/// `@unchecked Sendable`: written in `init` only, before anyone else has a reference.
final class AlignedFloats: @unchecked Sendable, Hashable {
    private let memory: UnsafeMutablePointer<Float>
    private let count: Int

    /// `fill` gets `count` zeros.
    init(count: Int, fill: (UnsafeMutablePointer<Float>) -> Void) {
        self.count = count
        memory = UnsafeMutableRawPointer.allocate(byteCount: max(64, count * 4), alignment: 64).bindMemory(to: Float.self, capacity: count)
        memory.initialize(repeating: 0, count: count)
        fill(memory)
    }

    deinit { UnsafeMutableRawPointer(memory).deallocate() }

    /// The pointer is valid inside `body` only.
    func withPointer<Result, Failure: Error>(_ body: (UnsafePointer<Float>) throws(Failure) -> Result) throws(Failure) -> Result {
        try body(memory)
    }

    private var values: UnsafeBufferPointer<Float> { UnsafeBufferPointer(start: memory, count: count) }

    static func == (left: AlignedFloats, right: AlignedFloats) -> Bool {
        left === right || left.values.elementsEqual(right.values)
    }

    func hash(into hasher: inout Hasher) {
        hasher.combine(count)
        for value in values.prefix(256) { hasher.combine(value) }
    }
}
