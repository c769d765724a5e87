public import NeedletailCore
private import Glibc

/// Memory for fixed-size slots at addresses that never change: what an index lives in.
///
/// Invariants on which every unchecked access rests: slot `i` lies at `base + i * strideBytes` for as long as the object lives; slots
/// below the last `ensureCapacity` may be read by any thread at any time; bytes of new slots are zero; and `willWrite` is called
/// before a slot's bytes change, so that a checkpoint under way keeps the bytes as they were.
public protocol SlotMemory: AnyObject, Sendable {
    var strideBytes: Int { get }
    /// Valid after the first `ensureCapacity`.
    var base: UnsafeMutableRawPointer { get }
    /// Makes slots 0 ..< `slots` usable. Called by one thread at a time.
    /// - Throws: `resourceExhausted` beyond the memory's capacity.
    func ensureCapacity(slots: Int) throws(NeedletailError)
    func willWrite(slot: Int)
}

/// Slot memory that nobody checkpoints: for benchmarks and tests of the index alone.
public final class PlainSlotMemory: SlotMemory, @unchecked Sendable {
    // Sendable: `base` and `capacity` never change; what lies behind `base` is guarded by the index that uses it.
    public let strideBytes: Int
    public let base: UnsafeMutableRawPointer
    private let capacity: Int

    public init(strideBytes: Int, capacity: Int) {
        self.strideBytes = strideBytes
        self.capacity = capacity
        // Rounded up so that the last row ends inside; page-aligned so that rows of whole cache lines stay aligned.
        let bytes = (max(1, strideBytes * capacity) + 4095) & ~4095
        base = .allocate(byteCount: bytes, alignment: 1 << 21)
        // Walks jump all over it: with 2 MiB pages the processor finds nearly every address without a walk of its own.
        madvise(base, bytes, MADV_HUGEPAGE)
        base.initializeMemory(as: UInt8.self, repeating: 0, count: bytes)
    }

    deinit { base.deallocate() }

    public func ensureCapacity(slots: Int) throws(NeedletailError) {
        guard slots <= capacity else {
            throw NeedletailError(.resourceExhausted, "the partition is full at \(capacity) points; use more shards")
        }
    }

    public func willWrite(slot: Int) {}
}
