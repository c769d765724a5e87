import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailScale

/// What the model says of a small cluster on one machine, to be held against a measurement: `make bench-plan`.
struct SimulateBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "simulate", abstract: "Predict a cluster that shares this machine with its load generator, by a profile.")

    @Option(help: "A file that `calibrate` wrote.") var profile: String
    @Option(help: "Shard workers.") var workers = 2
    @Option(help: "Shards that one search asks.") var shards = 2
    @Option(help: "Copies of each shard.") var replicas = 1
    @Option(help: "Vectors in the collection.") var vectors = 300_000
    @Option(help: "Searches a second; 0 asks for the highest rate only.") var rate = 0.0
    @Option(help: "Searches under way for the highest rate.") var underWay = 32
    @Option(help: "Searches to simulate.") var searches = 20_000
    @Option(help: "Microseconds of processor time of a search in the load generator when there are many; the profile's if absent.") var client: Double?
    @Option(help: "Processors; those of this machine if absent.") var cores: Int?
    @Option(help: "Seed.") var seed: UInt64 = 1

    func validate() throws {
        guard workers > 0, shards > 0, replicas > 0, replicas <= workers, vectors > 0, rate >= 0, searches > 0, underWay > 0, cores ?? 1 > 0 else {
            throw ValidationError("All numbers must be positive, and --replicas at most --workers.")
        }
    }

    func run() throws {
        var machine = try MachineProfile(path: profile)
        let cores = cores ?? ProcessInfo.processInfo.activeProcessorCount
        let groups = max(1, min(workers / replicas, shards))
        var layout = ClusterSimulation.Layout(
            groups: groups, replicas: replicas, shardsPerNode: (shards + groups - 1) / groups, vectorsPerShard: Double(vectors) / Double(shards),
            coordinators: 1, cores: cores, roundTripMilliseconds: 0)
        layout.isOneMachine = true
        func full() throws -> ClusterSimulation.Outcome {
            var simulation = try ClusterSimulation(layout, on: machine, seed: seed)
            return simulation.run(searches: searches, underWay: underWay)
        }
        // What the load generator was measured to take has its turns and wakes in it.
        if let client {
            for _ in 0..<20 {
                let outcome = try full()
                let inTurns =
                    machine.rpc.turn * outcome.turns.client + machine.rpc.wake * outcome.wakes.client + machine.rpc.deepWake * outcome.depth.client
                machine.rpc.client = (machine.rpc.client + max(0, client - inTurns)) / 2
            }
        }
        var figures = [
            ("highest_rate", String(format: "%.0f", try full().rate)),
            ("memory_bytes", String(format: "%.0f", Double(vectors * replicas) * machine.memoryBytes)),
            ("disk_bytes", String(format: "%.0f", Double(vectors * replicas) * machine.diskBytes)),
        ]
        if rate > 0 {
            var simulation = try ClusterSimulation(layout, on: machine, seed: seed)
            let outcome = simulation.run(searches: searches, rate: rate)
            figures += [
                ("p50_ms", String(format: "%.3f", outcome.median)), ("p99_ms", String(format: "%.3f", outcome.p99)),
                ("core_use", String(format: "%.3f", outcome.coreUse)),
            ]
        }
        emit(figures)
    }
}
