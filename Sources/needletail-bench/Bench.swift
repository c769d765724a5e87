import ArgumentParser

@main
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-bench",
        abstract: "Measures the engine inside one process. Prints one JSON object a line.",
        subcommands: [ANN.self, ShardBenchmark.self, ClusterBenchmark.self])
}
