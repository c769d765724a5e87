internal import Synchronization

/// Lets readers see points whole, although payload, vectors and slot of a point's new version appear one after the other: a sequence lock
/// (Boehm, "Can seqlocks get along with programming language memory models?", 2012) whose readers take the lock itself when they were unlucky a few times.
final class Publication: Sendable {
    private let lock = Mutex(())
    /// Odd while a point is being changed.
    private let count = Atomic<UInt64>(0)

    func change(_ body: () -> Void) {
        lock.withLock { _ in
            count.wrappingAdd(1, ordering: .acquiringAndReleasing)
            body()
            count.wrappingAdd(1, ordering: .releasing)
        }
    }

    /// While nothing is being changed.
    func exclusively<Value>(_ body: () throws -> Value) throws -> Value { try lock.withLock { _ in try body() } }

    private static let attempts = 3

    /// What `body` found while nothing was changed. It may be called several times.
    func read<Value: Sendable>(_ body: () throws -> Value) throws -> Value {
        for _ in 0..<Self.attempts {
            let before = count.load(ordering: .acquiring)
            guard before.isMultiple(of: 2) else { continue }
            let value = try body()
            atomicMemoryFence(ordering: .acquiring)
            if count.load(ordering: .relaxed) == before { return value }
        }
        return try lock.withLock { _ in try body() }
    }
}
