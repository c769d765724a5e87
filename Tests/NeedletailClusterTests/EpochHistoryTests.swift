import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct EpochHistoryTests {
    private func history(_ epochs: [UInt64]) -> EpochHistory {
        var history = EpochHistory()
        for (index, epoch) in epochs.enumerated() { history.append(epoch: epoch, through: UInt64(index + 1)) }
        return history
    }

    /// Two logs of one shard: the same beginning, then epochs that only one of them has.
    private func logs(_ generator: inout SeededGenerator) -> ([UInt64], [UInt64], common: Int) {
        var epoch: UInt64 = 1
        func tail(_ own: UInt64, _ generator: inout SeededGenerator) -> [UInt64] {
            var next = epoch
            return (0..<Int.random(in: 0...8, using: &generator)).map { index in
                // Each of the two has epochs of its own kind after the common part.
                if index == 0 || Int.random(in: 0...3, using: &generator) == 0 { next += 1 + (next + own) % 2 }
                return next
            }
        }
        let common = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
            if Int.random(in: 0...3, using: &generator) == 0 { epoch += 1 }
            return epoch
        }
        return (common + tail(0, &generator), common + tail(1, &generator), common.count)
    }

    @Test func agreementIsWhereTheLogsPart() {
        var generator = SeededGenerator.fresh()
        for _ in 0..<5_000 {
            let (left, right, common) = logs(&generator)
            var (mine, theirs) = (history(left), history(right))
            #expect(mine.agreement(with: theirs) == UInt64(common))
            #expect(theirs.agreement(with: mine) == UInt64(common))
            // With beginnings dropped: the same point, or nobody can tell.
            mine.trim(through: UInt64.random(in: 0...mine.end, using: &generator))
            theirs.trim(through: UInt64.random(in: 0...theirs.end, using: &generator))
            let expected = max(mine.base, theirs.base) <= UInt64(common) ? UInt64(common) : nil
            #expect(mine.agreement(with: theirs) == expected)
        }
    }

    @Test func cutsAndRunsAreThoseOfTheRecords() throws {
        var generator = SeededGenerator.fresh()
        for _ in 0..<2_000 {
            let (epochs, _, _) = logs(&generator)
            let cut = Int.random(in: 0...epochs.count, using: &generator)
            var cutHistory = history(epochs)
            cutHistory.cut(after: UInt64(cut))
            #expect(cutHistory == history(Array(epochs.prefix(cut))))
            var trimmed = history(epochs)
            trimmed.trim(through: UInt64(cut))
            #expect(try EpochHistory(base: trimmed.base, runs: trimmed.runs, end: trimmed.end) == trimmed)
            for sequence in max(cut, 1)...max(cut, 1, epochs.count) where sequence <= epochs.count {
                #expect(trimmed.epoch(of: UInt64(sequence)) == epochs[sequence - 1])
            }
            let runs = trimmed.runs(after: UInt64(cut), through: UInt64(epochs.count))
            let told = (cut..<epochs.count).map { index in runs.last { $0.first <= UInt64(index + 1) }?.epoch }
            #expect(told == epochs[cut...].map { $0 })
        }
    }

    @Test func whatContradictsItselfIsRefused() {
        typealias Run = EpochHistory.Run
        let wrong: [(UInt64, [Run], UInt64)] = [
            (5, [], 3), (0, [], 3), (0, [Run(epoch: 1, first: 2)], 3), (0, [Run(epoch: 1, first: 1), Run(epoch: 1, first: 2)], 3),
            (0, [Run(epoch: 2, first: 1), Run(epoch: 1, first: 2)], 3), (0, [Run(epoch: 1, first: 1), Run(epoch: 2, first: 4)], 3),
            (2, [Run(epoch: 1, first: 1), Run(epoch: 2, first: 2)], 3), (0, [Run(epoch: 0, first: 1)], 3),
        ]
        for (base, runs, end) in wrong { #expect(throws: NeedletailError.self) { try EpochHistory(base: base, runs: runs, end: end) } }
    }
}
