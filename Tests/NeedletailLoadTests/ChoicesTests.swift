import NeedletailSyntheticSets
import Testing

@testable import NeedletailLoad

@Suite struct ChoicesTests {
    @Test func thingsComeByTheirWeights() {
        let choice = WeightedChoice([1, 0, 3])
        var random = SeededGenerator(seed: 1)
        var counts = [0, 0, 0]
        for _ in 0..<10_000 { counts[choice.next(&random)] += 1 }
        #expect(counts[1] == 0 && abs(counts[0] - 2500) < 250)
    }

    @Test func zipfIsThat() {
        let choice = WeightedChoice.zipf(count: 4, exponent: 1)
        var random = SeededGenerator(seed: 2)
        var counts = [0.0, 0, 0, 0]
        for _ in 0..<50_000 { counts[choice.next(&random)] += 1 }
        for number in 1..<4 { #expect(abs(counts[0] / counts[number] - Double(number + 1)) < 0.3 * Double(number + 1)) }
    }
}
