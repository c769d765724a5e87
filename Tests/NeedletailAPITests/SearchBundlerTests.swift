import NIOCore
import NeedletailAPI
import NeedletailCore
import NeedletailGRPC
import NeedletailHTTP2
import NeedletailTestSupport
import Synchronization
import Testing

/// What a worker sees of searches: how they came. A query is known by its limit, which its answer repeats.
private final class Searcher: Sendable {
    struct State {
        /// Whether those that came together wait for their answers.
        var isHeld = false
        /// Limits of the queries that came one by one, and of those that came together.
        var alone: [Int] = []
        var together: [[Int]] = []
        /// By limit, how much time those that came together had left; none: as much as they like.
        var remaining: [Int: Duration] = [:]
        /// Calls that were cancelled.
        var cancelled = 0
    }

    let state = Mutex(State())
    private let searched: Duration
    static let broken = 77

    /// - Parameter searched: what a search takes, it says.
    init(searched: Duration = .zero) { self.searched = searched }

    func register(in router: inout GRPCRouter, knowsBundles: Bool = true) {
        router.unary(InternalMethods.search) { message, _ in
            let request = try InternalMessages.search.decode(message)
            self.state.withLock { $0.alone.append(request.queries[0].limit) }
            return try InternalMessages.found.encode(self.answer(request))
        }
        router.unary(InternalMethods.searchEach) { message, _ in
            let requests = try InternalMessages.searchEach.decode(message)
            self.state.withLock { state in
                state.together.append(requests.map(\.queries[0].limit))
                for request in requests { state.remaining[request.queries[0].limit] = request.deadline?.remaining }
            }
            guard knowsBundles else { throw NeedletailError(.unimplemented, "there is no such method") }
            do { try await eventually { self.state.withLock { !$0.isHeld } } } catch {
                self.state.withLock { $0.cancelled += 1 }
                throw error
            }
            let outcomes: [Result<NodeSearchResponse, NeedletailError>] = requests.map { request in
                request.queries[0].limit == Self.broken ? .failure(NeedletailError(.dataLoss, "broken", retryAfter: .seconds(3))) : .success(self.answer(request))
            }
            return try InternalMessages.foundEach.encode(outcomes)
        }
    }

    private func answer(_ request: NodeSearchRequest) -> NodeSearchResponse {
        var report = ShardReport(shard: request.shards[0], outcome: .complete, appliedSequence: 1)
        report.searched = searched
        return NodeSearchResponse(results: [[]], reports: [report], work: SearchWork(distances: UInt64(request.queries[0].limit)))
    }
}

@Suite(.watchedForHangs) struct SearchBundlerTests {
    private static func request(_ limit: Int, within time: Duration? = nil) -> NodeSearchRequest {
        NodeSearchRequest(
            shards: [ShardID(incarnation: Incarnation(1), number: 0)], queries: [SearchQuery(field: 0, vector: DenseVector([1]), limit: limit)],
            deadline: time.map { .after($0) })
    }

    /// By which queries the answers are known.
    private static func limits(_ searches: [Task<NodeSearchResponse, any Error>]) async throws -> [Int] {
        var limits: [Int] = []
        for search in searches { limits.append(Int(try await search.value.work.distances)) }
        return limits
    }

    /// Begins searches in one turn of the client's event loop.
    private typealias InOneTurn = ([NodeSearchRequest]) async -> [Task<NodeSearchResponse, any Error>]

    /// A worker that was asked before, so that it is known how quick it is: with the limit 1.
    private func withWorker(_ searcher: Searcher, knowsBundles: Bool = true, _ body: (InOneTurn) async throws -> Void) async throws {
        try await withServer({ searcher.register(in: &$0, knowsBundles: knowsBundles) }) { client in
            let worker = RemoteShardWorker(client)
            _ = try await worker.search(Self.request(1))
            try await body { requests in
                await withCheckedContinuation { continuation in
                    client.eventLoop.execute {
                        let executor = LoopExecutor.on(client.eventLoop)
                        continuation.resume(
                            returning: requests.map { request in Task(executorPreference: executor) { try await worker.search(request) } })
                    }
                }
            }
        }
    }

    @Test func searchesTravelTogetherAndGetTheirOwnAnswers() async throws {
        let searcher = Searcher()
        try await withWorker(searcher) { inOneTurn in
            let limits = Array(10..<50)
            let found = try await Self.limits(inOneTurn(limits.map { Self.request($0) }))
            #expect(found == limits)
            #expect(searcher.state.withLock { $0.together.sorted { $0[0] < $1[0] } } == [Array(10..<42), Array(42..<50)])
            let single = try await Self.limits(inOneTurn([Self.request(5)]))
            #expect(single == [5])
            #expect(searcher.state.withLock(\.alone) == [1, 5])
        }
    }

