/// What clients noticed of a fault, from when it happened until the next one or the end of the segment.
public struct FaultImpact: Sendable, Equatable {
    public var mark: FaultMark
    public var phase: String
    /// "searches" or "writes", which faults hit differently.
    public var requests: String
    public var ended = 0
    public var failed = 0
    /// Seconds from the fault to the start of the last request that failed; nil when none did.
    public var lastFailure: Double?
    /// Milliseconds, of whole seconds before the first fault of the phase; nil when there were none.
    public var p99Before: Double?
    /// Milliseconds, in the worst second.
    public var p99Worst = 0.0
    /// Seconds from the fault until all was well for three seconds running (or until the end, when less is left); nil when it never was.
    /// Well: no request failed, and the second's p99 was no more than three times what it was before, or 5 ms above it.
    public var recovery: Double?

    public var availability: Double? { ended > 0 ? Double(ended - failed) / Double(ended) : nil }

    private static let runLength = 3

    /// All faults of a phase, for each of the two groups of requests that it has.
    public static func of(_ phase: PhaseResult) -> [FaultImpact] {
        phase.marks.enumerated().flatMap { number, mark -> [FaultImpact] in
            guard let segment = phase.segments.last(where: { $0.offset <= mark.at }) else { return [] }
            let first = phase.marks.filter { $0.at >= segment.offset }.map(\.at).min() ?? mark.at
            let next = phase.marks.dropFirst(number + 1).map(\.at).first { $0 > mark.at } ?? .infinity
            return groups(segment.slices.kinds).map { group, kinds in
                let seconds = segment.slices.map { slice in kinds.reduce(into: Tally()) { $0 += slice.tallies[$1] ?? Tally() } }
                return FaultImpact(mark, phase.name, group, seconds, offset: segment.offset, firstFault: first, until: next)
            }
        }
    }

    /// Single searches stand for all searches: a batch takes longer by nature.
    private static func groups(_ kinds: [String]) -> [(String, [String])] {
        func named(_ operations: [OperationKind]) -> [String] { kinds.filter { kind in operations.contains { kind.hasPrefix($0.rawValue) } } }
        let (searches, batches, writes) = (named([.search]), named([.batch]), named([.upsert, .delete, .load]))
        return [("searches", searches.isEmpty ? batches : searches), ("writes", writes)].filter { !$0.1.isEmpty }
    }

    init(_ mark: FaultMark, _ phase: String, _ requests: String, _ seconds: [Tally], offset: Double, firstFault: Double, until end: Double) {
        self.mark = mark
        self.phase = phase
        self.requests = requests
        let at = mark.at - offset
        let start = Int(at)
        // The second of the next fault is that one's.
        let window = start..<max(start, min(seconds.count, end.isFinite ? max(start + 1, Int(end - offset)) : seconds.count))
        for second in window {
            ended += seconds[second].ended
            failed += seconds[second].failures
            p99Worst = max(p99Worst, Self.p99(seconds[second]))
            if let last = seconds[second].lastFailure, last >= at { lastFailure = last - at }
        }
        // The first second is cold.
        let before = seconds.prefix(Int(firstFault - offset)).dropFirst().filter { $0.answered > 0 }.map(Self.p99).sorted()
        p99Before = before.isEmpty ? nil : before[before.count / 2]
        recovery = window.first { second in
            (second..<min(second + Self.runLength, window.upperBound)).allSatisfy { isWell(seconds[$0]) }
        }.map { max(0, Double($0) - at) }
    }

    private static func p99(_ tally: Tally) -> Double { Double(tally.latency.value(at: 99)) / 1000 }

    private func isWell(_ tally: Tally) -> Bool {
        guard tally.failures == 0 else { return false }
        guard let before = p99Before else { return true }
        return Self.p99(tally) <= max(3 * before, before + 5)
    }
}
