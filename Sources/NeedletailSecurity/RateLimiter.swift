internal import Synchronization
internal import NeedletailCore

/// How often each caller may ask: a bucket that fills by `rate` tokens a second and holds a second's worth, but one at least. A request takes one.
struct TokenBucket {
    private var tokens: Double
    private(set) var at: ContinuousClock.Instant

    init(rate: Double, at: ContinuousClock.Instant) {
        tokens = max(1, rate)
        self.at = at
    }

    /// - Returns: nil when there was a token; otherwise after how long there will be one.
    mutating func take(rate: Double, now: ContinuousClock.Instant) -> Duration? {
        let elapsed = at.duration(to: now)
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) * 1e-18
        if seconds > 0 { (tokens, at) = (min(max(1, rate), tokens + seconds * rate), now) }
        if tokens >= 1 {
            tokens -= 1
            return nil
        }
        return .milliseconds(max(1, Int64(min(1e9, ((1 - tokens) / rate * 1e3).rounded(.up)))))
    }
}

final class RateLimiter: Sendable {
    private static let most = 65_536
    /// After so long a bucket of any rate above one in ten minutes is full, and the same as a new one.
    private static let idle = Duration.seconds(600)

    private let buckets = Mutex<[String: TokenBucket]>([:])

    func take(_ account: String, rate: Double, now: ContinuousClock.Instant) -> Duration? {
        buckets.withLock { buckets in
            if buckets[account] == nil, buckets.count >= Self.most {
                buckets = buckets.filter { $0.value.at.duration(to: now) < Self.idle }
                // More callers within ten minutes than there is room for: all begin anew.
                if buckets.count >= Self.most { buckets.removeAll() }
            }
            return buckets[account, default: TokenBucket(rate: rate, at: now)].take(rate: rate, now: now)
        }
    }
}
