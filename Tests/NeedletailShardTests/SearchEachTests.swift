import NeedletailCore
import NeedletailShard
import NeedletailTestSupport
import Testing

@Suite(.watchedForHangs) struct SearchEachTests {
    /// What can be told of an outcome.
    private struct Account: Equatable {
        var points: [[PointID]] = []
        var scores: [[Float]] = []
        var failures: [NeedletailError.Code?] = []
        var refusal: NeedletailError.Code?

        init(_ outcome: Result<NodeSearchResponse, NeedletailError>) {
            switch outcome {
            case .success(let response):
                points = response.results.map { $0.map(\.id) }
                scores = response.results.map { $0.map(\.score) }
                failures = response.reports.map { if case .failed(let error) = $0.outcome { error.code } else { nil } }
            case .failure(let error): refusal = error.code
            }
        }
    }

    @Test func eachIsAnsweredAsIfItWereAlone() async throws {
        var generator = SeededGenerator.fresh()
        let directory = TemporaryDirectory()
        let shard = try await TestShard.open(directory)
        try await shard.write(
            (0..<500).map { .upsert(Point(id: .number($0), vectors: [FieldVector(field: 0, vector: DenseVector(generator.gaussians(8)))], payload: [])) })
        func query(_ dimensions: Int = 8, isExact: Bool = false) -> SearchQuery {
            SearchQuery(field: 0, vector: DenseVector(generator.gaussians(dimensions)), limit: 10, exact: isExact)
        }
        let elsewhere = ShardID(incarnation: Incarnation(8), number: 0)
        var requests = (0..<21).map { NodeSearchRequest(shards: [TestShard.id], queries: [query(isExact: $0 % 3 == 0)]) }
        requests.append(NodeSearchRequest(shards: [elsewhere], queries: [query()]))
        requests.append(NodeSearchRequest(shards: [TestShard.id, elsewhere], queries: [query(), query()]))
        requests.append(NodeSearchRequest(shards: [TestShard.id], queries: [query(5)]))
        requests.append(
            NodeSearchRequest(
                shards: [TestShard.id], queries: [query()], conditions: [ReadCondition(sequence: 1_000_000)], deadline: .after(.milliseconds(20))))
        requests.shuffle(using: &generator)
        var alone: [Account] = []
        for request in requests {
            do { alone.append(Account(.success(try await shard.node.search(request)))) } catch let error as NeedletailError { alone.append(Account(.failure(error))) }
        }
        #expect(await shard.node.searchEach(requests).map(Account.init) == alone)
        #expect(alone.count { $0.refusal != nil } == 1)
        #expect(alone.count { $0.failures.contains { $0 != nil } } == 3)
        #expect(await shard.node.searchEach([]).isEmpty)
        shard.node.resources.close()
        for outcome in await shard.node.searchEach(requests.filter { $0.conditions.isEmpty && $0.shards == [TestShard.id] }) {
            #expect(Account(outcome).refusal == .unavailable)
        }
    }
}
