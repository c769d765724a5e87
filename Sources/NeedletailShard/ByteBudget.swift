internal import NeedletailCore
internal import Synchronization

/// Bounds the bytes of writes that are under way: a writer beyond the bound waits for earlier ones, first come first served.
final class ByteBudget: Sendable {
    private struct State {
        var available: Int
        var waiting: [(bytes: Int, ready: CheckedContinuation<Void, Never>)] = []
    }

    private let limit: Int
    private let state: Mutex<State>

    init(bytes: Int) {
        limit = bytes
        state = Mutex(State(available: bytes))
    }

    /// Takes `bytes` (never more than the whole budget, so that a single large write can pass) and returns what was taken.
    func acquire(_ bytes: Int) async -> Int {
        let wanted = min(bytes, limit)
        await withCheckedContinuation { continuation in
            let isReady = state.withLock { state in
                guard state.waiting.isEmpty, state.available >= wanted else {
                    state.waiting.append((wanted, continuation))
                    return false
                }
                state.available -= wanted
                return true
            }
            if isReady { continuation.resume() }
        }
        return wanted
    }

    func release(_ bytes: Int) {
        let ready: [CheckedContinuation<Void, Never>] = state.withLock { state in
            state.available += bytes
            var ready: [CheckedContinuation<Void, Never>] = []
            while let first = state.waiting.first, first.bytes <= state.available {
                state.available -= first.bytes
                ready.append(first.ready)
                state.waiting.removeFirst()
            }
            return ready
        }
        for continuation in ready { continuation.resume() }
    }
}
