import NeedletailLoad
import Testing

@Suite struct RateSearchTests {
    /// Runs a search against a system that holds `capacity`; returns what was found and what was tried.
    private func run(
        _ search: RateSearch, _ holds: (RateSearch.Step) -> Bool
    ) -> (found: Double?, tried: [RateSearch.Step]) {
        var search = search
        var tried: [RateSearch.Step] = []
        while true {
            if case .done(let found) = search.step { return (found, tried) }
            tried.append(search.step)
            #expect(tried.count < 200)
            if tried.count >= 200 { return (nil, tried) }
            search.record(met: holds(search.step))
        }
    }

    private func rate(_ step: RateSearch.Step) -> Double {
        switch step {
        case .probe(let rate), .confirm(let rate): rate
        case .done(let rate): rate ?? 0
        }
    }

    @Test(arguments: [100.0, 101, 317, 5000, 9999]) func findsTheCapacity(capacity: Double) throws {
        let (found, tried) = run(RateSearch(from: 100, to: 10_000, precision: 0.05, confirms: true)) { rate($0) <= capacity }
        let best = try #require(found)
        #expect(best <= capacity && best * 1.05 >= capacity * 0.999)
        #expect(tried.last == .confirm(best) && tried.count < 20)
    }

    @Test func findsNothingWhenTheFirstRateMisses() {
        let (found, tried) = run(RateSearch(from: 100, to: 1000, precision: 0.1, confirms: true)) { _ in false }
        #expect(found == nil && tried == [.probe(100)])
    }

    @Test func stopsAtTheHighestRate() {
        let (found, tried) = run(RateSearch(from: 100, to: 500, precision: 0.1, confirms: false)) { _ in true }
        #expect(found == 500 && tried == [.probe(100), .probe(200), .probe(400), .probe(500)])
    }

    /// What was met for a moment does not hold: the search goes down to what does.
    @Test func aRateThatDoesNotHoldIsNotFound() throws {
        let (found, _) = run(RateSearch(from: 100, to: 100_000, precision: 0.05, confirms: true)) { step in
            if case .confirm(let rate) = step { return rate <= 600 }
            return rate(step) <= 1000
        }
        let best = try #require(found)
        #expect(best <= 600 && best >= 400)
    }

    @Test func oneMissOfTwoIsNone() throws {
        var odd = 0
        let (found, tried) = run(RateSearch(from: 100, to: 1000, precision: 0.05, confirms: true, tries: 2)) { step in
            odd += 1
            return rate(step) <= 500 && !odd.isMultiple(of: 3)
        }
        let best = try #require(found)
        #expect(best <= 500 && best * 1.05 >= 499 && tried.last == .confirm(best))
    }

    @Test func nothingThatHoldsIsNothingFound() {
        let (found, _) = run(RateSearch(from: 100, to: 1000, precision: 0.05, confirms: true)) { step in
            if case .confirm = step { return false }
            return rate(step) <= 500
        }
        #expect(found == nil)
    }
}
