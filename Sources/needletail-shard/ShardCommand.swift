import ArgumentParser
import Foundation
import NeedletailCore
import NeedletailFlags
import NeedletailTelemetry
import NeedletailWorker
import ServiceLifecycle
import UnixSignals

@main
struct ShardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-shard",
        abstract: "A shard worker: hosts shard replicas and serves coordinators.",
        discussion: "`needletail-shard serve --help` explains the worker's flags; \"serve\" may be left out.",
        version: NeedletailVersion.current,
        subcommands: [Serve.self, Repair.self], defaultSubcommand: Serve.self)

    static let program = ConfiguredProgram("needletail-shard", root: ShardCommand.self, settings: Serve.self, live: ["log-level", "copy-rate"])

    static func main() async { await program.main() }
}

struct Repair: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Cuts a replica's damaged log at the first bad record; the writes that follow are lost.",
        discussion: "The worker must not be running. What is cut is kept beside the log in files ending in .damaged.")

    @Option(help: "The replica's folder, below replicas/ in the worker's data folder.") var replica: String

    func run() throws { print(try ShardWorker.repairLog(inReplica: replica)) }
}

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Runs the worker (the default).",
        discussion: """
            The worker registers with every coordinator and is given shards when collections are made. Its data folder holds everything it
            has acknowledged; start it again with the same folder and it serves the same shards.

            Example: needletail-shard --data /var/lib/needletail --listen 10.0.0.5:7470 --coordinator 10.0.0.2:7460
            """)

    @Option(help: "Folder for the worker's data; made when missing.") var data = "needletail-data/shard"
    @Option(help: "Address to listen on; port 0 takes any free one.") var listen = "127.0.0.1:7470"
    @Option(help: "Address at which coordinators reach this worker, when it is not the one it listens on.") var advertise: String?
    @Option(help: "Address of a coordinator; may be given several times, or several with commas between them. They name the others.")
    var coordinator = ["127.0.0.1:7460"]
    @Option(help: "Port for HTTP probes and metrics (/healthz, /readyz, /metrics) on the same host; 0 takes any free one.") var admin = "off"
    @Option(help: "Threads that search; all processors when left out.") var searchThreads: Int?
    @Option(help: "Searches and reads that may wait for a thread; more are refused, with the time after which to come again.")
    var searchQueue = 4096
    @Option(help: "Threads that build graphs; all processors when left out.") var buildThreads: Int?
    @Flag(inversion: .prefixedNo, help: "Ask now and then a real query again exactly, in the background, and tell the recall that users get.")
    var recallSampling = true
    @Option(help: "MiB that a segment of a replica's log has at least: what replicas that were away can catch up from without a whole copy.")
    var logSegment = 64
    @Option(
        help: """
            Bytes a second, as 50MB, that copies of replicas (for moves, and for replicas that were away for long), backups and restores may take \
            of this worker in all; at least 256KiB, or 0 for no limit. What replicas send each other as it is written does not count.
            """)
    var copyRate = "0"
    @Option(help: "What may fail together with this worker (a rack, a data centre): replicas of a shard go to different zones.") var zone = ""
    @Option(help: "Share of the data, compared with other workers: 2 holds twice as much as 1.") var weight = 1.0
    @Option(help: "Memory that replicas may take, as 48GiB or in bytes; the machine's when left out.") var memoryLimit: String?
    @Option(help: "Disk that replicas may take, as 2TiB or in bytes; that of the data folder's file system when left out.") var diskLimit: String?
    @OptionGroup(title: "Encryption") var security: NodeSecurityFlags
    @Option(help: "Seconds that requests under way may take at shutdown.") var drainSeconds = 10
    @Option(help: "trace, debug, info, notice, warning or error.") var logLevel = "info"
    @Option(help: "text, or json: one object a line.") var logFormat = "text"
    @Option(help: "Send traces to this receiver, by OTLP over gRPC, as http://127.0.0.1:4317; none when left out.") var otlp: String?
    @OptionGroup(title: "Configuration") var configurationFlags: ConfigurationFlags
    @Option(help: "File to write the port and the admin port (0 without one) to once the worker listens.") var portFile: String?
    @Flag(help: "Stop when the standard input ends, with whatever started this.") var endWithInput = false

    /// "48GiB", "500 MB", or a plain number.
    private static func bytes(_ text: String) throws -> UInt64 {
        let units: [(String, Double)] = [
            ("KIB", 1024), ("MIB", 1_048_576), ("GIB", 1_073_741_824), ("TIB", 1_099_511_627_776), ("KB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12),
            ("B", 1), ("", 1),
        ]
        let upper = text.uppercased()
        for (unit, factor) in units where upper.hasSuffix(unit) {
            let number = upper.dropLast(unit.count).trimmingCharacters(in: .whitespaces)
            if let value = Double(number), value > 0, value * factor < 1e18 { return UInt64(value * factor) }
        }
        throw ValidationError("\(text) is no size; write 48GiB, 500MB or a number of bytes.")
    }

    private func copyBytesPerSecond() throws -> UInt64 {
        let rate = copyRate == "0" ? 0 : try Self.bytes(copyRate)
        guard rate == 0 || rate >= 256 << 10 else { throw ValidationError("--copy-rate is at least 256KiB, or 0 for no limit.") }
        return rate
    }

    func run() async throws {
        try Flags.check(logLevel: logLevel, drainSeconds: drainSeconds, advertise: advertise)
        let logger = Logs.start(label: "needletail-shard", level: logLevel, format: try Logs.format(logFormat))
        var configuration = ShardWorkerConfiguration(cores: ProcessInfo.processInfo.activeProcessorCount)
        (configuration.host, configuration.port) = try Endpoint.parse(listen)
        configuration.coordinators = coordinator.flatMap { $0.split(separator: ",").map(String.init) }
        configuration.advertised = advertise
        configuration.adminPort = try AdminPort.parse(admin)
        configuration.tls = try security.files()
        configuration.isInsecure = security.insecure
        configuration.dataDirectory = data
        configuration.environment = ProcessInfo.processInfo.environment
        configuration.drainTime = .seconds(drainSeconds)
        guard weight > 0, weight < 1e6 else { throw ValidationError("--weight must be above 0.") }
        (configuration.zone, configuration.weight) = (zone, weight)
        configuration.memoryLimitBytes = try memoryLimit.map(Self.bytes)
        configuration.diskLimitBytes = try diskLimit.map(Self.bytes)
        configuration.copyBytesPerSecond = try copyBytesPerSecond()
        configuration.logSegmentBytes = try Flags.check("--log-segment", logSegment, in: 1...65_536) << 20
        if let searchThreads { configuration.searchThreads = try Flags.check("--search-threads", searchThreads, in: 1...1_024) }
        configuration.searchQueue = try Flags.check("--search-queue", searchQueue, in: 1...1_000_000)
        if let buildThreads { configuration.buildThreads = try Flags.check("--build-threads", buildThreads, in: 1...1_024) }
        // Coordinators choose what is traced.
        configuration.tracing = try TracingConfiguration(endpoint: otlp, sampleRate: 0, authority: security.otlpAuthority)
        configuration.samplesRecall = recallSampling
        if endWithInput { ParentProcess.stopWithInput() }
        let portFile = portFile
        let worker = ShardWorker(configuration: configuration, logger: logger) { port, adminPort in
            if let portFile { try? "\(port) \(adminPort)\n".write(toFile: portFile, atomically: true, encoding: .utf8) }
        }
        let following = Task {
            await ShardCommand.program.follow(logger) { settings in
                let rate = try settings.copyBytesPerSecond()
                try Logs.setLevel(settings.logLevel)
                worker.setCopyRate(bytesPerSecond: rate)
            }
        }
        defer { following.cancel() }
        let group = ServiceGroup(services: [worker], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await group.run()
    }
}
