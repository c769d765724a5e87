import NIOCore
import NeedletailCore
import Synchronization

/// The open connections of a server: bounds their number, and knows when the last has gone.
final class ConnectionRegistry: Sendable {
    private struct State {
        var connections: [ObjectIdentifier: ServerConnection] = [:]
        var isClosing = false
        var waiters: [UnsafeContinuation<Void, Never>] = []
    }

    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    var count: Int { state.withLock { $0.connections.count } }

    /// False when there are too many, or the server is going down.
    func add(_ connection: ServerConnection) -> Bool {
        state.withLock {
            guard !$0.isClosing, $0.connections.count < limit else { return false }
            $0.connections[ObjectIdentifier(connection)] = connection
            return true
        }
    }

    func remove(_ connection: ServerConnection) {
        let waiters = state.withLock { state -> [UnsafeContinuation<Void, Never>] in
            state.connections[ObjectIdentifier(connection)] = nil
            guard state.connections.isEmpty else { return [] }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Admits no more, and returns those that are open.
    func close() -> [ServerConnection] {
        state.withLock {
            $0.isClosing = true
            return Array($0.connections.values)
        }
    }

    var open: [ServerConnection] { state.withLock { Array($0.connections.values) } }

    /// Returns when no connection is left, or after `limit`.
    func waitUntilEmpty(atMost limit: Duration, on eventLoop: any EventLoop) async {
        let timeout = eventLoop.scheduleTask(in: .nanoseconds(max(0, limit.nanoseconds))) { self.resumeWaiters() }
        await withUnsafeContinuation { continuation in
            let isEmpty = state.withLock { state in
                if state.connections.isEmpty { return true }
                state.waiters.append(continuation)
                return false
            }
            if isEmpty { continuation.resume() }
        }
        timeout.cancel()
    }

    private func resumeWaiters() {
        let waiters = state.withLock { state in
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }
}
