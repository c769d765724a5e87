public import Logging
internal import NeedletailCore
internal import Synchronization

/// Logs searches that took long, each as one record, and no more of them than somebody could read.
public final class SlowQueryLog: Sendable {
    private struct State {
        var windowBegan: ContinuousClock.Instant?
        var logged = 0
        /// Since the last record.
        var suppressed = 0
    }

    /// Records within a second; of more only the number is told, in the next one.
    private static let perSecond = 10

    private let logger: Logger
    private let state = Mutex(State())

    public init(logger: Logger) { self.logger = logger }

    func note(_ metadata: @autoclosure () -> Logger.Metadata, at now: ContinuousClock.Instant = .now) {
        guard let suppressed = admit(now) else { return }
        var metadata = metadata()
        if suppressed > 0 { metadata["suppressed"] = .stringConvertible(suppressed) }
        logger.notice("slow query", metadata: metadata)
    }

    /// How many were left out since the last record; nil when this one is left out, too.
    func admit(_ now: ContinuousClock.Instant) -> Int? {
        state.withLock { state in
            if state.windowBegan.map({ $0.duration(to: now) >= .seconds(1) }) ?? true { (state.windowBegan, state.logged) = (now, 0) }
            guard state.logged < Self.perSecond else {
                state.suppressed += 1
                return nil
            }
            state.logged += 1
            defer { state.suppressed = 0 }
            return state.suppressed
        }
    }
}
