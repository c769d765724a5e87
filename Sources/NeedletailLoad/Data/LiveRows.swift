import Synchronization

/// Which rows are points of the collections right now, as far as this load process knows, and which ones it writes and deletes next.
///
/// Each load process has the rows whose number leaves its own when divided by the number of processes, in rings, one a tenant: upserts bring
/// in rows at the end of what is there, deletions take them out at its beginning, so that in time the whole set is another.
final class LiveRows: Sendable {
    enum State: UInt8 {
        case gone, live
        /// Being written or deleted, or a write's outcome is not known.
        case unsettled
        /// Another process' affair.
        case foreign
    }

    private struct Ring {
        var rows: [Int32] = []
        /// Counted on, never wrapped: rows `rows[first % count]` ..< `rows[end % count]` are live.
        var first = 0
        var end = 0
    }

    private struct Rows {
        var states: [State]
        /// Seconds, by the clock of this process' requests, since when a state holds.
        var since: [Double]
        var rings: [Ring]
    }

    private let rows: Mutex<Rows>
    private let tenants: Int
    /// Whether rows come and go at all; otherwise nothing here ever changes.
    let areMoving: Bool

    init(count: Int, points: Int, tenants: Int, process: Int, processes: Int, areMoving: Bool) {
        self.tenants = tenants
        self.areMoving = areMoving
        var states = [State](repeating: .gone, count: count)
        var rings = [Ring](repeating: Ring(), count: tenants)
        for row in 0..<count {
            let isOwn = (row / tenants) % processes == process
            if row < points { states[row] = .live }
            if areMoving, !isOwn { states[row] = .foreign }
            guard isOwn else { continue }
            rings[row % tenants].rows.append(Int32(row))
            if row < points { rings[row % tenants].end += 1 }
        }
        rows = Mutex(Rows(states: states, since: [Double](repeating: -.infinity, count: count), rings: rings))
    }

    /// Rows to write: those that come next into the ring, or, when none is held back, some that are there.
    /// - Returns: empty when this process has no rows of that tenant.
    func takeUpserts(_ wanted: Int, tenant: Int, now: Double, place: Double) -> [Int32] {
        rows.withLock { all in
            let ring = all.rings[tenant]
            guard !ring.rows.isEmpty else { return [] }
            let free = ring.rows.count - (ring.end - ring.first)
            guard free >= wanted else {
                // Written again as they are, so that they are live all the time.
                let start = ring.first + Int(place * Double(max(1, ring.end - ring.first)))
                return (0..<min(wanted, ring.rows.count)).map { ring.rows[(start + $0) % ring.rows.count] }
            }
            let taken = (ring.end..<ring.end + wanted).map { ring.rows[$0 % ring.rows.count] }
            all.rings[tenant].end += wanted
            Self.mark(taken, .unsettled, now, &all)
            return taken
        }
    }

    /// Rows to delete: the oldest. When as many are not there, some that are gone already.
    func takeDeletes(_ wanted: Int, tenant: Int, now: Double) -> [Int32] {
        rows.withLock { all in
            let ring = all.rings[tenant]
            let live = ring.end - ring.first
            guard live > wanted else {
                return (0..<min(wanted, ring.rows.count - live)).map { ring.rows[(ring.end + $0) % ring.rows.count] }
            }
            let taken = (ring.first..<ring.first + wanted).map { ring.rows[$0 % ring.rows.count] }
            all.rings[tenant].first += wanted
            Self.mark(taken, .unsettled, now, &all)
            return taken
        }
    }

    /// A write has ended. One that failed may have been carried out: then nothing is known of its rows until they are written again.
    func settle(_ taken: [Int32], _ state: State, now: Double) { rows.withLock { Self.mark(taken, state, now, &$0) } }

    private static func mark(_ taken: [Int32], _ state: State, _ now: Double, _ all: inout Rows) {
        for row in taken {
            all.states[Int(row)] = state
            all.since[Int(row)] = now
        }
    }

    /// What each of these rows has been ever since `moment`; one that has changed since then is unsettled.
    func states(of numbers: some Sequence<Int>, since moment: Double) -> [State] {
        rows.withLock { all in
            numbers.map { row in
                guard all.states.indices.contains(row) else { return .gone }
                return all.since[row] <= moment ? all.states[row] : .unsettled
            }
        }
    }
}
