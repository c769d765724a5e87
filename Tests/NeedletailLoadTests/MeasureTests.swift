import NeedletailCore
import NeedletailSyntheticSets
import Testing

@testable import NeedletailLoad

/// Seconds with the latencies given, in milliseconds.
func segment(rate: Double? = 100, offset: Double = 0, _ seconds: [[Double]], failed: [Int: Int] = [:], recall: Double? = nil) -> SegmentResult {
    var segment = SegmentResult(rate: rate, seconds: Double(seconds.count), offset: offset)
    segment.slices = seconds.enumerated().map { second, latencies in
        var slice = Slice(second: second)
        var tally = Tally()
        tally.latency = LatencyHistogram(latencies.map { UInt64($0 * 1000) })
        tally.service = tally.latency
        (tally.answered, tally.completed, tally.ended) = (latencies.count, latencies.count, latencies.count + (failed[second] ?? 0))
        if let count = failed[second] {
            tally.failed["unavailable"] = count
            (tally.firstFailure, tally.lastFailure) = (Double(second) + 0.1, Double(second) + 0.6)
        }
        if let recall { (tally.right, tally.wanted) = (Int((recall * 10 * Double(latencies.count)).rounded()), 10 * latencies.count) }
        slice.tallies["search"] = tally
        return slice
    }
    return segment
}

func phase(_ name: String, _ segments: [SegmentResult], marks: [FaultMark] = []) -> PhaseResult {
    var phase = PhaseResult(name: name, phase: 0)
    (phase.segments, phase.marks) = (segments, marks)
    return phase
}

func result(_ phases: [PhaseResult]) throws -> LoadResult {
    let text = "name: Test of <reports>\ntarget: {local: {}}\nphases: [{name: one, rate: 100}]"
    var result = LoadResult(
        scenario: try Scenario(text: text, file: "a.yaml"), scenarioText: text, startedAt: "2026-01-01T00:00:00Z", machine: "a machine", version: "0",
        target: "a cluster", processes: 1)
    result.phases = phases
    return result
}

@Suite struct MeasureTests {
    private let calm = [Double](repeating: 2, count: 100)

    @Test func aFaultThatNobodyNoticesIsUnnoticed() {
        let impacts = FaultImpact.of(phase("p", [segment([calm, calm, calm, calm, calm, calm])], marks: [FaultMark(name: "kill", at: 3.2)]))
        #expect(impacts.count == 1 && impacts[0].failed == 0 && impacts[0].recovery == 0 && impacts[0].availability == 1 && impacts[0].p99Before == 2)
        #expect(impacts[0].ended == 300 && impacts[0].lastFailure == nil)
    }

    @Test func recoveryIsWhenAllIsWellForThreeSeconds() throws {
        let slow = [Double](repeating: 80, count: 100)
        let seconds = [calm, calm, calm, slow, calm, slow, calm, calm, calm, calm]
        let one = segment(offset: 100, seconds, failed: [3: 25])
        let impact = try #require(FaultImpact.of(phase("p", [one], marks: [FaultMark(name: "kill", at: 103.25)])).first)
        #expect(impact.failed == 25 && impact.ended == 725 && impact.p99Worst > 79 && impact.p99Before == 2)
        // Second 4 is well, but not for long.
        #expect(impact.recovery == 2.75)
        #expect(impact.lastFailure.map { abs($0 - 0.35) < 1e-9 } == true)
    }

    @Test func whatDoesNotRecoverSaysSo() throws {
        let one = segment([calm, calm, calm, calm, calm], failed: [2: 1, 3: 1, 4: 1])
        let impact = try #require(FaultImpact.of(phase("p", [one], marks: [FaultMark(name: "kill", at: 2)])).first)
        #expect(impact.recovery == nil)
    }

    @Test func eachFaultCountsUntilTheNext() {
        let one = segment([calm, calm, calm, calm, calm, calm], failed: [1: 3, 4: 7])
        let impacts = FaultImpact.of(phase("p", [one], marks: [FaultMark(name: "a", at: 1), FaultMark(name: "b", at: 4)]))
        #expect(impacts.map(\.failed) == [3, 7])
    }

    @Test func writesAreCountedApart() {
        var one = segment([calm, calm, calm, calm])
        for number in one.slices.indices {
            one.slices[number].tallies["upsert"] = one.slices[number].tallies["search"]
            one.slices[number].tallies["batch"] = segment([[500]]).slices[0].tallies["search"]
        }
        one.slices[2].tallies["upsert"]?.latency = LatencyHistogram([900_000])
        let impacts = FaultImpact.of(phase("p", [one], marks: [FaultMark(name: "a", at: 2)]))
        #expect(impacts.map(\.requests) == ["searches", "writes"])
        #expect(impacts[0].p99Worst < 3 && impacts[1].p99Worst > 899 && impacts[1].recovery == 1)
    }

    @Test func objectivesSayWhatMissed() throws {
        var find = Scenario.Find(
            percentile: 99, milliseconds: 20, recall: 0.9, failed: 0, from: 1, to: 2, precision: 0.1, tries: 1, step: 4, confirm: 0)
        // The first second does not count.
        #expect(Objective.miss(find, segment([[500], calm, calm], recall: 0.95).slices) == nil)
        #expect(Objective.miss(find, segment([calm, calm + [50, 50], calm], recall: 0.95).slices) == nil)
        #expect(Objective.miss(find, segment([calm, calm + [50, 50, 50, 50], calm], recall: 0.95).slices)?.contains("p99 was 50.0 ms") == true)
        #expect(Objective.miss(find, segment([calm, calm], failed: [1: 2], recall: 0.95).slices)?.contains("2 of 102") == true)
        #expect(Objective.miss(find, segment([calm, calm], recall: 0.85).slices)?.contains("recall was 0.85") == true)
        #expect(Objective.miss(find, segment([calm, calm]).slices)?.contains("judged") == true)
        #expect(Objective.miss(find, [])?.contains("nothing") == true)
        (find.failed, find.recall) = (0.05, 0)
        #expect(Objective.miss(find, segment([calm, calm], failed: [1: 2]).slices) == nil)
    }

