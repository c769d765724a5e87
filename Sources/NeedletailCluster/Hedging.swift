internal import NeedletailCore

/// When a request that has no answer yet is sent to a second replica, and how often that may be (Dean and Barroso, "The Tail at Scale", 2013,
/// "hedged requests").
///
/// After the 95th percentile of recent times, so that one request in twenty is hedged while all is well; and never more than a twentieth
/// of all, so that hedging cannot add to an overload.
public struct Hedging: Sendable {
    /// Share of requests that may be sent twice.
    private static let share = 0.05
    /// Hedges that may follow each other when few were wanted before.
    private static let burst = 20.0
    /// Of how many of the last times the percentile is.
    private static let window = 256
    /// Times between two looks at them.
    private static let refresh = 32
    private static let percentile = 0.95
    /// Below this the second request would come after the first one's answer most of the time.
    private static let shortest = Duration.milliseconds(1)

    private var times: [Duration] = []
    private var next = 0
    private var sinceRefresh = 0
    private var tokens = Hedging.burst
    /// nil while too little is known.
    public private(set) var delay: Duration?

    public init() {}

    /// A request is sent for the first time.
    public mutating func begin() { tokens = min(Self.burst, tokens + Self.share) }

    /// Whether a request that took `delay` may be sent again.
    public mutating func allow() -> Bool {
        guard tokens >= 1 else { return false }
        tokens -= 1
        return true
    }

    /// A request was answered after this time, by whichever replica.
    public mutating func answered(after time: Duration) {
        if times.count < Self.window { times.append(time) } else { times[next] = time }
        next = (next + 1) % Self.window
        sinceRefresh += 1
        guard sinceRefresh >= Self.refresh || delay == nil, times.count >= Self.refresh else { return }
        sinceRefresh = 0
        let sorted = times.sorted()
        delay = max(Self.shortest, sorted[min(sorted.count - 1, Int(Double(sorted.count) * Self.percentile))])
    }
}
