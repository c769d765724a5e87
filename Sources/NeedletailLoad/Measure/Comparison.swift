import NeedletailSyntheticSets

/// Two results beside each other, phase by phase, with 95 % confidence intervals.
///
/// Seconds of one phase are like draws of what the system does, except that neighbours resemble each other. So the intervals come from a moving
/// block bootstrap (Künsch, "The jackknife and the bootstrap for general stationary observations", 1989): blocks of n^⅓ neighbouring seconds are drawn
/// with replacement until there are as many as were measured, their histograms are added, and the figure is taken anew; the middle 95 % of a thousand
/// such figures are the interval. The first second of a segment is cold and left out.
public struct Comparison: Sendable {
    public struct Row: Sendable, Equatable {
        public var phase: String
        public var kind: String
        public var figure: String
        public var first: Double
        public var second: Double
        /// Of ratios: second / first; of differences: second − first.
        public var isRatio: Bool
        public var change: Double
        /// nil when there are too few seconds.
        public var interval: ClosedRange<Double>?
        /// Whether more is better; nil: neither.
        public var isMoreBetter: Bool?

        /// Whether the interval excludes that nothing changed.
        public var isDifferent: Bool { interval.map { !$0.contains(isRatio ? 1 : 0) } ?? false }

        public var verdict: String {
            guard interval != nil else { return "too short to say" }
            guard isDifferent else { return "no difference shown" }
            let isMore = change > (isRatio ? 1 : 0)
            return isMoreBetter.map { $0 == isMore ? "better" : "worse" } ?? (isMore ? "more" : "less")
        }
    }

    public private(set) var rows: [Row] = []
    /// Phases that only one of the two has.
    public private(set) var unmatched: [String] = []

    private static let draws = 1000
    private static let leastSeconds = 6

    public init(_ first: LoadResult, _ second: LoadResult, seed: UInt64 = 1) {
        var random = SeededGenerator(seed: seed)
        for phase in first.phases {
            guard let other = second.phases.first(where: { $0.name == phase.name }) else {
                unmatched.append(phase.name)
                continue
            }
            compareFound(phase, other)
            guard let (a, b) = phase.representative.flatMap({ a in other.representative.map { (a, $0) } }) else { continue }
            for kind in a.slices.kinds where b.slices.kinds.contains(kind) {
                compare(phase.name, kind, Sample(a, kind), Sample(b, kind), &random)
            }
        }
        unmatched += second.phases.map(\.name).filter { name in !first.phases.contains { $0.name == name } }
    }

    private mutating func compareFound(_ first: PhaseResult, _ second: PhaseResult) {
        guard let a = first.found, let b = second.found else { return }
        rows.append(
            Row(phase: first.name, kind: "", figure: "highest rate", first: a, second: b, isRatio: true, change: b / a, interval: nil, isMoreBetter: true))
    }

    private mutating func compare(_ phase: String, _ kind: String, _ first: Sample, _ second: Sample, _ random: inout SeededGenerator) {
        guard first.canSpeak, second.canSpeak else { return }
        let isLong = min(first.seconds.count, second.seconds.count) >= Self.leastSeconds
        var draws: [(Figures, Figures)] = []
        if isLong { for _ in 0..<Self.draws { draws.append((first.figures(first.draw(&random)), second.figures(second.draw(&random)))) } }
        let (a, b) = (first.figures(Array(first.seconds.indices)), second.figures(Array(second.seconds.indices)))
        for number in Figures.latencies.indices where Figures.latencies[number].1 < 99.5 || min(first.requests, second.requests) >= 2000 {
            guard a.latencies[number] > 0, b.latencies[number] > 0 else { continue }
            let ratios = draws.compactMap { $0.latencies[number] > 0 ? $1.latencies[number] / $0.latencies[number] : nil }
            add(phase, kind, Figures.latencies[number].0, a.latencies[number], b.latencies[number], true, ratios, isMoreBetter: false)
        }
        if a.rate > 0 {
            let ratios = draws.compactMap { $0.rate > 0 ? $1.rate / $0.rate : nil }
            // An open loop's rate is what it was told to be.
            add(phase, kind, "answered a second", a.rate, b.rate, true, ratios, isMoreBetter: first.isOpen ? nil : true)
        }
        add(phase, kind, "failed, share", a.failed, b.failed, false, draws.map { $1.failed - $0.failed }, isMoreBetter: false)
        if let (x, y) = a.recall.flatMap({ x in b.recall.map { (x, $0) } }) {
            add(phase, kind, "recall", x, y, false, draws.compactMap { a, b in a.recall.flatMap { x in b.recall.map { $0 - x } } }, isMoreBetter: true)
        }
    }

