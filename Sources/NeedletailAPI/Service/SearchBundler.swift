import NIOCore
import NeedletailCore
import NeedletailGRPC
import NeedletailHTTP2
import NeedletailTelemetry
import Synchronization

/// Sends a worker its searches: those that come in one turn of the event loop, and are short, together in a call.
///
/// A call to another process takes more processor time than a walk of 16 µs does: messages, tasks and wakes, on both sides. The more there is to do, the
/// more comes in one turn, and the less does each search cost; and nothing ever waits for company.
final class SearchBundler: Sendable {
    private struct State {
        /// Of this turn.
        var waiting: [Waiter] = []
        /// Moving average of what a search takes on the worker's threads, in nanoseconds; nil before the first.
        var averageTime: Double?
        /// The worker is of a version that takes searches one by one only; it may be another one then.
        var plainUntil: ContinuousClock.Instant?

        var mayBundle: Bool {
            guard let averageTime, averageTime < SearchBundler.shortTime else { return false }
            return plainUntil.map { $0 < .now } ?? true
        }

        mutating func answered(_ response: NodeSearchResponse) {
            let took = Double(response.reports.reduce(0) { $0 + $1.searched.nanoseconds })
            averageTime = averageTime.map { $0 + SearchBundler.timeWeight * (took - $0) } ?? took
        }
    }

    private let client: GRPCClient
    private let state = Mutex(State())

    init(_ client: GRPCClient) { self.client = client }

    /// Searches in a call.
    private static let most = 32
    /// A search for which a call is dear, in nanoseconds.
    private static let shortTime = 100_000.0
    /// Share of a new time in the average.
    private static let timeWeight = 0.05
    /// One that has less time left travels alone, so that its end is not that of others.
    private static let leastTime = Duration.milliseconds(50)
    private static let longestLimit = 100
    private static let longestVectorBytes = 32 << 10
    private static let plainTime = Duration.seconds(60)

    func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse {
        // Spans are of calls: what is recorded travels alone.
        if Self.isPlain(request), RequestScope.current?.span == nil, state.withLock(\.mayBundle), let response = try await together(request) { return response }
        let response = try await send(request)
        state.withLock { $0.answered(response) }
        return response
    }

    func searchEach(_ requests: [NodeSearchRequest]) async -> [Result<NodeSearchResponse, NeedletailError>] {
        do {
            return try await sendEach(requests)
        } catch {
            return requests.map { _ in .failure(error) }
        }
    }

    private static func isPlain(_ request: NodeSearchRequest) -> Bool {
        guard request.filter == nil, request.conditions.isEmpty, request.queries.count == 1, let query = request.queries.first else { return false }
        return !query.exact && query.recallTarget == nil && query.parts == PointParts() && query.limit <= longestLimit
            && query.vector.bytes.count <= longestVectorBytes && request.deadline.map { $0.remaining >= leastTime } ?? true
    }

    // MARK: Together

    /// The answer from a call with others; nil when it is to travel alone.
    private func together(_ request: NodeSearchRequest) async throws -> NodeSearchResponse? {
        let waiter = Waiter(request)
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                waiter.begin(continuation)
                let isFirst = state.withLock { state in
                    state.waiting.append(waiter)
                    return state.waiting.count == 1
                }
                // Runs when the loop has done what it is at: what else comes of that is there by then.
                if isFirst { client.eventLoop.execute { self.leave() } }
            }
        } onCancel: {
            waiter.end(.failure(NeedletailError(.cancelled, "the search was cancelled")))
        }
    }

    /// On the event loop, and in no request's context: they are of several.
    private func leave() {
        let all = state.withLock { state in
            defer { state.waiting.removeAll(keepingCapacity: true) }
            return state.waiting
        }
        for start in stride(from: 0, to: all.count, by: Self.most) {
            let some = all[start..<min(start + Self.most, all.count)]
            if some.count == 1 { some[start].end(.success(nil)) } else {
                Task(executorPreference: LoopExecutor.on(client.eventLoop)) { await self.carry(some) }
            }
        }
    }

    private func carry(_ waiters: ArraySlice<Waiter>) async {
        do throws(NeedletailError) {
            let outcomes = try await sendEach(waiters.map(\.request))
            state.withLock { state in for case .success(let response) in outcomes { state.answered(response) } }
            for (waiter, outcome) in zip(waiters, outcomes) { waiter.end(outcome.map(Optional.some)) }
        } catch {
            if error.code == .unimplemented { state.withLock { $0.plainUntil = .now + Self.plainTime } }
            for waiter in waiters {
                // The end of the call means nothing to those who have time left.
                let isEarly = error.code == .deadlineExceeded && waiter.request.deadline.map { $0.remaining >= Self.leastTime } ?? true
                waiter.end(error.code == .unimplemented || isEarly ? .success(nil) : .failure(error))
            }
        }
    }

    // MARK: Calls

    private func send(_ request: NodeSearchRequest) async throws -> NodeSearchResponse {
        try await client.call(InternalMethods.search, InternalMessages.search, request, InternalMessages.found, deadline: request.deadline)
    }

    /// Ends with the earliest deadline.
    private func sendEach(_ requests: [NodeSearchRequest]) async throws(NeedletailError) -> [Result<NodeSearchResponse, NeedletailError>] {
        do {
            let outcomes = try await client.call(
                InternalMethods.searchEach, InternalMessages.searchEach, requests, InternalMessages.foundEach, deadline: requests.compactMap(\.deadline).min())
            guard outcomes.count == requests.count else {
                throw NeedletailError(.internal, "a worker gave \(outcomes.count) answers to \(requests.count) searches")
            }
            return outcomes
        } catch {
            throw error as? NeedletailError ?? NeedletailError(.unknown, "\(error)", cause: error)
        }
    }
}

/// A search that waits for its call, or in one. It ends with an answer, an error, or with nothing: then it is to travel alone.
private final class Waiter: Sendable {
    typealias Outcome = Result<NodeSearchResponse?, NeedletailError>

    private enum State {
        case new
        case waiting(UnsafeContinuation<NodeSearchResponse?, any Error>)
        case ended(Outcome)
    }

    let request: NodeSearchRequest
    private let state = Mutex(State.new)

    init(_ request: NodeSearchRequest) { self.request = request }

    func begin(_ continuation: UnsafeContinuation<NodeSearchResponse?, any Error>) {
        let ended: Outcome? = state.withLock { state in
            if case .ended(let outcome) = state { return outcome }
            state = .waiting(continuation)
            return nil
        }
        if let ended { Self.resume(continuation, ended) }
    }

    /// Only the first time counts.
    func end(_ outcome: Outcome) {
        let continuation: UnsafeContinuation<NodeSearchResponse?, any Error>? = state.withLock { state in
            if case .ended = state { return nil }
            defer { state = .ended(outcome) }
            return if case .waiting(let continuation) = state { continuation } else { nil }
        }
        if let continuation { Self.resume(continuation, outcome) }
    }

    private static func resume(_ continuation: UnsafeContinuation<NodeSearchResponse?, any Error>, _ outcome: Outcome) {
        switch outcome {
        case .success(let response): continuation.resume(returning: response)
        case .failure(let error): continuation.resume(throwing: error)
        }
    }
}