    @Test func oneThatFailsFailsAlone() async throws {
        let searcher = Searcher()
        try await withWorker(searcher) { inOneTurn in
            let searches = await inOneTurn([60, Searcher.broken, 61].map { Self.request($0) })
            let error = await #expect(throws: NeedletailError.self) { try await searches[1].value }
            #expect(error?.code == .dataLoss && error?.message == "broken" && error?.retryAfter == .seconds(3))
            let others = try await Self.limits([searches[0], searches[2]])
            #expect(others == [60, 61])
        }
    }

    @Test func aWorkerOfBeforeGetsThemOneByOne() async throws {
        let searcher = Searcher()
        try await withWorker(searcher, knowsBundles: false) { inOneTurn in
            for limits in [Array(10..<50), Array(50..<60)] {
                let found = try await Self.limits(inOneTurn(limits.map { Self.request($0) }))
                #expect(found == limits)
            }
            #expect(searcher.state.withLock { $0.alone.sorted() } == [1] + Array(10..<60))
            // It was tried once.
            #expect(searcher.state.withLock { $0.together.joined().sorted() } == Array(10..<50))
        }
    }

    @Test func whoGivesUpNeedNotWaitForTheOthers() async throws {
        let searcher = Searcher()
        searcher.state.withLock { $0.isHeld = true }
        try await withWorker(searcher) { inOneTurn in
            let searches = await inOneTurn([20, 21].map { Self.request($0) })
            try await eventually { searcher.state.withLock { $0.together == [[20, 21]] } }
            searches[0].cancel()
            let error = await #expect(throws: NeedletailError.self) { try await searches[0].value }
            #expect(error?.code == .cancelled)
            searcher.state.withLock { $0.isHeld = false }
            let other = try await Self.limits([searches[1]])
            #expect(other == [21])
        }
    }

    @Test func aCallThatNobodyWaitsForEnds() async throws {
        let searcher = Searcher()
        searcher.state.withLock { $0.isHeld = true }
        try await withWorker(searcher) { inOneTurn in
            let searches = await inOneTurn([20, 21].map { Self.request($0) })
            try await eventually { searcher.state.withLock { $0.together == [[20, 21]] } }
            for search in searches { search.cancel() }
            try await eventually { searcher.state.withLock { $0.cancelled == 1 } }
        }
    }

    @Test func theDeadlineOfOneIsNotThatOfOthers() async throws {
        let searcher = Searcher()
        searcher.state.withLock { $0.isHeld = true }
        try await withWorker(searcher) { inOneTurn in
            defer { searcher.state.withLock { $0.isHeld = false } }
            // Between 2^31 and 2^32 ns, that is 2.1 and 4.3 s; and two with none.
            let searches = await inOneTurn([Self.request(30, within: .seconds(3)), Self.request(31, within: .milliseconds(4200)), Self.request(32), Self.request(33)])
            let error = await #expect(throws: NeedletailError.self) { try await searches[0].value }
            #expect(error?.code == .deadlineExceeded)
            // The call ended with the earlier deadline; the other travelled again.
            let other = try await Self.limits([searches[1]])
            #expect(other == [31])
            let (together, remaining) = searcher.state.withLock { ($0.together, $0.remaining) }
            #expect(together.sorted { $0[0] < $1[0] } == [[30, 31], [32, 33]])
            #expect(remaining.keys.sorted() == [30, 31])
            let (short, long) = (remaining[30] ?? .zero, remaining[31] ?? .zero)
            #expect(short > .zero && short <= .seconds(3) && long - short > .seconds(1))
            searcher.state.withLock { $0.isHeld = false }
            let patient = try await Self.limits(Array(searches[2...]))
            #expect(patient == [32, 33])
        }
    }

    @Test func whatMayTakeLongTravelsAlone() async throws {
        let searcher = Searcher()
        try await withWorker(searcher) { inOneTurn in
            func changed(_ change: (inout NodeSearchRequest) -> Void) -> NodeSearchRequest {
                var request = Self.request(10)
                change(&request)
                return request
            }
            let filter = try PayloadFilter([.init(key: "k", values: [.integer(1)])])
            let requests = [
                changed { $0.queries[0].exact = true }, changed { $0.queries[0].recallTarget = 0.9 }, changed { $0.queries[0].parts.payload = true },
                changed { $0.queries += $0.queries }, changed { $0.queries[0].limit = 1000 }, changed { $0.queries[0].ef = 200 }, changed { $0.filter = filter },
                changed { $0.conditions = [ReadCondition(isPrimary: true)] }, changed { $0.deadline = .after(.milliseconds(40)) },
                changed { $0.queries[0].vector = DenseVector([Float](repeating: 1, count: 10_000)) },
            ]
            // Two of a kind would travel together. Those with little time may be late: that is their own affair.
            for request in requests { for search in await inOneTurn([request, request]) { _ = await search.result } }
            #expect(searcher.state.withLock(\.together).isEmpty)
        }
        let slow = Searcher(searched: .milliseconds(1))
        try await withWorker(slow) { inOneTurn in
            for search in await inOneTurn((10..<20).map { Self.request($0) }) { _ = try await search.value }
            #expect(slow.state.withLock(\.together).isEmpty)
        }
    }
}
