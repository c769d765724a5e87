import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailScale

struct PlanCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "How many machines a workload needs, and how quick it would be. Needs no cluster.",
        discussion: """
            For a hundred million vectors in two copies, a thousand searches a second:

              needletail plan --points 100e6 --replicas 2 --searches 1000 --p99 50 --profile mine.json

            The profile says what work costs on your machines: `needletail-bench calibrate --base VECTORS --query QUERIES --out mine.json` \
            measures it there. Without one it is that of two cores of an AMD EPYC with 128-dimensional image descriptors under lvq8, which is \
            good for a first idea only. --simulate runs the planned cluster event by event, with hedging and the choice of replicas.
            """)

    @Option(help: "Points, as 100e6.") var points: Double
    @Option(help: "Vectors of a point.") var vectors = 1.0
    @Option(help: "Bytes of payload of a point.") var payload = 0.0
    @Option(help: "Copies of each shard.") var replicas = 1
    @Option(help: "Searches a second.") var searches = 100.0
    @Option(help: "Points written a second.") var writes = 0.0
    @Option(name: .customLong("p99"), help: "Milliseconds within which 99 of 100 searches are to be answered.") var p99 = 50.0
    @Option(help: "Milliseconds of a round trip on the network.") var roundTrip = 0.5
    @Option(help: "Processors of a node.") var cores = 16
    @Option(help: "Memory of a node in GB.") var memory = 64.0
    @Option(help: "Disk of a node in GB.") var disk = 1000.0
    @Option(help: "Network of a node in Gbit/s.") var network = 10.0
    @Option(help: "Share of the processors' time that may be used; the rest is for the loss of a node and for moves.") var coreShare = 0.5
    @Option(help: "A file that `needletail-bench calibrate` wrote.") var profile: String?
    @Flag(help: "Simulate the planned cluster, and say what came out.") var simulate = false
    @Option(help: "With --simulate: share of the nodes that run a tenth as fast.") var slowNodes = 0.0
    @Flag(help: "With --simulate: ask no second replica.") var noHedging = false
    @Option(help: "With --simulate: the seed.") var seed: UInt64 = 1
    @Flag(help: "Print one JSON object.") var json = false

    func validate() throws {
        guard (0...1).contains(slowNodes) else { throw ValidationError("--slow-nodes is a share, 0 to 1.") }
        guard memory.isFinite, disk.isFinite, network.isFinite else { throw ValidationError("--memory, --disk and --network must be numbers.") }
    }

    func run() throws {
        let machine = try profile.map(MachineProfile.init(path:)) ?? Profiles.shipped()
        var workload = Workload(points: points)
        (workload.vectorsPerPoint, workload.payloadBytes, workload.replicas) = (vectors, payload, replicas)
        (workload.searches, workload.writes, workload.milliseconds, workload.roundTripMilliseconds) = (searches, writes, p99, roundTrip)
        (workload.cores, workload.memoryBytes, workload.diskBytes, workload.networkBitsPerSecond) = (cores, memory * 1e9, disk * 1e9, network * 1e9)
        workload.coreShare = coreShare
        let plan = try ScalePlan.smallest(for: workload, on: machine)
        let outcome = simulate ? try simulated(plan, workload, machine) : nil
        if json { try printJSON(plan, outcome) } else { show(plan, workload, machine, outcome) }
    }

    private func simulated(_ plan: ScalePlan, _ workload: Workload, _ machine: MachineProfile) throws -> ClusterSimulation.Outcome {
        var layout = ClusterSimulation.Layout(plan, workload)
        layout.hedges = !noHedging
        layout.slowShare = slowNodes
        var simulation = try ClusterSimulation(layout, on: machine, seed: seed)
        // Four million requests to nodes take some seconds; fewer searches than this say little about one in a hundred.
        return simulation.run(searches: min(50_000, max(2_000, 4_000_000 / layout.groups)), rate: max(1, workload.searches))
    }

    private func show(_ plan: ScalePlan, _ workload: Workload, _ machine: MachineProfile, _ outcome: ClusterSimulation.Outcome?) {
        print(
            "\(plan.nodes) shard workers (as many as \(reason(plan.limitedBy))), \(plan.coordinators) coordinators, \(plan.shards) shards in "
                + "\(replicas) \(replicas == 1 ? "copy" : "copies").\n")
        var table = Table("", "of a node", "")
        table.add("memory", Readable.bytes(UInt64(plan.memoryBytes)), percent(plan.memoryBytes / workload.memoryBytes))
        table.add("disk", Readable.bytes(UInt64(plan.diskBytes)), percent(plan.diskBytes / workload.diskBytes))
        table.add("processors", "\(digits(plan.coreUse * Double(cores))) of \(cores)", percent(plan.coreUse))
        table.add("network", "\(digits(plan.networkBitsPerSecond / 1e6)) Mbit/s", percent(plan.networkBitsPerSecond / workload.networkBitsPerSecond))
        table.print()
        print(
            "\nA search asks \(max(1, plan.nodes / replicas)) nodes and \(plan.shards) shards of \(number(plan.vectorsPerShard)) vectors; it takes "
                + "\(number(plan.coordinatorMicroseconds)) µs of a coordinator's processors and \(number(plan.workerMicroseconds)) µs of the workers'.")
        print(
            "Expected: half of the searches within \(milliseconds(plan.median)), 99 of 100 within \(milliseconds(plan.tail)); "
                + "recall@\(machine.limit) \(Readable.tenths(machine.recall * 100)) % at ef \(machine.ef). A write waits "
                + "\(milliseconds(plan.writeTail)) for disks.")
        if let outcome {
            print(
                "Simulated (\(outcome.searches) searches): half within \(milliseconds(outcome.median)), 99 of 100 within \(milliseconds(outcome.p99)), "
                    + "999 of 1000 within \(milliseconds(outcome.p999)); \(percent(outcome.hedged)) of requests hedged, the busiest machine "
                    + "\(percent(outcome.coreUse)) busy.")
        }
        print("\nBy a profile of \(machine.machine): \(machine.dimensions) dimensions, \(machine.spec).")
        for warning in plan.warnings { print("Note: \(warning).") }
    }

    private func reason(_ limit: ScalePlan.Limit) -> String {
        switch limit {
        case .memory: "their memory asks for"
        case .disk: "their disks ask for"
        case .processors: "the work asks for"
        case .network: "the network asks for"
        case .latency: "the latency asks for"
        case .replicas: "the copies ask for"
        }
    }

    private func printJSON(_ plan: ScalePlan, _ outcome: ClusterSimulation.Outcome?) throws {
        var object: [String: Any] = [
            "nodes": plan.nodes, "shards": plan.shards, "coordinators": plan.coordinators, "limited_by": plan.limitedBy.rawValue,
            "node": [
                "memory_bytes": plan.memoryBytes, "disk_bytes": plan.diskBytes, "core_use": plan.coreUse,
                "network_bits_per_second": plan.networkBitsPerSecond,
            ],
            "vectors_per_shard": plan.vectorsPerShard, "coordinator_us": plan.coordinatorMicroseconds, "worker_us": plan.workerMicroseconds,
            "p50_ms": plan.median, "p99_ms": plan.tail, "write_wait_p99_ms": plan.writeTail, "notes": plan.warnings,
        ]
        if let outcome {
            object["simulated"] = [
                "searches": outcome.searches, "p50_ms": outcome.median, "p95_ms": outcome.p95, "p99_ms": outcome.p99, "p999_ms": outcome.p999,
                "per_second": outcome.rate, "hedged": outcome.hedged, "core_use": outcome.coreUse,
            ] as [String: Any]
        }
        let data = try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys])
        print(String(decoding: data, as: UTF8.self))
    }

    private func percent(_ share: Double) -> String { "\(Readable.tenths(share * 100)) %" }

    private func number(_ value: Double) -> String {
        if value >= 1e6 { return "\(Readable.tenths(value / 1e6)) million" }
        let whole = Int(value)
        return whole < 10_000 ? "\(whole)" : "\(whole / 1000),\(String(format: "%03d", whole % 1000))"
    }

    private func digits(_ value: Double) -> String { String(format: "%.2f", value) }

    private func milliseconds(_ value: Double) -> String { value < 10 ? String(format: "%.2f ms", value) : "\(Readable.tenths(value)) ms" }
}

/// A file of `needletail-bench calibrate` that comes with the program.
enum Profiles {
    static func shipped() throws -> MachineProfile {
        guard let folder = Bundle.module.url(forResource: "profiles", withExtension: nil) else {
            throw NeedletailError(.failedPrecondition, "the profiles are missing beside the program; run `make build` again, or give --profile")
        }
        return try MachineProfile(path: folder.appendingPathComponent("sift-lvq8.json").path)
    }
}
