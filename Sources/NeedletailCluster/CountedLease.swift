/// A lease as its holder counts it, by its own monotonic clock: from the moment the granted request left, so that it ends here before it
/// does where it was granted, and a tenth shorter, for the difference of two clocks' rates. Pure: time comes in as a parameter.
public struct CountedLease: Sendable, Equatable {
    public private(set) var end: ContinuousClock.Instant?

    /// Held never.
    public init() {}

    public init(sent: ContinuousClock.Instant, length: Duration) { extend(sent: sent, length: length) }

    /// Answers may come in another order than their requests left; a lease is never made shorter.
    public mutating func extend(sent: ContinuousClock.Instant, length: Duration) {
        let counted = sent + length * 9 / 10
        end = end.map { max($0, counted) } ?? counted
    }

    public func isHeld(at now: ContinuousClock.Instant) -> Bool { end.map { now < $0 } ?? false }
}
