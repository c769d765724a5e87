import ArgumentParser

@main
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-bench",
        abstract: "Measures the engine inside one process. Prints one JSON object a line.",
        subcommands: [
            ANN.self, BatchBenchmark.self, BuildBenchmark.self, FilterBenchmark.self, ChurnBenchmark.self, CodecBenchmark.self,
            KernelsBenchmark.self, MemoryBenchmark.self, ShardBenchmark.self, ClusterBenchmark.self, RPC.self, Synth.self,
            CalibrateBenchmark.self, SimulateBenchmark.self,
        ])
}

struct RPC: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rpc", abstract: "Unary echo calls over loopback: requests a second and a core, latency.")

    @Option(help: "Calls under way at a time, comma-separated.") var concurrency = "1,16,128"
    @Option(help: "Seconds for each.") var seconds = 5.0

    func run() async throws {
        try await runRPCBenchmark(concurrency: concurrency.split(separator: ",").compactMap { Int($0) }, seconds: seconds)
    }
}
