import Foundation
import NeedletailLoad
import NeedletailSyntheticSets
import Testing

@Suite struct HistogramTests {
    private func latencies(_ seed: UInt64, _ count: Int) -> [UInt64] {
        var random = SeededGenerator(seed: seed)
        return (0..<count).map { _ in UInt64(exp(random.gaussian() * 2 + 7)) }
    }

    @Test func percentilesAreThoseOfTheSortedValues() {
        let values = latencies(1, 5000).sorted()
        let histogram = LatencyHistogram(values)
        #expect(histogram.count == 5000)
        for percentile in [1.0, 25, 50, 90, 99, 99.9, 100] {
            let exact = values[max(0, Int((percentile * 50 - 1e-6).rounded(.up)) - 1)]
            // Three significant digits.
            #expect(abs(Double(histogram.value(at: percentile)) - Double(exact)) <= Double(exact) * 0.001 + 1)
        }
    }

    /// Two load processes joined are one with all the latencies, exactly.
    @Test func joiningIsAdding() {
        let (left, right) = (latencies(2, 700), latencies(3, 1300))
        var joined = LatencyHistogram(left)
        joined += LatencyHistogram(right)
        #expect(joined == LatencyHistogram(left + right))
        joined += LatencyHistogram()
        #expect(joined == LatencyHistogram(right + left))
    }

    @Test func anEmptyOneSaysNothing() {
        let empty = LatencyHistogram()
        #expect(empty.isEmpty && empty.count == 0 && empty.value(at: 99) == 0 && empty.max == 0 && empty.mean == 0 && empty.share(above: 1) == 0)
    }

    @Test func sharesCountWhatIsAbove() {
        let histogram = LatencyHistogram([10, 20, 30, 40])
        #expect(histogram.share(above: 20) == 0.5 && histogram.share(above: 40) == 0 && histogram.share(above: 0) == 1)
    }

    @Test func jsonGivesTheSameBack() throws {
        let histogram = LatencyHistogram(latencies(4, 2000))
        let data = try JSONEncoder().encode(histogram)
        #expect(try JSONDecoder().decode(LatencyHistogram.self, from: data) == histogram)
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(LatencyHistogram.self, from: Data("[1,2,3]".utf8)) }
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(LatencyHistogram.self, from: Data("[1,2,0,3]".utf8)) }
        #expect(throws: DecodingError.self) { try JSONDecoder().decode(LatencyHistogram.self, from: Data("[1,2,18446744073709551615,3]".utf8)) }
    }

    @Test func slicesJoinBySecondAndKind() {
        func slice(_ second: Int, _ kind: String, _ latency: UInt64, failed: Int = 0, at failure: Double? = nil) -> Slice {
            var slice = Slice(second: second)
            var tally = Tally()
            (tally.ended, tally.answered, tally.latency) = (1 + failed, 1, LatencyHistogram([latency]))
            if failed > 0 { (tally.failed["unavailable"], tally.firstFailure, tally.lastFailure) = (failed, failure, failure) }
            slice.tallies[kind] = tally
            return slice
        }
        var joined: [Slice] = []
        Slice.join(&joined, [slice(2, "search", 10, failed: 1, at: 2.5)])
        Slice.join(&joined, [slice(0, "search", 20), slice(2, "search", 30, failed: 2, at: 2.1), slice(2, "upsert", 40)])
        #expect(joined.map(\.second) == [0, 1, 2])
        #expect(joined.kinds == ["search", "upsert"])
        #expect(joined[2].tallies["search"]?.answered == 2 && joined[2].all.answered == 3)
        let total = joined.total("search")
        #expect(total.failures == 3 && total.firstFailure == 2.1 && total.lastFailure == 2.5 && total.ended == 6)
        #expect(total.latency == LatencyHistogram([10, 20, 30]))
    }
}
