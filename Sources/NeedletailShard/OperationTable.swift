internal import DequeModule
internal import NeedletailCore

/// The writes of late by their names, so that one that is sent again is answered and not carried out again.
///
/// It holds the last 100,000 of the last 10 minutes, on every replica: a primary that takes over knows what its predecessor logged.
struct OperationTable {
    typealias Waiter = @Sendable (Result<WriteReceipt, NeedletailError>) -> Void

    struct Entry {
        let sequence: UInt64
        /// nil until the write is applied; and after a restart, when only its being there is known.
        var outcomes: [OperationOutcome]?
        var isApplied = false
        /// Attempts that wait for the first one to be applied.
        var waiters: [Waiter] = []
        let time: ContinuousClock.Instant
    }

    private var entries: [OperationID: Entry] = [:]
    /// Oldest first; sequences rise.
    private var order: Deque<(id: OperationID, sequence: UInt64)> = []

    static let limit = 100_000
    static let patience = Duration.seconds(600)

    subscript(_ id: OperationID) -> Entry? { entries[id] }

    /// Takes note of a write that was given `sequence`.
    mutating func note(_ id: OperationID, sequence: UInt64, now: ContinuousClock.Instant) {
        entries[id] = Entry(sequence: sequence, time: now)
        order.append((id, sequence))
        while let oldest = order.first, order.count > Self.limit || isOver(oldest, now: now) {
            order.removeFirst()
            // The same name may have been noted again after a cut.
            if entries[oldest.id]?.sequence == oldest.sequence { entries[oldest.id] = nil }
        }
    }

    private func isOver(_ oldest: (id: OperationID, sequence: UInt64), now: ContinuousClock.Instant) -> Bool {
        guard let entry = entries[oldest.id] else { return true }
        return entry.isApplied && entry.time.duration(to: now) > Self.patience
    }

    /// Another attempt at a write that is not applied yet.
    mutating func wait(_ id: OperationID, _ waiter: @escaping Waiter) { entries[id]?.waiters.append(waiter) }

    /// The write is applied: returns who waits for that.
    mutating func applied(_ id: OperationID, _ outcomes: [OperationOutcome]) -> [Waiter] {
        entries[id]?.isApplied = true
        entries[id]?.outcomes = outcomes
        defer { entries[id]?.waiters = [] }
        return entries[id]?.waiters ?? []
    }

    /// Forgets the writes after `sequence`, which were taken back; returns who waits for one of them.
    mutating func cut(after sequence: UInt64) -> [Waiter] {
        var waiters: [Waiter] = []
        while let last = order.last, last.sequence > sequence {
            order.removeLast()
            guard let entry = entries[last.id], entry.sequence == last.sequence else { continue }
            waiters += entry.waiters
            entries[last.id] = nil
        }
        return waiters
    }

    /// Nobody may wait any longer.
    mutating func takeWaiters() -> [Waiter] {
        var waiters: [Waiter] = []
        for id in entries.keys where !(entries[id]?.waiters.isEmpty ?? true) {
            waiters += entries[id]?.waiters ?? []
            entries[id]?.waiters = []
        }
        return waiters
    }
}

extension OperationTable {
    /// What a checkpoint keeps: names and sequences of writes up to `sequence`, oldest first, and the outcomes that are not all `applied`.
    func encode(upTo sequence: UInt64, to writer: inout ByteWriter) {
        let kept = order.prefix { $0.sequence <= sequence }
        writer.varint(UInt64(kept.count))
        for (id, sequence) in kept {
            writer.u64(id.high)
            writer.u64(id.low)
            writer.u64(sequence)
            let outcomes = entries[id]?.outcomes ?? []
            writer.varint(UInt64(outcomes.count))
            writer.bytes(outcomes.allSatisfy { $0 == .applied } ? [] : outcomes.map(\.rawValue))
        }
    }

    /// - Throws: `dataLoss` when the bytes are damaged.
    init(from reader: inout ByteReader, now: ContinuousClock.Instant) throws(NeedletailError) {
        for _ in 0..<(try reader.count(minimumItemBytes: 26)) {
            let id = OperationID(high: try reader.u64(), low: try reader.u64())
            let sequence = try reader.u64()
            let count = try reader.varint()
            let bytes = try reader.bytes()
            guard count <= UInt64(Limits.pointsPerWrite), bytes.isEmpty || bytes.count == Int(count) else {
                throw NeedletailError(.dataLoss, "the checkpoint's table of operations is damaged; \(NeedletailError.damagedReplicaAdvice)")
            }
            var outcomes: [OperationOutcome] = []
            for index in 0..<Int(count) {
                guard let outcome = bytes.isEmpty ? .applied : OperationOutcome(rawValue: bytes[index]) else {
                    throw NeedletailError(.dataLoss, "the checkpoint's table of operations is damaged; \(NeedletailError.damagedReplicaAdvice)")
                }
                outcomes.append(outcome)
            }
            note(id, sequence: sequence, now: now)
            _ = applied(id, outcomes)
        }
    }
}

extension OperationTable {
    /// Of a name that several have, what was written last counts.
    init(joining tables: [OperationTable]) {
        for (id, entry) in tables.flatMap({ table in table.order.compactMap { one in table.entries[one.id].map { (one.id, $0) } } })
            .sorted(by: { $0.1.sequence < $1.1.sequence })
        {
            entries[id] = entry
            order.append((id, entry.sequence))
        }
    }
}
