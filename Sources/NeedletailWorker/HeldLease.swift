internal import NeedletailCluster
internal import NeedletailCore
internal import Synchronization

/// The node's lease, for all threads, and the leader that it is from.
final class HeldLease: Sendable {
    private struct State {
        var lease = NodeLease(length: .seconds(2))
        var term: UInt64 = 0
    }

    private let state = Mutex(State())
    private let began = ContinuousClock.now

    private var now: Duration { began.duration(to: .now) }

    /// A heartbeat goes out now. Returns its number.
    func send() -> UInt64 { state.withLock { $0.lease.send(now: now) } }

    /// The leader answered the heartbeat. A lease of another length than before counts from the next heartbeat on.
    /// - Returns: false when a later leader has been heard of: then nothing that this one says counts.
    func take(_ leadership: HeartbeatAnswer.Leadership, of number: UInt64) -> Bool {
        state.withLock { state in
            guard leadership.term >= state.term else { return false }
            state.term = leadership.term
            if state.lease.length != leadership.lease { state.lease = NodeLease(length: leadership.lease) }
            state.lease.granted(number, epochs: leadership.epochs)
            return true
        }
    }

    func isHeld(_ shard: ShardID, epoch: UInt64) -> Bool { state.withLock { $0.lease.isHeld(shard, epoch: epoch, now: now) } }

    /// As it was granted last.
    var length: Duration { state.withLock { $0.lease.length } }
}
