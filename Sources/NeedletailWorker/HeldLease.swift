internal import Synchronization

/// This node's lease, by its own clock.
///
/// It counts from the moment the heartbeat was *sent* that the leader answered, while the leader counts from when it *received* it, so
/// that the worker's ends first; a tenth is taken off for clocks that run at different rates (Gray and Cheriton, "Leases", 1989, section 5).
final class HeldLease: Sendable {
    private let state = Mutex<(end: ContinuousClock.Instant, length: Duration)?>(nil)

    func grant(_ length: Duration, since sent: ContinuousClock.Instant) {
        state.withLock { state in
            let end = sent + length * 9 / 10
            state = (max(end, state?.end ?? end), length)
        }
    }

    func isHeld(at now: ContinuousClock.Instant = .now) -> Bool { state.withLock { $0.map { now < $0.end } ?? false } }

    /// As it was granted last.
    var length: Duration? { state.withLock { $0?.length } }
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
