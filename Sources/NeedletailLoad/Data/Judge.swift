import NeedletailCore

/// Compares answers with the exact ones.
struct Judge: Sendable {
    struct Verdict: Equatable {
        /// Points of the answer that are no farther than the farthest that should be in it.
        var right = 0
        /// How many there could be; 0 when that cannot be told.
        var wanted = 0
        var deletedFound = false
    }

    let set: LoadSet
    let truth: ExactTruth
    let live: LiveRows

    /// By distance and not by id, so that of equally near points each is as good as another.
    ///
    /// When rows come and go, the exact answer is that of the rows which were there from before the request was sent until now. Rows that
    /// changed meanwhile may be in the answer or not. A request is not judged when such rows are more than half as many as points are wanted,
    /// or when the list of nearest is too short to say.
    func verdict(query: Int, tenant: Int, answer: [PointID], limit: Int, sent: Double) -> Verdict {
        let nearest = truth[query, tenant]
        let rows = answer.compactMap { id -> Int? in
            if case .number(let row) = id, row < UInt64(set.count) { Int(row) } else { nil }
        }
        guard live.areMoving else {
            let wanted = min(limit, nearest.rows.count)
            guard wanted > 0 else { return Verdict() }
            return Verdict(right: right(rows, query, nearest.distances[wanted - 1], wanted), wanted: wanted)
        }
        var verdict = Verdict()
        verdict.deletedFound = live.states(of: rows, since: sent).contains(.gone)
        var (found, unclear) = (0, 0)
        for (place, state) in live.states(of: nearest.rows.lazy.map(Int.init), since: sent).enumerated() {
            if state == .live { found += 1 }
            if state == .unsettled || state == .foreign { unclear += 1 }
            guard found == limit else { continue }
            guard unclear <= limit / 2 else { return verdict }
            verdict.wanted = limit
            verdict.right = right(rows, query, nearest.distances[place], limit)
            return verdict
        }
        return verdict
    }

    private func right(_ rows: [Int], _ query: Int, _ farthest: Float, _ wanted: Int) -> Int {
        min(wanted, Set(rows).count { set.distance(query: query, row: $0) <= farthest })
    }
}
