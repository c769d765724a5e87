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
        /// By collection, a moving average of what a search takes on the worker's threads, in nanoseconds.
        var averageTimes: [Incarnation: Double] = [:]
        /// The worker is of a version that takes searches one by one only; it may be another one then.
        var plainUntil: ContinuousClock.Instant?

        func mayBundle(_ request: NodeSearchRequest) -> Bool {
            guard let average = request.life.flatMap({ averageTimes[$0] }), average < SearchBundler.shortTime else { return false }
            return plainUntil.map { $0 < .now } ?? true
        }

        mutating func answered(_ request: NodeSearchRequest, _ response: NodeSearchResponse) {
            let times = response.reports.compactMap { report -> Int64? in if case .failed = report.outcome { nil } else { report.searched.nanoseconds } }
            guard let life = request.life, !times.isEmpty else { return }
            let took = Double(times.reduce(0, +))
            if averageTimes.count >= SearchBundler.mostCollections { averageTimes.removeAll() }
            averageTimes[life] = averageTimes[life].map { $0 + SearchBundler.timeWeight * (took - $0) } ?? took
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
    private static let mostCollections = 10_000
    /// One that has less time left travels alone.
    private static let leastTime = Duration.milliseconds(50)
    private static let greatestEf = 128
    private static let longestLimit = 100
    private static let longestVectorBytes = 32 << 10
    private static let plainTime = Duration.seconds(60)

    func search(_ request: NodeSearchRequest) async throws -> NodeSearchResponse {
        guard Self.isPlain(request) else { return try await send(request) }
        if state.withLock({ $0.mayBundle(request) }), let response = try await together(request) { return response }
        let response = try await send(request)
        state.withLock { $0.answered(request, response) }
        return response
    }

    private static func isPlain(_ request: NodeSearchRequest) -> Bool {
        guard request.filter == nil, request.conditions.isEmpty, request.queries.count == 1, let query = request.queries.first else { return false }
        return !query.exact && query.recallTarget == nil && query.parts == PointParts() && query.limit <= longestLimit && query.ef ?? 0 <= greatestEf
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
            waiter.cancel()
        }
    }

    /// On the event loop, and in no request's context: they are of several.
    private func leave() {
        let all = state.withLock { state in
            defer { state.waiting.removeAll(keepingCapacity: true) }
            return state.waiting
        }
        for like in Dictionary(grouping: all, by: \.timeClass).values {
            for start in stride(from: 0, to: like.count, by: Self.most) {
                let call = SharedCall()
                // Some may have gone.
                let waiters = like[start..<min(start + Self.most, like.count)].filter { $0.join(call) }
                if waiters.count < 2 { waiters.first?.end(.success(nil)) } else {
                    for waiter in waiters { waiter.depart(with: waiters.count, by: client) }
                    call.begin(waiters.count, Task(executorPreference: LoopExecutor.on(client.eventLoop)) { await self.carry(waiters) })
                }
            }
        }
    }

    private func carry(_ waiters: [Waiter]) async {
        do throws(NeedletailError) {
            let outcomes = try await sendEach(waiters.map(\.carried))
            state.withLock { state in
                for case (let waiter, .success(let response)) in zip(waiters, outcomes) { state.answered(waiter.request, response) }
            }
            for (waiter, outcome) in zip(waiters, outcomes) { waiter.end(outcome.map(Optional.some)) }
        } catch {
            if error.code == .unimplemented { state.withLock { $0.plainUntil = .now + Self.plainTime } }
            for waiter in waiters {
                // The end of the call means nothing to those who have time left.
                let isEarly = error.code == .deadlineExceeded && !(waiter.request.deadline?.isPast ?? false)
                waiter.end(error.code == .unimplemented || isEarly ? .success(nil) : .failure(error), callFailed: error)
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

extension NodeSearchRequest {
    /// Of the collection that it is about.
    fileprivate var life: Incarnation? { shards.first?.incarnation }
}

/// Several searches on their way in one call, which ends when nobody waits for it any more.
private final class SharedCall: Sendable {
    private struct State {
        var waiters = Int.max
        var gone = 0
        var task: Task<Void, Never>?
    }

    private let state = Mutex(State())

    func begin(_ waiters: Int, _ task: Task<Void, Never>) {
        let isDeserted = state.withLock { state in
            (state.waiters, state.task) = (waiters, task)
            return state.gone >= waiters
        }
        if isDeserted { task.cancel() }
    }

    /// One of those who wait has gone.
    func left() {
        let deserted = state.withLock { state in
            state.gone += 1
            return state.gone == state.waiters ? state.task : nil
        }
        deserted?.cancel()
    }
}

/// A search that waits for its call, or in one. It ends with an answer, an error, or with nothing: then it is to travel alone.
private final class Waiter: Sendable {
    typealias Outcome = Result<NodeSearchResponse?, NeedletailError>

    private struct State {
        var continuation: UnsafeContinuation<NodeSearchResponse?, any Error>?
        var outcome: Outcome?
        var call: SharedCall?
        /// Its part in the call, when it is traced.
        var span: Span?
    }

    let request: NodeSearchRequest
    /// Who has about as much time left, by a factor of two: a call ends with the earliest of its deadlines.
    let timeClass: Int
    /// nil when it is not traced.
    private let scope: RequestScope?
    private let state = Mutex(State())

    init(_ request: NodeSearchRequest) {
        scope = RequestScope.current.flatMap { $0.span == nil ? nil : $0 }
        self.request = request
        timeClass = request.deadline.map { Int64.bitWidth - max(1, $0.remaining.nanoseconds).leadingZeroBitCount } ?? .max
    }

    func begin(_ continuation: UnsafeContinuation<NodeSearchResponse?, any Error>) {
        let ended: Outcome? = state.withLock { state in
            if state.outcome == nil { state.continuation = continuation }
            return state.outcome
        }
        if let ended { Self.resume(continuation, ended) }
    }

    /// - Returns: false when it has ended, and is not to be carried.
    func join(_ call: SharedCall) -> Bool {
        state.withLock { state in
            guard state.outcome == nil else { return false }
            state.call = call
            return true
        }
    }

    /// Now it goes, with so many others.
    func depart(with count: Int, by client: GRPCClient) {
        let shared = SpanAttribute("needletail.searches", .count(count))
        guard let scope, let span = client.span(of: InternalMethods.searchEach, in: scope, [shared]) else { return }
        // Without a caller by now its span would not end.
        state.withLock { state in if state.outcome == nil { state.span = span } }
    }

    /// As it travels.
    var carried: NodeSearchRequest {
        guard scope != nil, let span = state.withLock(\.span) else { return request }
        var request = request
        request.trace = (span.context.traceparent, span.context.state)
        return request
    }

    /// Only the first time counts.
    func end(_ outcome: Outcome, callFailed failure: NeedletailError? = nil) {
        let (continuation, span): (UnsafeContinuation<NodeSearchResponse?, any Error>?, Span?) = state.withLock { state in
            guard state.outcome == nil else { return (nil, nil) }
            state.outcome = outcome
            defer { (state.continuation, state.span) = (nil, nil) }
            return (state.continuation, state.span)
        }
        span?.endCall(outcome.failure ?? failure, isServer: false)
        if let continuation { Self.resume(continuation, outcome) }
    }

    func cancel() {
        state.withLock(\.span)?.add([SpanAttribute("needletail.abandoned", true)])
        end(.failure(NeedletailError(.cancelled, "the search was cancelled")))
        state.withLock(\.call)?.left()
    }

    private static func resume(_ continuation: UnsafeContinuation<NodeSearchResponse?, any Error>, _ outcome: Outcome) {
        switch outcome {
        case .success(let response): continuation.resume(returning: response)
        case .failure(let error): continuation.resume(throwing: error)
        }
    }
}
