import NeedletailLoad
import Testing

@Suite struct ArrivalsTests {
    @Test func constantArrivalsAreAtEqualDistances() {
        #expect(Array(Arrivals(.constant, rate: 4, seed: 1).prefix(4)) == [0, 0.25, 0.5, 0.75])
    }

    @Test func processesTogetherHaveTheConstantArrivalsOfOne() {
        let whole = Array(Arrivals(.constant, rate: 30, seed: 1).prefix(300))
        let parts = (0..<3).flatMap { Array(Arrivals(.constant, rate: 30, process: $0, processes: 3, seed: 1).prefix(100)) }.sorted()
        #expect(zip(whole, parts).allSatisfy { abs($0 - $1) < 1e-9 })
    }

    @Test func constantArrivalsDoNotDrift() {
        let thousandth = Array(Arrivals(.constant, rate: 3, seed: 1).prefix(300_001)).last
        #expect(thousandth == 100_000)
    }

    /// Of a Poisson process the distances' mean and deviation are both 1 / rate, and the number in a second has a variance of `rate`.
    @Test(arguments: [1, 2, 5]) func poissonArrivalsAreThat(processes: Int) {
        let (rate, seconds) = (200.0, 100.0)
        let all = (0..<processes).flatMap { process in
            Array(Arrivals(.poisson, rate: rate, process: process, processes: processes, seed: 7).prefix { $0 < seconds })
        }.sorted()
        #expect(abs(Double(all.count) - rate * seconds) < 5 * (rate * seconds).squareRoot())
        var perSecond = [Double](repeating: 0, count: Int(seconds))
        for moment in all { perSecond[Int(moment)] += 1 }
        let mean = perSecond.reduce(0, +) / seconds
        let variance = perSecond.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / seconds
        #expect((0.5...1.7).contains(variance / mean))
        let distances = zip(all, all.dropFirst()).map { $1 - $0 }
        #expect(abs(Double(distances.count { $0 > 1 / rate }) / Double(distances.count) - 0.3679) < 0.02)
    }

    @Test func aSeedDrawsTheSameAgain() {
        let draw = { (seed: UInt64) in Array(Arrivals(.poisson, rate: 10, seed: seed).prefix(50)) }
        #expect(draw(3) == draw(3) && draw(3) != draw(4))
    }
}