    @Test func staleIsOlderThanWhatWasAcknowledged() {
        func coverage(_ sequences: [UInt32: UInt64], _ life: UInt64 = 7) -> Coverage {
            Coverage(shards: [], session: Session(incarnation: Incarnation(life), sequences: sequences))
        }
        let seen = Session(incarnation: Incarnation(7), sequences: [0: 10, 1: 20])
        #expect(!PreparedLoad.isStale(coverage([0: 10, 1: 25]), than: seen))
        #expect(PreparedLoad.isStale(coverage([0: 9, 1: 25]), than: seen))
        // A shard that did not answer is uncovered, not stale; another life of the collection's name is another collection.
        #expect(!PreparedLoad.isStale(coverage([0: 10]), than: seen) && !PreparedLoad.isStale(coverage([0: 1], 8), than: seen))
        #expect(!PreparedLoad.isStale(coverage([0: 1]), than: nil) && !PreparedLoad.isStale(Coverage(shards: []), than: seen))
    }

    /// What a recorder hands out in parts adds up to what it was told.
    @Test func recordersHandOutParts() {
        let recorder = SliceRecorder(kinds: ["search", "upsert"])
        var joined: [Slice] = []
        for number in 0..<1000 {
            let intended = Double(number) / 250
            var outcome = SliceRecorder.Outcome(kind: number % 2, intended: intended, sent: intended + 0.001, ended: intended + 0.0035)
            if number % 10 == 0 { (outcome.failure, outcome.message) = ("unavailable", "gone \(number)") }
            recorder.record(outcome)
            if number % 77 == 0 { Slice.join(&joined, recorder.take()) }
        }
        recorder.held(at: 3.2)
        Slice.join(&joined, recorder.take())
        #expect(recorder.take().isEmpty && joined.count == 4)
        let total = joined.total()
        #expect(total.ended == 1000 && total.answered == 900 && total.failed == ["unavailable": 100] && total.completed == 900)
        #expect(joined.total("search").failures == 100 && joined.total("upsert").failures == 0)
        #expect(joined[0].messages["unavailable"] == "gone 0" && joined[3].held == 1)
        #expect(total.firstFailure == 0 && total.lastFailure == 3.96)
        #expect((3490...3510).contains(total.latency.value(at: 50)) && (2490...2510).contains(total.service.value(at: 50)))
        #expect((990...1010).contains(joined[1].lag.value(at: 99)))
    }
}

@Suite struct ComparisonTests {
    private func drawn(_ seed: UInt64, scale: Double, seconds: Int = 40, failed: [Int: Int] = [:]) -> SegmentResult {
        var random = SeededGenerator(seed: seed)
        return segment((0..<seconds).map { _ in (0..<100).map { _ in scale * (1 + random.uniform()) } }, failed: failed, recall: 0.95)
    }

    private func row(_ comparison: Comparison, _ figure: String) throws -> Comparison.Row { try #require(comparison.rows.first { $0.figure == figure }) }

    /// Of the same system nothing is found different more often than a 95 % interval lets one expect.
    @Test func theSameIsTheSame() throws {
        var different = 0
        for seed in 0..<20 {
            let comparison = Comparison(
                try result([phase("one", [drawn(UInt64(seed) * 2 + 1, scale: 2)])]), try result([phase("one", [drawn(UInt64(seed) * 2 + 2, scale: 2)])]))
            different += try row(comparison, "p50").isDifferent ? 1 : 0
            #expect(try row(comparison, "recall").isDifferent == false)
        }
        #expect(different <= 5)
    }

    @Test func aTenthSlowerIsSeen() throws {
        let comparison = Comparison(try result([phase("one", [drawn(1, scale: 2)])]), try result([phase("one", [drawn(2, scale: 2.2)])]))
        for figure in ["p50", "p99"] {
            let row = try row(comparison, figure)
            let interval = try #require(row.interval)
            #expect(row.verdict == "worse" && abs(row.change - 1.1) < 0.03 && interval.contains(row.change) && interval.lowerBound > 1)
        }
        let back = Comparison(try result([phase("one", [drawn(2, scale: 2.2)])]), try result([phase("one", [drawn(1, scale: 2)])]))
        #expect(try row(back, "p50").verdict == "better")
        #expect(comparison.text.contains("worse") && comparison.text.contains("× 1.1"))
    }

    @Test func failuresAreDifferences() throws {
        let many = Dictionary(uniqueKeysWithValues: (0..<40).map { ($0, 5) })
        let comparison = Comparison(try result([phase("one", [drawn(1, scale: 2)])]), try result([phase("one", [drawn(1, scale: 2, failed: many)])]))
        let failed = try row(comparison, "failed, share")
        #expect(failed.verdict == "worse" && abs(failed.change - 5.0 / 105) < 1e-9)
    }

    @Test func shortOnesHaveNoIntervalAndOthersAreNamed() throws {
        let comparison = Comparison(
            try result([phase("one", [drawn(1, scale: 2, seconds: 4)]), phase("two", [])]), try result([phase("one", [drawn(2, scale: 2, seconds: 4)])]))
        #expect(try row(comparison, "p50").verdict == "too short to say" && comparison.unmatched == ["two"])
    }
}
