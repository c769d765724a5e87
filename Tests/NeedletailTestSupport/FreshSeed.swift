import Foundation
// Every test needs the generator; so that one import is enough, this module passes it on.
@_exported public import NeedletailSyntheticSets

extension SeededGenerator {
    /// A fresh seed, printed so that a failure can be replayed with `NEEDLETAIL_SEED=…`.
    public static func fresh(_ test: String = #function) -> SeededGenerator {
        let chosen = ProcessInfo.processInfo.environment["NEEDLETAIL_SEED"].flatMap { UInt64($0) } ?? UInt64.random(in: 0...UInt64.max)
        print("\(test): NEEDLETAIL_SEED=\(chosen)")
        return SeededGenerator(seed: chosen)
    }
}
