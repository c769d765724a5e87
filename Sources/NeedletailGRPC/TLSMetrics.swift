import CoreMetrics
public import Logging
public import NeedletailCore
public import NeedletailTelemetry
import Synchronization

/// What a server tells of connections that TLS refused.
public final class TLSMetrics: Sendable {
    private struct Told {
        var since = ContinuousClock.now
        var lines = 0
        var unsaid = 0
    }

    /// Lines in a stretch of time: who scans ports must not fill the log.
    private static let (lines, stretch) = (100, Duration.seconds(10))

    private let failures: Counter
    private let told = Mutex(Told())

    public init(_ registry: MetricsRegistry) { failures = registry.counter(.tlsFailures) }

    /// Counts it, and says it in the log unless too much was said.
    public func failed(_ reason: NeedletailError, _ logger: Logger?) {
        failures.increment()
        let unsaid = told.withLock { told -> Int? in
            let unsaid = told.unsaid
            if told.since.duration(to: .now) > Self.stretch { told = Told(unsaid: unsaid) }
            guard told.lines < Self.lines else {
                told.unsaid += 1
                return nil
            }
            told.lines += 1
            told.unsaid = 0
            return unsaid
        }
        guard let unsaid else { return }
        var metadata: Logger.Metadata = ["peer": "\(reason.location ?? "unknown")"]
        if unsaid > 0 { metadata["others_since"] = "\(unsaid)" }
        logger?.warning("connection refused: \(reason.message)", metadata: metadata)
    }
}
