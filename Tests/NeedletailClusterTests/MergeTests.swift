import NeedletailCluster
import NeedletailCore
import NeedletailQuery
import NeedletailTestSupport
import Testing

@Suite struct MergeTests {
    /// However points are spread over lists, the merge is the sorted whole, cut to the limit.
    @Test func mergingDoesNotDependOnTheSpread() {
        var generator = SeededGenerator.fresh()
        for _ in 0..<200 {
            let points = (0..<60).map { ScoredPoint(id: .number($0), score: Float(Int.random(in: 0..<12, using: &generator))) }
            let limit = Int.random(in: 1...70, using: &generator)
            let expected = Array(points.sorted(by: ScoredPoint.isBetter).prefix(limit))
            for parts in [1, 2, 4, 8] {
                var lists = Array(repeating: [ScoredPoint](), count: parts)
                for point in points { lists[Int.random(in: 0..<parts, using: &generator)].append(point) }
                let sorted = lists.map { $0.sorted(by: ScoredPoint.isBetter) }
                #expect(TopMerge.merge(sorted, limit: limit) == expected)
            }
        }
    }

    /// Points that stand in several lists, few enough to be looked through and so many that they are hashed.
    @Test(arguments: [3, 40]) func eachPointIsInTheAnswerOnce(perList: Int) {
        var generator = SeededGenerator.fresh()
        for _ in 0..<200 {
            let limit = Int.random(in: 1...2 * perList, using: &generator)
            let lists = (0..<Int.random(in: 2...5, using: &generator)).map { list in
                Set((0..<perList).map { _ in UInt64.random(in: 0..<UInt64(3 * perList), using: &generator) }).map {
                    ScoredPoint(id: .number($0), score: Float(Int.random(in: 0..<20, using: &generator)), sequence: UInt64(list))
                }.sorted(by: ScoredPoint.isBetter)
            }
            // The ids that are best by any of their versions, each with its newest one.
            let all = lists.flatMap { $0.prefix(limit) }.sorted(by: ScoredPoint.isBetter)
            var chosen: [PointID] = []
            for point in all where !chosen.contains(point.id) { chosen.append(point.id) }
            let expected = chosen.prefix(limit).compactMap { id in all.filter { $0.id == id }.max { $0.sequence < $1.sequence } }
            #expect(TopMerge.merge(lists, limit: limit) == expected.sorted(by: ScoredPoint.isBetter))
            #expect(TopMerge.best(of: all.shuffled(using: &generator), limit: limit) == expected.sorted(by: ScoredPoint.isBetter))
        }
    }

    @Test func ofTwoVersionsTheNewerCounts() {
        let old = ScoredPoint(id: .number(1), score: 9, sequence: 1)
        let new = ScoredPoint(id: .number(1), score: 2, sequence: 2)
        let other = ScoredPoint(id: .number(2), score: 5, sequence: 1)
        #expect(TopMerge.merge([[old, other], [new]], limit: 10) == [other, new])
    }

    @Test func whatIsMissingIsSaidUnlessAllowed() throws {
        let shard = ShardID(incarnation: Incarnation(1), number: 0)
        let complete = ShardReport(shard: shard, outcome: .complete, appliedSequence: 1)
        let truncated = ShardReport(shard: shard, outcome: .truncated, appliedSequence: 1)
        let failed = ShardReport(shard: shard, outcome: .failed(NeedletailError(.unavailable, "gone")), appliedSequence: 0)
        try CoverageVerdict.check([complete, complete], allowPartial: false)
        try CoverageVerdict.check([complete, truncated, failed], allowPartial: true)
        for (reports, code, isAllowed) in [
            ([complete, failed], NeedletailError.Code.unavailable, false), ([complete, truncated], .deadlineExceeded, false),
            ([failed, failed], .unavailable, true),
        ] {
            let error = #expect(throws: NeedletailError.self) { try CoverageVerdict.check(reports, allowPartial: isAllowed) }
            #expect(error?.code == code)
        }
    }
}
