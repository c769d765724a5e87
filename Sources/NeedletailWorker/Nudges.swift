internal import Synchronization

/// Wakes loops before their time.
final class Nudges: Sendable {
    private let subscribers = Mutex<[AsyncStream<Void>.Continuation]>([])

    /// For one loop, as long as it lives.
    func subscribe() -> AsyncStream<Void> {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        subscribers.withLock { $0.append(continuation) }
        return stream
    }

    func nudge() {
        subscribers.withLock { subscribers in
            subscribers.removeAll { if case .terminated = $0.yield() { true } else { false } }
        }
    }

    /// Returns at the next nudge, or after a while.
    static func wait(_ nudged: AsyncStream<Void>, atMost duration: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for await _ in nudged { return } }
            group.addTask { try? await Task.sleep(for: duration) }
            await group.next()
            group.cancelAll()
        }
    }
}
