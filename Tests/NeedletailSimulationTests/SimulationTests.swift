import Foundation
import Testing

/// One test at a time, and a pause after every seed: the threads are those of all tests in the process.
@Suite(.serialized) struct SimulationTests {
    private static let environment = ProcessInfo.processInfo.environment

    private static func number(_ name: String) -> UInt64? { environment[name].flatMap { UInt64($0) } }

    /// Runs one seed; a failure is run again with a trace.
    private static func run(_ seed: UInt64, bug: Bug? = nil, resharding: Simulation.Resharding = .none) -> (failure: String?, counts: EventCounts) {
        let simulation = Simulation(seed: seed, bug: bug, resharding: resharding)
        return (simulation.run(), simulation.counts)
    }

    private static func report(_ seed: UInt64, _ failure: String, resharding: Simulation.Resharding) -> String {
        let again = Simulation(seed: seed, resharding: resharding, isTracing: true)
        let same = again.run()
        return "NEEDLETAIL_SIMULATION_SEED=\(seed): \(failure)\(same == failure ? "" : " (the second run said \(same ?? "nothing"))")\n\(again.story)"
    }

    /// Runs many seeds on two threads.
    private static func run(_ seeds: Range<UInt64>, resharding: Simulation.Resharding) async -> (failures: [(UInt64, String)], counts: EventCounts) {
        let lanes: UInt64 = 2
        return await withTaskGroup(of: ([(UInt64, String)], EventCounts).self) { group in
            for lane in 0..<lanes {
                group.addTask {
                    var (failures, counts): ([(UInt64, String)], EventCounts) = ([], EventCounts())
                    for seed in seeds where seed % lanes == lane {
                        let result = run(seed, resharding: resharding)
                        await Task.yield()
                        counts.add(result.counts)
                        if let failure = result.failure { failures.append((seed, failure)) }
                    }
                    return (failures, counts)
                }
            }
            var (failures, counts): ([(UInt64, String)], EventCounts) = ([], EventCounts())
            for await part in group {
                failures += part.0
                counts.add(part.1)
            }
            return (failures.sorted { $0.0 < $1.0 }, counts)
        }
    }

    @Test func everySeedKeepsItsPromises() async {
        await everySeed(resharding: .none, kinds: [
            "promotion", "cut", "transfer", "shrink", "join", "resignation", "failed commit", "crash", "coordinator crash", "partition",
            "one-way partition", "election", "broken stream", "shard waits", "refused proposal", "change of unknown outcome",
            "change refused for its version", "change refused for its term", "change that only ends others", "retry of an operation in the log",
            "majority write lost with all who had it", "hand-over",
        ])
    }

    /// The same seeds, with the shard being split on the way: half as many.
    @Test func everySeedWithASplitKeepsItsPromises() async {
        await everySeed(resharding: .split, kinds: [
            "cut-over", "split sealing", "split unsealing", "split done", "split cancelled", "step refused for what changed meanwhile", "promotion", "transfer",
            "crash", "coordinator crash", "partition", "read of any replica", "change of a shard that is no more", "retry of an operation in the log",
        ])
    }

    /// The same seeds, with two shards that are merged on the way: half as many.
    @Test func everySeedWithAMergeKeepsItsPromises() async {
        await everySeed(resharding: .merge, kinds: [
            "merge over", "merge sealing", "merge unsealing", "merge done", "merge cancelled", "step refused for what changed meanwhile", "promotion",
            "transfer", "crash", "coordinator crash", "partition", "read of any replica", "change of a shard that is no more",
            "retry of an operation in the log", "merged replica that was not in sync",
        ])
    }

    private func everySeed(resharding: Simulation.Resharding, kinds: [String]) async {
        let first = Self.number("NEEDLETAIL_SIMULATION_SEED")
        let seeds = first.map { $0..<$0 + 1 } ?? 1..<(Self.number("NEEDLETAIL_SIMULATION_SEEDS") ?? 2_000) / (resharding == .none ? 1 : 2) + 1
        let begin = ContinuousClock.now
        let (failures, counts) = await Self.run(seeds, resharding: resharding)
        if let (seed, failure) = failures.first { print(Self.report(seed, failure, resharding: resharding)) }
        #expect(failures.isEmpty, "\(failures.count) seeds failed: \(failures.prefix(5).map { "\($0.0) \($0.1)" })")
        if Self.environment["NEEDLETAIL_SIMULATION_COUNTS"] != nil {
            print("\(seeds.count) seeds in \(ContinuousClock.now - begin): \(counts.description)")
        }
        guard first == nil else { return }
        for kind in kinds { #expect(counts[kind] > 0, "no seed had a \(kind)") }
    }

    @Test func aSeedAlwaysTellsTheSameStory() {
        for seed in UInt64(1)...10 {
            let stories = (0..<2).map { _ in
                let simulation = Simulation(seed: seed, resharding: [.none, .split, .merge][Int(seed % 3)], isTracing: true)
                _ = simulation.run()
                return simulation.story
            }
            #expect(stories[0] == stories[1])
        }
    }

    @Test(arguments: Bug.allCases) func aBrokenWorldIsNoticed(bug: Bug) async {
        for resharding in bug.reshardings { await notice(bug, resharding) }
    }

    private func notice(_ bug: Bug, _ resharding: Simulation.Resharding) async {
        let seeds = UInt64(1)...1_000
        var found: UInt64?
        for seed in seeds where found == nil {
            if Self.run(seed, bug: bug, resharding: resharding).failure != nil { found = seed }
            await Task.yield()
        }
        #expect(found != nil, "\(bug.rawValue) was not found by \(seeds.count) seeds")
        if let found, Self.environment["NEEDLETAIL_SIMULATION_COUNTS"] != nil {
            print("\(bug.rawValue): seed \(found): \(Self.run(found, bug: bug, resharding: resharding).failure ?? "")")
        }
    }
}
