internal import NeedletailCluster
internal import NeedletailCore
internal import Synchronization

/// Whether this worker may take itself for a living member of the cluster: the leader has answered a heartbeat that left not too long ago.
///
/// Counted from the moment the heartbeat left, and a tenth shorter than granted: it ends here before the coordinators, who count from the
/// moment they received it, can think so.
public final class NodeLease: Sendable {
    private struct State {
        var counted = CountedLease()
        var term: UInt64 = 0
    }

    private let state = Mutex(State())

    public init() {}

    public func isHeld(at now: ContinuousClock.Instant) -> Bool { state.withLock { $0.counted.isHeld(at: now) } }

    /// The greatest term of a leader that this worker has heard of; 0: none.
    public var term: UInt64 { state.withLock { $0.term } }

    /// Takes the leader's answer to a heartbeat.
    /// - Returns: false when a later leader has been heard of: then nothing that this one says counts.
    func extend(sent: ContinuousClock.Instant, term: UInt64, length: Duration) -> Bool {
        state.withLock { state in
            guard term >= state.term else { return false }
            state.term = term
            state.counted.extend(sent: sent, length: length)
            return true
        }
    }
}
