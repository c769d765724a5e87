import NeedletailCore
import NeedletailSyntheticSets
import Testing

@testable import NeedletailLoad

@Suite struct TruthTests {
    private func spec(metric: String, points: Int = 300, spare: Int = 0, dimensions: Int = 19) -> Scenario.DataSpec {
        Scenario.DataSpec(
            base: nil, query: nil, points: points, spare: spare, dimensions: dimensions, queries: 7, metric: metric, truth: true)
    }

    /// By the definition, in double precision.
    private func slowNearest(_ set: LoadSet, _ query: Int, _ rows: [Int]) -> [Int] {
        func distance(_ row: Int) -> Double {
            var sum = 0.0
            for index in 0..<set.dimensions {
                let (q, x) = (Double(set.queries[query * set.dimensions + index]), Double(set.rows[row * set.dimensions + index]))
                sum += set.metric == .l2 ? (q - x) * (q - x) : -q * x
            }
            return sum
        }
        return rows.map { ($0, distance($0)) }.sorted { $0.1 < $1.1 }.map(\.0)
    }

    @Test(arguments: ["l2", "cosine", "dot"], [1, 3]) func theNearestAreThoseByDefinition(metric: String, tenants: Int) async throws {
        let set = try LoadSet(spec(metric: metric), seed: 5)
        let truth = await ExactTruth(set, rows: 300, tenants: tenants, depth: 12)
        for query in 0..<set.queryCount {
            for tenant in 0..<tenants {
                let rows = (0..<300).filter { $0 % tenants == tenant }
                #expect(truth[query, tenant].rows.map(Int.init) == Array(slowNearest(set, query, rows).prefix(12)))
            }
        }
    }

    @Test func setsAreTheSameForEveryProcess() throws {
        let (one, other) = (try LoadSet(spec(metric: "l2"), seed: 5), try LoadSet(spec(metric: "l2"), seed: 5))
        #expect(one.rows == other.rows && one.queries == other.queries)
    }

    private func ids(_ rows: some Sequence<Int>) -> [PointID] { rows.map { .number(UInt64($0)) } }

    @Test func answersAreJudgedByDistance() async throws {
        let set = try LoadSet(spec(metric: "l2"), seed: 5)
        let truth = await ExactTruth(set, rows: 300, tenants: 1, depth: 10)
        let live = LiveRows(count: 300, points: 300, tenants: 1, process: 0, processes: 1, areMoving: false)
        let judge = Judge(set: set, truth: truth, live: live)
        let order = slowNearest(set, 0, Array(0..<300))
        #expect(judge.verdict(query: 0, tenant: 0, answer: ids(order.prefix(10)), limit: 10, sent: 0) == .init(right: 10, wanted: 10))
        #expect(judge.verdict(query: 0, tenant: 0, answer: ids(order.dropFirst(4).prefix(10)), limit: 10, sent: 0).right == 6)
        // The same point ten times is one point; ids that are no rows are wrong.
        #expect(judge.verdict(query: 0, tenant: 0, answer: ids(Array(repeating: order[0], count: 10)), limit: 10, sent: 0).right == 1)
        #expect(judge.verdict(query: 0, tenant: 0, answer: [.number(.max), .uuid(high: 1, low: 1)], limit: 10, sent: 0).right == 0)
        #expect(judge.verdict(query: 0, tenant: 0, answer: [], limit: 10, sent: 0) == .init(right: 0, wanted: 10))
    }

    /// Rows come and go: the exact answer is that of the moment.
    @Test func movingRowsAreJudgedByWhatWasThere() async throws {
        let set = try LoadSet(spec(metric: "l2", points: 200, spare: 100), seed: 5)
        let truth = await ExactTruth(set, rows: 300, tenants: 1, depth: 300)
        let live = LiveRows(count: 300, points: 200, tenants: 1, process: 0, processes: 1, areMoving: true)
        let judge = Judge(set: set, truth: truth, live: live)
        let order = slowNearest(set, 0, Array(0..<300))
        let there = order.filter { $0 < 200 }
        #expect(judge.verdict(query: 0, tenant: 0, answer: ids(there.prefix(10)), limit: 10, sent: 0) == .init(right: 10, wanted: 10))

        let deleted = live.takeDeletes(50, tenant: 0, now: 10)
        #expect(deleted == (0..<50).map { Int32($0) })
        // While they are under way, they may be in the answer or not; with many of them nothing is judged.
        let during = judge.verdict(query: 0, tenant: 0, answer: ids(there.prefix(10)), limit: 10, sent: 11)
        #expect(!during.deletedFound && (during.wanted == 0 || during.right == 10))
        live.settle(deleted, .gone, now: 12)
        let left = there.filter { $0 >= 50 }
        #expect(judge.verdict(query: 0, tenant: 0, answer: ids(left.prefix(10)), limit: 10, sent: 13) == .init(right: 10, wanted: 10))
        let old = judge.verdict(query: 0, tenant: 0, answer: ids([0] + left.prefix(9)), limit: 10, sent: 13)
        #expect(old.deletedFound)
        // Asked before the deletion was acknowledged, the same answer is no fault.
        #expect(!judge.verdict(query: 0, tenant: 0, answer: ids([0] + left.prefix(9)), limit: 10, sent: 11).deletedFound)
    }

    @Test func ringsTurnOverAndWrap() {
        let live = LiveRows(count: 30, points: 20, tenants: 1, process: 0, processes: 1, areMoving: true)
        for turn in 0..<12 {
            let deleted = live.takeDeletes(5, tenant: 0, now: 0)
            #expect(deleted == (0..<5).map { Int32((turn * 5 + $0) % 30) })
            live.settle(deleted, .gone, now: 0)
            let written = live.takeUpserts(5, tenant: 0, now: 0, place: 0)
            #expect(written == (0..<5).map { Int32((20 + turn * 5 + $0) % 30) })
            live.settle(written, .live, now: 0)
            #expect(live.states(of: 0..<30, since: 1).count { $0 == .live } == 20)
        }
    }

    @Test func withNothingHeldBackRowsAreWrittenAsTheyAre() {
        let live = LiveRows(count: 20, points: 20, tenants: 1, process: 0, processes: 1, areMoving: false)
        let written = live.takeUpserts(5, tenant: 0, now: 3, place: 0.5)
        #expect(written == [10, 11, 12, 13, 14])
        #expect(live.states(of: 0..<20, since: 0).allSatisfy { $0 == .live })
    }

    @Test func processesWriteDifferentRowsAndTenantsTheirOwn() {
        var seen: Set<Int32> = []
        for process in 0..<3 {
            let live = LiveRows(count: 60, points: 48, tenants: 2, process: process, processes: 3, areMoving: true)
            for tenant in 0..<2 {
                let rows = live.takeDeletes(4, tenant: tenant, now: 0) + live.takeUpserts(2, tenant: tenant, now: 0, place: 0)
                #expect(rows.allSatisfy { Int($0) % 2 == tenant && seen.insert($0).inserted })
            }
            #expect(live.states(of: 0..<60, since: 1).contains(.foreign))
        }
    }
}
