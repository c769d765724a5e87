import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailSyntheticSets

/// Writes a synthetic set as files for `ann` and `shard`.
struct Synth: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a seeded synthetic set as PREFIX-base.fbin and PREFIX-query.fbin.",
        discussion: "T3 also writes PREFIX-shifted.fbin: queries unlike the base. T4 writes tokens: 32 rows a document, 16 a query.")

    @Option(help: "T1, T2, T3, T4, T5-8, T5-32 or T5-128.") var set: String
    @Option(help: "Where to write, without the ending.") var out: String
    @Option(help: "Base rows (T4: documents); the set's own number if absent.") var count: Int?
    @Option(help: "Queries.") var queries = 200
    @Option(help: "Seed; the set's own if absent.") var seed: UInt64?
    @Flag(help: "T1 and T3: write the base cluster by cluster.") var byCategory = false

    func validate() throws {
        guard count ?? 1 > 0, queries > 0 else { throw ValidationError("--count and --queries must be positive") }
        if byCategory, set != "T1", set != "T3" { throw ValidationError("--by-category goes with T1 and T3, whose rows have categories") }
    }

    func run() throws {
        if set == "T4" {
            var size = TokenSetSize()
            size.documents = count ?? size.documents
            size.queries = queries
            let tokens = SyntheticSets.tokens(size, seed: seed ?? 4)
            try write(tokens.documents, "base")
            try write(tokens.queries, "query")
            return
        }
        let made = try make()
        try write((byCategory ? made.orderedByCategory() : made).base, "base")
        try write(made.queries, "query")
        if let shifted = made.shiftedQueries { try write(shifted, "shifted") }
    }

    private func make() throws -> SyntheticSet {
        switch set {
        case "T1": SyntheticSets.tight(count: count ?? 20_000, queries: queries, seed: seed ?? 1)
        case "T2": SyntheticSets.nested(count: count ?? 20_000, queries: queries, seed: seed ?? 2)
        case "T3": SyntheticSets.powerLaw(count: count ?? 50_000, queries: queries, seed: seed ?? 3)
        case "T5-8": SyntheticSets.subspace(rank: 8, count: count ?? 30_000, queries: queries, seed: seed ?? 5)
        case "T5-32": SyntheticSets.subspace(rank: 32, count: count ?? 30_000, queries: queries, seed: seed ?? 5)
        case "T5-128": SyntheticSets.subspace(rank: 128, count: count ?? 30_000, queries: queries, seed: seed ?? 5)
        default: throw ValidationError("no set \"\(set)\"; use T1, T2, T3, T4, T5-8, T5-32 or T5-128")
        }
    }

    /// The format that `VectorFile` reads.
    private func write(_ rows: VectorRows, _ name: String) throws {
        var data = Data(capacity: 8 + rows.values.count * 4)
        for number in [UInt32(rows.count), UInt32(rows.dimensions)] {
            withUnsafeBytes(of: number.littleEndian) { data.append(contentsOf: $0) }
        }
        // Little-endian machines only, as everywhere in the benchmarks.
        rows.values.withUnsafeBytes { data.append(contentsOf: $0) }
        let path = "\(out)-\(name).fbin"
        try data.write(to: URL(fileURLWithPath: path))
        print("{\"file\": \"\(path)\", \"n\": \(rows.count), \"d\": \(rows.dimensions)}")
    }
}
