import Synchronization

/// Bytes of one kind that a server holds, over all connections.
final class MemoryBudget: Sendable {
    private let used = Atomic<Int>(0)
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// Adds (or, negative, takes back) `count` bytes; false when the budget is exceeded. The bytes count either way.
    func add(_ count: Int) -> Bool {
        used.wrappingAdd(count, ordering: .relaxed).newValue <= limit || count <= 0
    }
}
