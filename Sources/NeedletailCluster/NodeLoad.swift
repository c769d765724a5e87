internal import NeedletailCore

/// How busy a node is, as the one that asks it sees it: requests under way, and how long the last ones took.
///
/// The estimate of what a further request will take is that of C3 in its simplest form (Suresh et al., "C3: Cutting Tail Latency in
/// Cloud Data Stores via Adaptive Replica Selection", 2015): a moving average of times, multiplied by what stands in line.
public struct NodeLoad: Sendable {
    public private(set) var underWay = 0
    /// Moving average, in seconds.
    private var average = 0.0
    private var updated: ContinuousClock.Instant?

    /// Share of a new time in the average.
    private static let weight = 0.1
    /// An average that was not renewed loses half its worth in so long: a node that was slow is tried again.
    private static let halfLife = 2.0

    public init() {}

    public mutating func begin() { underWay += 1 }

    public mutating func end(after time: Duration, now: ContinuousClock.Instant) {
        underWay = max(0, underWay - 1)
        let seconds = Double(time.nanoseconds) / 1e9
        average = updated == nil ? seconds : average + Self.weight * (seconds - average)
        updated = now
    }

    /// A request that said nothing about the node's speed has ended.
    public mutating func end() { underWay = max(0, underWay - 1) }

    /// What a further request will take, in seconds, compared with other nodes.
    public func estimate(now: ContinuousClock.Instant) -> Double {
        guard let updated else { return 0 }
        let age = Double(updated.duration(to: now).nanoseconds) / 1e9
        return average * exp2Approximately(-age / Self.halfLife) * Double(underWay + 1)
    }

    /// 2^x for x ≤ 0, by halving; the rest of the exponent is taken linearly.
    private func exp2Approximately(_ exponent: Double) -> Double {
        guard exponent > -60 else { return 0 }
        let whole = exponent.rounded(.up)
        return Double(sign: .plus, exponent: Int(whole), significand: 1 + (exponent - whole) / 2)
    }
}
