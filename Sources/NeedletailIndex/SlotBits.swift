public import Synchronization

/// One bit a slot, set and read by any thread without a lock.
///
/// The words are allocated for the full capacity at once, zeroed by the system on first touch, so their address never changes and an
/// untouched set costs no memory.
public final class SlotBits: @unchecked Sendable {
    // Sendable: the pointer never changes and the words are atomics.
    @usableFromInline let words: UnsafeMutablePointer<Atomic<UInt64>>
    public let capacity: Int

    public init(capacity: Int) {
        self.capacity = capacity
        let count = (capacity + 63) / 64 + 1
        // Zero bits are a valid Atomic<UInt64>(0): the type has its value's layout.
        words = unsafe ZeroedMemory.allocate(count * 8).bindMemory(to: Atomic<UInt64>.self, capacity: count)
    }

    deinit { ZeroedMemory.free(words) }

    @inlinable public subscript(slot: Int) -> Bool {
        // In bounds: slots come from the index, which never hands out one beyond the capacity.
        words[slot &>> 6].load(ordering: .acquiring) &>> UInt64(slot & 63) & 1 != 0
    }

    /// The bits of slots 64·`index` … 64·`index` + 63.
    @inlinable public func word(_ index: Int) -> UInt64 { words[index].load(ordering: .acquiring) }

    public func set(_ slot: Int) { words[slot >> 6].bitwiseOr(1 << UInt64(slot & 63), ordering: .acquiringAndReleasing) }

    public func clear(_ slot: Int) { words[slot >> 6].bitwiseAnd(~(1 << UInt64(slot & 63)), ordering: .acquiringAndReleasing) }
}
