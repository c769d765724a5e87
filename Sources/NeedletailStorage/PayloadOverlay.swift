import NeedletailCore
import Synchronization

/// The payload changes since the last checkpoint, over the store that holds the rest.
///
/// Changes go to the *current* generation. At a checkpoint's barrier `freeze` sets it aside; the frozen generation is committed to
/// the store and dropped, or goes back under the current one when the checkpoint failed. A lookup asks current, frozen, store.
///
/// Any thread may call anything; one checkpoint at a time.
public final class PayloadOverlay: Sendable {
    /// A nil value is a deletion.
    public typealias Change = (key: [UInt8], value: [UInt8]?)

    private enum Value: Sendable {
        case bytes([UInt8])
        case deleted

        var optional: [UInt8]? {
            if case .bytes(let bytes) = self { bytes } else { nil }
        }
        var count: Int { optional?.count ?? 0 }
    }

    private struct Generation: Sendable {
        var changes = OrderedByteMap<Value>()
        var sizeBytes = 0

        mutating func set(_ key: [UInt8], _ value: Value) {
            if let old = changes.set(key, value) {
                sizeBytes += value.count - old.count
            } else {
                sizeBytes += key.count + value.count + PayloadOverlay.entryOverheadBytes
            }
        }
    }

    private struct State: Sendable {
        var current = Generation()
        var frozen: Generation?
    }

    /// Two array headers and the map's references, about.
    private static let entryOverheadBytes = 96
    private static let pageEntries = 512

    public let store: PayloadStore
    private let state = Mutex(State())

    public init(store: PayloadStore) { self.store = store }

    /// Memory held by both generations, about.
    public var sizeBytes: Int { state.withLock { $0.current.sizeBytes + ($0.frozen?.sizeBytes ?? 0) } }
    /// Changes held by both generations.
    public var count: Int { state.withLock { $0.current.changes.count + ($0.frozen?.changes.count ?? 0) } }

    public func put(_ key: [UInt8], _ value: [UInt8]) { state.withLock { $0.current.set(key, .bytes(value)) } }
    public func delete(_ key: [UInt8]) { state.withLock { $0.current.set(key, .deleted) } }

    /// - Throws: what the store throws.
    public func get(_ key: [UInt8]) throws -> [UInt8]? {
        if let value = pending(key) { return value.optional }
        // Between the two questions a generation can only move into the store, never out of it.
        return try store.get(key)
    }

    /// The values of several keys, in their order; those in the store come from one snapshot.
    public func get(_ keys: [[UInt8]]) throws -> [[UInt8]?] {
        let found = state.withLock { state in keys.map { state.current.changes[$0] ?? state.frozen?.changes[$0] } }
        let missing = keys.indices.filter { found[$0] == nil }
        if missing.isEmpty { return found.map { $0?.optional } }
        var result = found.map { $0?.optional }
        for (index, value) in zip(missing, try store.get(missing.map { keys[$0] })) { result[index] = value }
        return result
    }

    private func pending(_ key: [UInt8]) -> Value? { state.withLock { $0.current.changes[key] ?? $0.frozen?.changes[key] } }

    // MARK: Checkpoints

    /// At the barrier: sets the current changes aside for the store.
    public func freeze() {
        state.withLock { state in
            precondition(state.frozen == nil, "the last frozen changes were neither dropped nor thawed")
            state.frozen = state.current
            state.current = Generation()
        }
    }

    /// The frozen changes in key order, for `PayloadStore.commit`.
    public func frozenChanges() -> [Change] {
        let frozen = state.withLock { $0.frozen }
        return frozen?.changes.entries(after: nil, limit: .max).map { ($0.key, $0.value.optional) } ?? []
    }

    /// The frozen changes are in the store.
    public func dropFrozen() {
        let dropped = state.withLock { state in
            defer { state.frozen = nil }
            return state.frozen
        }
        // Freed outside the lock: there may be a million entries.
        _ = dropped
    }

    /// The checkpoint failed: the frozen changes count as current again, except where newer ones exist.
    public func thaw() {
        state.withLock { state in
            guard var merged = state.frozen else { return }
            for (key, value) in state.current.changes.entries(after: nil, limit: .max) { merged.set(key, value) }
            state.current = merged
            state.frozen = nil
        }
    }

    // MARK: Scanning

    /// Calls `body` for at most `limit` entries in key order after `key` (nil: from the first): the store's, as changed by the overlay.
    /// Each entry is as of some moment during the call; `body` runs outside all locks and transactions.
    public func scan(after key: [UInt8]?, limit: Int, _ body: (_ key: [UInt8], _ value: [UInt8]) throws -> Void) throws {
        var (cursor, left) = (key, limit)
        while left > 0 {
            let pageLimit = min(left, Self.pageEntries)
            let page = try mergedPage(after: cursor, limit: pageLimit)
            for entry in page.entries.prefix(left) { try body(entry.key, entry.value) }
            left -= page.entries.count
            guard let bound = page.bound else { return }
            cursor = bound
        }
    }

    /// What is known for sure up to `bound`: nil means up to the end.
    private func mergedPage(after key: [UInt8]?, limit: Int) throws -> (entries: [(key: [UInt8], value: [UInt8])], bound: [UInt8]?)
    {
        // The overlay first: what leaves it afterwards is in the store by then.
        let (current, frozen) = state.withLock { state in
            (
                state.current.changes.entries(after: key, limit: limit),
                state.frozen?.changes.entries(after: key, limit: limit) ?? []
            )
        }
        var stored: [(key: [UInt8], value: [UInt8])] = []
        try store.scan(after: key, limit: limit) { stored.append(($0, $1)) }
        // A source that gave a full page says nothing about what follows its last key.
        var bound: [UInt8]?
        for (count, last) in [
            (current.count, current.last?.key), (frozen.count, frozen.last?.key), (stored.count, stored.last?.key),
        ] {
            if count == limit, let last, bound.map({ last.lexicographicallyPrecedes($0) }) ?? true { bound = last }
        }
        var merged = OrderedByteMap<Value>()
        for (key, value) in stored { merged.set(key, .bytes(value)) }
        for (key, value) in frozen { merged.set(key, value) }
        for (key, value) in current { merged.set(key, value) }
        let entries = merged.entries(after: nil, limit: .max).compactMap { entry -> (key: [UInt8], value: [UInt8])? in
            if let bound, bound.lexicographicallyPrecedes(entry.key) { return nil }
            return entry.value.optional.map { (entry.key, $0) }
        }
        return (entries, bound)
    }
}
