internal import CoreMetrics

/// What tasks wait for the event loops that serve connections.
public final class LoopMetrics: Sendable {
    private let delay: Recorder

    public init(_ registry: MetricsRegistry) { delay = registry.histogram(.loopDelay) }

    public func waited(_ time: Duration) { delay.record(time / .seconds(1)) }
}
