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
    /// What was mapped: `base` is its first whole page.
    private let mapping: UnsafeMutableRawPointer
    private let byteCount: Int
    private static let pageBytes = 1 << 21

    public init(strideBytes: Int, capacity: Int) {
        self.strideBytes = strideBytes
        self.capacity = capacity
        // Zeros that cost nothing before they are written. Walks jump all over: with 2 MiB pages the processor finds nearly every address
        // without a search of its own.
        byteCount = (max(1, strideBytes * capacity) + Self.pageBytes - 1) & ~(Self.pageBytes - 1)
        let mapped = mmap(nil, byteCount + Self.pageBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let mapped, mapped != MAP_FAILED else { fatalError("no address space for \(byteCount) bytes; lower the capacity") }
        mapping = mapped
        base = UnsafeMutableRawPointer(bitPattern: (UInt(bitPattern: mapped) + UInt(Self.pageBytes) - 1) & ~(UInt(Self.pageBytes) - 1))
            .unsafelyUnwrapped
        // Only as far as the slots fill such pages whole, so that none is given for a few bytes.
        madvise(base, (strideBytes * capacity) & ~(Self.pageBytes - 1), MADV_HUGEPAGE)
    }

    deinit { munmap(mapping, byteCount + Self.pageBytes) }

    public func ensureCapacity(slots: Int) throws(NeedletailError) {
        guard slots <= capacity else {
            throw NeedletailError(.resourceExhausted, "the partition is full at \(capacity) points; use more shards")
        }
    }

    public func willWrite(slot: Int) {}
}
