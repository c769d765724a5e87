internal import NeedletailCluster
internal import NeedletailCore
internal import Synchronization

/// The node's lease, for all threads.
final class HeldLease: Sendable {
    private struct State {
        var lease: NodeLease
        var isGranted = false
    }

    private let state = Mutex(State(lease: NodeLease(length: .seconds(2))))
    private let began = ContinuousClock.now

    private var now: Duration { began.duration(to: .now) }

    /// A heartbeat goes out now. Returns its number.
    func send() -> UInt64 { state.withLock { $0.lease.send(now: now) } }

    /// The leader answered the heartbeat.
    /// - Parameter length: as the leader counts the lease; another one than before counts from the next heartbeat on.
    func granted(_ number: UInt64, length: Duration, epochs: [ShardID: UInt64]) {
        state.withLock { state in
            if state.lease.length != length { state.lease = NodeLease(length: length) }
            state.lease.granted(number, epochs: epochs)
            state.isGranted = true
        }
    }

    func isHeld(_ shard: ShardID, epoch: UInt64) -> Bool { state.withLock { $0.lease.isHeld(shard, epoch: epoch, now: now) } }

    /// As it was granted last; nil before that.
    var length: Duration? { state.withLock { $0.isGranted ? $0.lease.length : nil } }
}

/// Wakes a loop before its time.
final class Nudges: Sendable {
    private let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))

    func nudge() { continuation.yield() }

    /// Returns at the next nudge, or after a while.
    func wait(atMost duration: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { [stream] in for await _ in stream { return } }
            group.addTask { try? await Task.sleep(for: duration) }
            await group.next()
            group.cancelAll()
        }
    }
}
