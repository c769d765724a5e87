internal import Synchronization

/// Lets readers see points whole, although payload, vectors and slot of a point's new version appear one after the other: a sequence lock
/// (Boehm, "Can seqlocks get along with programming language memory models?", 2012) whose readers take the lock itself when they were unlucky a few times.
///
/// A search is too long for that. It meets the slots one after the other: of a point that is replaced meanwhile perhaps neither the new slot, which was
/// not published when it came by, nor the old one, which is retired when it does. So it asks afterwards what was published since it began, and looks at
/// those points again.
final class Publication: Sendable {
    fileprivate struct Recent {
        /// Of the last changes, by their number: the slot that was published.
        var slots: [UInt32?] = []
    }

    private let recent = Mutex(Recent())
    /// Odd while a point is being changed; twice the number of changes otherwise.
    private let count = Atomic<UInt64>(0)

    /// - Parameter slot: what becomes current; nil for a deletion, or when only the payload changes.
    func change(to slot: UInt32?, _ body: () -> Void) {
        recent.withLock { recent in
            let number = Int(truncatingIfNeeded: count.wrappingAdd(1, ordering: .acquiringAndReleasing).oldValue >> 1)
            body()
            if recent.slots.isEmpty { recent.slots = Array(repeating: nil, count: Self.leastRemembered) }
            recent.slots[number & (recent.slots.count - 1)] = slot
            count.wrappingAdd(1, ordering: .releasing)
        }
    }

    /// While nothing is being changed.
    func exclusively<Value>(_ body: () throws -> Value) throws -> Value { try recent.withLock { _ in try body() } }

    private static let attempts = 3

    /// What `body` found while nothing was changed. It may be called several times.
    func read<Value: Sendable>(_ body: () throws -> Value) throws -> Value {
        for _ in 0..<Self.attempts {
            let before = count.load(ordering: .acquiring)
            guard before.isMultiple(of: 2) else { continue }
            let value = try body()
            if isUnchanged(since: before) { return value }
        }
        return try recent.withLock { _ in try body() }
    }

    // MARK: Searches

    /// Where a search begins.
    var mark: UInt64 { count.load(ordering: .acquiring) }

    /// Whether all that was read since then was as it is.
    func isUnchanged(since mark: UInt64) -> Bool {
        atomicMemoryFence(ordering: .acquiring)
        return mark.isMultiple(of: 2) && count.load(ordering: .relaxed) == mark
    }

    /// A power of two.
    private static let leastRemembered = 64

    /// The slots that were published since the mark, or were being then.
    /// - Returns: nil when there were more than are remembered; from now on more are.
    func slots(publishedSince mark: UInt64) -> [UInt32]? {
        recent.withLock { recent in
            let (first, end) = (mark >> 1, count.load(ordering: .relaxed) >> 1)
            if end - first <= UInt64(recent.slots.count) {
                return (first..<end).compactMap { recent.slots[Int(truncatingIfNeeded: $0) & (recent.slots.count - 1)] }
            }
            recent.remember(Int(truncatingIfNeeded: end - first), before: end)
            return nil
        }
    }
}

extension Publication.Recent {
    /// Room for twice as many; what is there keeps its number.
    fileprivate mutating func remember(_ wanted: Int, before end: UInt64) {
        var larger = [UInt32?](repeating: nil, count: max(1, slots.count))
        while larger.count < 2 * wanted { larger += larger }
        larger = Array(repeating: nil, count: larger.count)
        let kept = UInt64(slots.count)
        for number in end - min(end, kept)..<end {
            larger[Int(truncatingIfNeeded: number) & (larger.count - 1)] = slots[Int(truncatingIfNeeded: number) & (slots.count - 1)]
        }
        slots = larger
    }
}
