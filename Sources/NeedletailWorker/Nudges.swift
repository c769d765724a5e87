internal import Synchronization

/// Wakes loops before their time. A ticket taken before a round makes sure that no nudge during it is missed.
final class Nudges: Sendable {
    private struct State {
        var count: UInt64 = 0
        var waiters: [UInt64: AsyncStream<Void>.Continuation] = [:]
        var nextWaiter: UInt64 = 0
    }

    private let state = Mutex(State())

    var ticket: UInt64 { state.withLock { $0.count } }

    func nudge() {
        let waiters = state.withLock { state in
            state.count += 1
            defer { state.waiters = [:] }
            return state.waiters.values
        }
        for waiter in waiters { waiter.finish() }
    }

    /// Returns at the next nudge after the ticket, or after a while.
    func wait(after ticket: UInt64, atMost duration: Duration) async {
        // A stream whose reader was cancelled is over, so each wait has its own.
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self)
        let number = state.withLock { state in
            state.nextWaiter += 1
            if state.count == ticket { state.waiters[state.nextWaiter] = continuation } else { continuation.finish() }
            return state.nextWaiter
        }
        defer { state.withLock { _ = $0.waiters.removeValue(forKey: number) } }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in stream {} }
            group.addTask { try? await Task.sleep(for: duration) }
            await group.next()
            group.cancelAll()
        }
    }
}