    private mutating func add(
        _ phase: String, _ kind: String, _ figure: String, _ first: Double, _ second: Double, _ isRatio: Bool, _ draws: [Double], isMoreBetter: Bool?
    ) {
        rows.append(
            Row(
                phase: phase, kind: kind, figure: figure, first: first, second: second, isRatio: isRatio, change: isRatio ? second / first : second - first,
                interval: Self.interval(draws), isMoreBetter: isMoreBetter))
    }

    /// The middle 95 %.
    private static func interval(_ draws: [Double]) -> ClosedRange<Double>? {
        guard draws.count >= Self.draws / 2 else { return nil }
        let sorted = draws.sorted()
        return sorted[sorted.count * 25 / 1000]...sorted[sorted.count * 975 / 1000]
    }
}

/// What is compared of some seconds.
private struct Figures {
    static let latencies = [("p50", 50.0), ("p90", 90), ("p99", 99), ("p99.9", 99.9)]
    /// Milliseconds, one for each of those.
    var latencies: [Double] = []
    var rate = 0.0
    var failed = 0.0
    var recall: Double?
}

/// The seconds of one kind of request in one segment, ready to be added up in any selection.
private struct Sample {
    struct Second {
        var tally: Tally
        /// Of its histogram: places in `values`, and counts.
        var places: [Int]
        var counts: [UInt64]
    }

    private(set) var seconds: [Second] = []
    /// All latencies that occur, ascending, in microseconds.
    private let values: [UInt64]
    let requests: Int
    let isOpen: Bool

    init(_ segment: SegmentResult, _ kind: String) {
        isOpen = segment.rate != nil
        // Whole seconds only.
        let tallies = segment.slices.filter { $0.second >= 1 && Double($0.second) + 1 <= segment.seconds }.map { $0.tallies[kind] ?? Tally() }
        requests = tallies.reduce(0) { $0 + $1.ended }
        values = Set(tallies.flatMap(\.latency.values)).sorted()
        let place = Dictionary(uniqueKeysWithValues: values.enumerated().map { ($1, $0) })
        seconds = tallies.map { tally in Second(tally: tally, places: tally.latency.values.compactMap { place[$0] }, counts: tally.latency.counts) }
    }

    var canSpeak: Bool { requests > 0 }

    /// As many seconds as there are, in blocks.
    func draw(_ random: inout SeededGenerator) -> [Int] {
        let count = seconds.count
        var length = 1
        while (length + 1) * (length + 1) * (length + 1) <= count { length += 1 }
        var drawn: [Int] = []
        while drawn.count < count {
            let start = Int.random(in: 0...(count - length), using: &random)
            drawn += start..<start + length
        }
        return Array(drawn.prefix(count))
    }

    func figures(_ selection: [Int]) -> Figures {
        var counts = [UInt64](repeating: 0, count: values.count)
        var (ended, answered, failed, right, wanted) = (0, 0, 0, 0, 0)
        for number in selection {
            let second = seconds[number]
            for (place, count) in zip(second.places, second.counts) { counts[place] += count }
            ended += second.tally.ended
            answered += second.tally.answered
            failed += second.tally.failures
            right += second.tally.right
            wanted += second.tally.wanted
        }
        var figures = Figures()
        figures.latencies = percentiles(counts)
        figures.rate = Double(answered) / Double(max(1, selection.count))
        figures.failed = Double(failed) / Double(max(1, ended))
        figures.recall = wanted > 0 ? Double(right) / Double(wanted) : nil
        return figures
    }

    private func percentiles(_ counts: [UInt64]) -> [Double] {
        let total = Double(counts.reduce(0, +))
        var found: [Double] = []
        var seen = 0.0
        var place = 0
        for (_, percentile) in Figures.latencies {
            let wanted = max(1, (total * percentile / 100 - 1e-6).rounded(.up))
            while place < counts.count, seen + Double(counts[place]) < wanted {
                seen += Double(counts[place])
                place += 1
            }
            found.append(place < values.count ? Double(values[place]) / 1000 : 0)
        }
        return found
    }
}
