internal import DequeModule
internal import NeedletailCore

/// The names of late writes of a shard, by cells: the ranges of the shards that it was merged of; one cell when it was not merged lately.
///
/// A name says only of a cell's points that they were written: of a write to several shards one part may have come to a shard before it was merged, and
/// another one is sent to the merged shard, under the same name. Such a part has all of the write's points in the cells that it touches,
/// whatever map it was made by, since every shard there was is a union of cells.
struct OperationCells {
    typealias Waiter = OperationTable.Waiter

    struct Cell {
        var range: HashRange
        var table = OperationTable()
    }

    /// In order of their ranges, which tile that of the shard.
    private(set) var cells: [Cell]
    /// When the shard began to have several.
    private var since = ContinuousClock.now

    init(range: HashRange) { cells = [Cell(range: range)] }

    init(_ cells: [Cell]) {
        precondition(!cells.isEmpty)
        self.cells = cells
    }

    /// What is known of a write that comes under a name.
    enum Known {
        case nothing
        /// All of it is visible.
        case applied(WriteReceipt)
        /// All of it is in the log. Who waits with this attempt is told when it is visible.
        case logged
        /// Of some cells' points; the others are still to be written.
        case partly(missing: Set<Int>)
    }

    private func cell(of hash: UInt64) -> Int { cells.firstIndex { hash <= $0.range.last } ?? cells.count - 1 }

    func cell(of id: PointID) -> Int { cells.count == 1 ? 0 : cell(of: id.placementHash) }

    private func touched(by operations: [PointOperation]) -> [Int] {
        cells.count == 1 ? [0] : Set(operations.map { cell(of: $0.id) }).sorted()
    }

    /// - Parameter waiter: kept when the answer is `logged`.
    mutating func find(_ id: OperationID, _ operations: [PointOperation], _ waiter: @escaping Waiter) -> Known {
        let touched = touched(by: operations)
        let entries = touched.compactMap { cells[$0].table[id] }
        if entries.isEmpty { return .nothing }
        guard entries.count == touched.count else { return .partly(missing: Set(touched.filter { cells[$0].table[id] == nil })) }
        guard let last = touched.filter({ cells[$0].table[id]?.isApplied == false }).max(by: { sequence(id, $0) < sequence(id, $1) }) else {
            return .applied(WriteReceipt(sequence: entries.map(\.sequence).max() ?? 0, outcomes: entries.flatMap { $0.outcomes ?? [] }))
        }
        // Writes become visible in the order of the log.
        cells[last].table.wait(id, waiter)
        return .logged
    }

    private func sequence(_ id: OperationID, _ cell: Int) -> UInt64 { cells[cell].table[id]?.sequence ?? 0 }

    /// What became of the points of a write that were written before.
    func outcomes(of id: OperationID, except missing: Set<Int>) -> [OperationOutcome] {
        cells.indices.filter { !missing.contains($0) }.flatMap { cells[$0].table[id]?.outcomes ?? [] }
    }

    /// Takes note of a write that was given `sequence`.
    mutating func note(_ id: OperationID, _ operations: [PointOperation], sequence: UInt64, now: ContinuousClock.Instant) {
        for cell in touched(by: operations) { cells[cell].table.note(id, sequence: sequence, now: now) }
    }

    /// The write is applied: returns who waits for that.
    mutating func applied(_ id: OperationID, _ operations: [PointOperation], _ outcomes: [OperationOutcome]) -> [Waiter] {
        if cells.count == 1 { return cells[0].table.applied(id, outcomes) }
        return touched(by: operations).flatMap { index in
            cells[index].table.applied(id, zip(operations, outcomes).filter { cell(of: $0.0.id) == index }.map(\.1))
        }
    }

    mutating func cut(after sequence: UInt64) -> [Waiter] { cells.indices.flatMap { cells[$0].table.cut(after: sequence) } }

    mutating func takeWaiters() -> [Waiter] { cells.indices.flatMap { cells[$0].table.takeWaiters() } }

    /// Long after a merge no part of a write of before is sent any more: the cells become one.
    mutating func join(now: ContinuousClock.Instant) {
        guard cells.count > 1, since.duration(to: now) > OperationTable.patience + OperationTable.patience else { return }
        var joined = Cell(range: HashRange(first: cells[0].range.first, last: cells[cells.count - 1].range.last))
        joined.table = OperationTable(joining: cells.map(\.table))
        cells = [joined]
    }

    /// What a part of this range goes on with.
    func clipped(to range: HashRange) -> OperationCells {
        let kept = cells.filter { $0.range.first <= range.last && range.first <= $0.range.last }.map { cell in
            Cell(range: HashRange(first: max(cell.range.first, range.first), last: min(cell.range.last, range.last)), table: cell.table)
        }
        var clipped = OperationCells(kept.isEmpty ? [Cell(range: range)] : kept)
        clipped.since = since
        return clipped
    }
}

extension OperationCells {
    /// - Parameter sequence: names of later writes are left out.
    func encode(upTo sequence: UInt64, to writer: inout ByteWriter) {
        writer.varint(UInt64(cells.count))
        for cell in cells {
            writer.u64(cell.range.first)
            writer.u64(cell.range.last)
            cell.table.encode(upTo: sequence, to: &writer)
        }
    }

    /// - Throws: `dataLoss` when the bytes are damaged.
    init(from reader: inout ByteReader, now: ContinuousClock.Instant) throws(NeedletailError) {
        var cells: [Cell] = []
        for _ in 0..<(try reader.count(minimumItemBytes: 17)) {
            let (first, last) = (try reader.u64(), try reader.u64())
            guard first <= last, cells.last.map({ $0.range.last < first }) ?? true else {
                throw NeedletailError(.dataLoss, "the checkpoint's table of operations is damaged; \(NeedletailError.damagedReplicaAdvice)")
            }
            cells.append(Cell(range: HashRange(first: first, last: last), table: try OperationTable(from: &reader, now: now)))
        }
        guard !cells.isEmpty else {
            throw NeedletailError(.dataLoss, "the checkpoint's table of operations is damaged; \(NeedletailError.damagedReplicaAdvice)")
        }
        self.init(cells)
    }
}
