import NIOCore

/// A token bucket that bounds how many costly events a peer may cause.
struct FloodGuard {
    private let perSecond: Int
    private let burst: Int
    private var tokens: Int
    private var lastRefill: NIODeadline

    init(perSecond: Int, burst: Int, now: NIODeadline) {
        self.perSecond = perSecond
        self.burst = burst
        tokens = burst
        lastRefill = now
    }

    /// Takes `cost` tokens; false when the peer has none left. The clock is only read when the bucket looks empty.
    mutating func take(_ cost: Int, now: @autoclosure () -> NIODeadline) -> Bool {
        if tokens < cost { refill(now()) }
        guard tokens >= cost else { return false }
        tokens -= cost
        return true
    }

    /// Gives tokens back, up to a burst.
    mutating func give(_ count: Int) { tokens = min(burst, tokens + count) }

    private mutating func refill(_ now: NIODeadline) {
        let passed = (now - lastRefill).nanoseconds
        let earned = passed > 3_600_000_000_000 ? burst : Int(passed / 1000) * perSecond / 1_000_000
        guard earned > 0 else { return }
        tokens = min(burst, tokens + earned)
        lastRefill = now
    }
}
