internal import DequeModule
internal import NeedletailCore

/// Stands between a replica's log and its graph: a record passes when it is on this disk *and* committed, that is on the disks of all
/// in-sync replicas. So no search sees what a change of the primary could take back.
struct CommitGate {
    typealias Acknowledge = @Sendable (Result<WriteReceipt, NeedletailError>) -> Void

    /// What a write waits for beside being applied.
    enum Milestone: Int, CaseIterable {
        case durable, majority, committed
    }

    /// The only replica: what is on its disk is committed.
    var isAlone: Bool
    /// Every record up to here is on the disks of all in-sync replicas.
    private(set) var committed: UInt64
    private(set) var durable: UInt64
    private var majority: UInt64 = 0
    /// On this disk and not committed, in order.
    private var waiting: Deque<Replica.DurableBatch> = []
    /// Who is to be told of a record, by its sequence.
    private var acknowledgements: [UInt64: Acknowledge] = [:]
    /// By milestone: sequences whose writer is told when it is reached, rising.
    private var early: [Deque<UInt64>] = Milestone.allCases.map { _ in [] }

    /// - Parameter sequence: up to which everything is committed and applied.
    init(isAlone: Bool, sequence: UInt64) {
        self.isAlone = isAlone
        committed = sequence
        durable = sequence
    }

    /// How many records are on this disk and not committed.
    var waitingCount: Int { waiting.count }

    /// - Parameter milestone: nil: told when the write is applied.
    mutating func expect(_ sequence: UInt64, at milestone: Milestone?, _ acknowledge: @escaping Acknowledge) {
        acknowledgements[sequence] = acknowledge
        if let milestone { early[milestone.rawValue].append(sequence) }
    }

    /// What a change lets through.
    struct Release {
        /// To be applied, in order.
        var batches: [Replica.DurableBatch] = []
        /// To be told, with the sequence of the write.
        var told: [(UInt64, Acknowledge)] = []
    }

    mutating func becameDurable(_ batch: Replica.DurableBatch) -> Release {
        waiting.append(batch)
        durable = batch.sequence
        if isAlone { committed = max(committed, durable) }
        return release()
    }

    mutating func commit(through sequence: UInt64, majority: UInt64 = 0) -> Release {
        committed = max(committed, sequence)
        self.majority = max(self.majority, majority)
        return release()
    }

    mutating func setAlone(_ isAlone: Bool) -> Release {
        self.isAlone = isAlone
        if isAlone { committed = max(committed, durable) }
        return release()
    }

    private mutating func release() -> Release {
        var released = Release()
        while let first = waiting.first, first.sequence <= committed { released.batches.append(waiting.removeFirst()) }
        let reached = [durable, max(majority, min(committed, durable)), min(committed, durable)]
        for milestone in Milestone.allCases {
            while let sequence = early[milestone.rawValue].first, sequence <= reached[milestone.rawValue] {
                early[milestone.rawValue].removeFirst()
                if let acknowledge = acknowledgements.removeValue(forKey: sequence) { released.told.append((sequence, acknowledge)) }
            }
        }
        return released
    }

    /// The writer to be told that its write is applied.
    mutating func takeAcknowledgement(_ sequence: UInt64) -> Acknowledge? { acknowledgements.removeValue(forKey: sequence) }

    /// Nobody may wait any longer: what becomes of the writes is decided elsewhere. Records stay.
    mutating func abandon() -> [Acknowledge] {
        defer { (acknowledgements, early) = ([:], Milestone.allCases.map { _ in [] }) }
        return Array(acknowledgements.values)
    }

    /// Forgets the records after `sequence`, which is not below `committed`; returns who waits for one of them.
    mutating func cut(after sequence: UInt64) -> [Acknowledge] {
        while let last = waiting.last, last.sequence > sequence { waiting.removeLast() }
        durable = min(durable, sequence)
        majority = min(majority, sequence)
        for milestone in early.indices { while let last = early[milestone].last, last > sequence { early[milestone].removeLast() } }
        let doomed = acknowledgements.keys.filter { $0 > sequence }
        return doomed.compactMap { acknowledgements.removeValue(forKey: $0) }
    }
}
