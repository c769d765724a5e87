/// How many threads something kept busy lately, from what it is told to have worked: a sliding window of two halves that are moved on.
///
/// It does not matter who did which part of the work, so what is known of a shard outlasts the moves of its replicas.
public struct WorkRate: Sendable {
    let window: Duration
    private let began: ContinuousClock.Instant
    /// Where the window began that is being filled, and the work in it and in the one before.
    private var start: ContinuousClock.Instant
    private var current = Duration.zero
    private var previous = Duration.zero

    public init(window: Duration, now: ContinuousClock.Instant) {
        self.window = window
        (began, start) = (now, now)
    }

    public mutating func add(_ work: Duration, now: ContinuousClock.Instant) {
        roll(to: now)
        current += max(work, .zero)
    }

    private mutating func roll(to now: ContinuousClock.Instant) {
        let passed = Int64(start.duration(to: now) / window)
        guard passed > 0 else { return }
        previous = passed == 1 ? current : .zero
        current = .zero
        start += window * Int(clamping: passed)
    }

    /// Threads kept busy over the last window, or since it began if that is less long ago.
    public func threads(now: ContinuousClock.Instant) -> Double {
        var moved = self
        moved.roll(to: now)
        let share = moved.start.duration(to: now) / window
        if moved.start == began { return share > 0 ? moved.current / window / share : 0 }
        return moved.previous / window * (1 - share) + moved.current / window
    }

    /// Whether it has been watched for a whole window.
    public func isSettled(now: ContinuousClock.Instant) -> Bool { began.duration(to: now) >= window }
}
