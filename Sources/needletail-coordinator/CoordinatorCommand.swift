import ArgumentParser
import Foundation
import NeedletailCluster
import NeedletailCoordinator
import NeedletailCore
import NeedletailEtcd
import NeedletailFlags
import NeedletailHTTP2
import NeedletailSecurity
import NeedletailTelemetry
import ServiceLifecycle
import UnixSignals

@main
struct CoordinatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-coordinator",
        abstract: "A coordinator: the door for clients and the control plane of a cluster.",
        discussion: """
            Clients and shard workers talk to it. The cluster's metadata (which collections there are and where their shards live) are in its
            data folder; or, for several coordinators, in etcd. All of them serve; one leads, and another takes over when it dies.

            Examples:
            needletail-coordinator --data /var/lib/needletail --listen 10.0.0.2:7460
            needletail-coordinator --metadata etcd://10.0.0.7,10.0.0.8,10.0.0.9 --listen 10.0.0.2:7460
            """,
        version: NeedletailVersion.current)

    @Option(help: "Folder for the cluster's metadata, unless they are in etcd; made when missing.") var data = "needletail-data/coordinator"
    @Option(help: "\"embedded\", in the data folder; or etcd://[user@]host:port[,host:port][/prefix] for several coordinators.")
    var metadata = "embedded"
    @Option(help: "File with the password of the etcd user; the environment variable NEEDLETAIL_ETCD_PASSWORD when left out.")
    var etcdPasswordFile: String?
    @Option(help: "Speak TLS with etcd, whose members' certificates are of this authority, in PEM.") var etcdAuthority: String?
    @Option(help: "A certificate to show to etcd, in PEM.") var etcdCertificate: String?
    @Option(help: "The private key of that certificate.") var etcdKey: String?
    @Option(help: "Milliseconds without a sign of life from the coordinator that leads after which another one does; etcd rounds up to seconds.")
    var leaderLease = 2000
    @Option(help: "Seconds of silence after which a shard worker counts as gone, and its replicas are made elsewhere.") var lostAfter = 600
    @Option(help: "Seconds for which all workers and replicas must have been well before anything moves for balance.") var rebalanceAfter = 30
    @Option(help: "Seconds for which a shard that was moved for balance, or by hand, is left alone.") var rest = 600
    @Option(help: "Moves of replicas at one time.") var moves = 2
    @Option(help: "Moves at one time that a shard worker takes part in.") var movesPerNode = 1
    @Option(help: "Split shards of which a replica takes more than so many bytes (memory and disk together); never when left out.")
    var splitAbove: UInt64?
    @Option(
        help: """
            Merge neighbouring shards of which two replicas take together fewer than so many bytes, but not to fewer shards than the collection was made \
            with; at most half of --split-above; never when left out.
            """)
    var mergeBelow: UInt64?
    @Option(help: "Address to listen on; port 0 takes any free one.") var listen = "127.0.0.1:7460"
    @Option(help: "Address at which workers and other coordinators reach this one, when it is not the one it listens on.") var advertise: String?
    @Option(help: "Port for HTTP on the same host: the console, the API in JSON, probes and metrics; 0 takes any free one, \"off\" has none.")
    var admin = "7461"
    @OptionGroup(title: "Encryption") var security: NodeSecurityFlags
    @Option(help: "The authority of certificates that users' programs may show; nobody has to show one.") var clientAuthority: String?
    @Option(help: "Seconds that requests under way may take at shutdown.") var drainSeconds = 10
    @Option(help: "trace, debug, info, notice, warning or error.") var logLevel = "info"
    @Option(help: "text, or json: one object a line.") var logFormat = "text"
    @Option(help: "Send traces to this receiver, by OTLP over gRPC, as http://127.0.0.1:4317; none when left out.") var otlp: String?
    @Option(help: "Share of the requests that are traced without their caller's wish, 0 to 1; what a caller has sampled always is.")
    var traceSample = 0.01
    @Option(help: "Log searches that take longer, as 100ms or 2s; none when left out.") var slowQuery: String?
    @OptionGroup(title: "Access") var access: AccessOptions
    @OptionGroup(title: "Configuration") var configurationFlags: ConfigurationFlags
    @Option(help: "File to write the port and the admin port to once the coordinator listens.") var portFile: String?
    @Flag(help: "Stop when the standard input ends, with whatever started this.") var endWithInput = false

    func run() async throws {
        try Flags.check(logLevel: logLevel, drainSeconds: drainSeconds, advertise: advertise)
        let logger = Logs.start(label: "needletail-coordinator", level: logLevel, format: try Logs.format(logFormat))
        var configuration = CoordinatorConfiguration()
        (configuration.host, configuration.port) = try Endpoint.parse(listen)
        configuration.adminPort = try AdminPort.parse(admin)
        configuration.advertised = advertise
        configuration.tls = try security.files(clientAuthority: clientAuthority)
        configuration.isInsecure = security.insecure
        let etcdCredentials = try etcdCredentials()
        configuration.otherCredentials = etcdCredentials.map { [$0] } ?? []
        configuration.metadata = try metadataStore(etcdCredentials)
        configuration.leaseLength = .milliseconds(try Flags.check("--leader-lease", leaderLease, in: 500...600_000))
        configuration.dataDirectory = data
        configuration.environment = ProcessInfo.processInfo.environment
        configuration.drainTime = .seconds(drainSeconds)
        configuration.tracing = try TracingConfiguration(endpoint: otlp, sampleRate: traceSample, authority: security.otlpAuthority)
        configuration.live = try live()
        configuration.access = try access.configuration()
        if let audit = configuration.access.audit {
            let signals = await UnixSignalsSequence(trapping: .sighup)
            Task { for await _ in signals { audit.reopen() } }
        }
        if endWithInput { ParentProcess.stopWithInput() }
        let portFile = portFile
        let service = CoordinatorService(configuration: configuration, logger: logger) { port, adminPort in
            if let portFile { try? "\(port) \(adminPort)\n".write(toFile: portFile, atomically: true, encoding: .utf8) }
        }
        let following = Task {
            await Self.program.follow(logger) { settings in
                let values = try settings.live()
                try Logs.setLevel(settings.logLevel)
                service.live.change(to: values)
            }
        }
        defer { following.cancel() }
        let group = ServiceGroup(services: [service], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await group.run()
    }

    /// nil: without TLS.
    private func etcdCredentials() throws -> TLSCredentials? {
        guard etcdAuthority != nil || etcdCertificate != nil || etcdKey != nil else { return nil }
        guard let etcdAuthority else { throw NeedletailError(.invalidArgument, "--etcd-certificate goes with --etcd-authority, the authority of etcd's own") }
        return try TLSCredentials(TLSFiles(prefix: "etcd", certificate: etcdCertificate, key: etcdKey, authority: etcdAuthority), uses: [.client])
    }

    /// What may change while the coordinator runs.
    private func live() throws -> LiveSettings.Values {
        var values = LiveSettings.Values(traceSample: traceSample)
        values.moves.limits = MoveLimits(
            atOnce: try Flags.check("--moves", moves, in: 1...1_024), perNode: try Flags.check("--moves-per-node", movesPerNode, in: 1...1_024))
        values.moves.lostAfter = .seconds(try Flags.check("--lost-after", lostAfter, in: 5...10_000_000))
        values.moves.stableFor = .seconds(try Flags.check("--rebalance-after", rebalanceAfter, in: 0...10_000_000))
        values.moves.rest = .seconds(try Flags.check("--rest", rest, in: 0...10_000_000))
        values.moves.splitAboveBytes = splitAbove
        // Otherwise what was merged might be split again.
        if let mergeBelow, let splitAbove, mergeBelow > splitAbove / 2 {
            throw NeedletailError(.invalidArgument, "--merge-below is at most half of --split-above, \(splitAbove / 2)")
        }
        values.moves.mergeBelowBytes = mergeBelow
        values.slowQuery = try slowQuery.map { text throws(NeedletailError) in try Flags.duration("--slow-query", text) }
        // The rate is checked as it is at the start.
        _ = try TracingConfiguration(endpoint: otlp, sampleRate: traceSample)
        return values
    }

    /// nil: in the data folder.
    private func metadataStore(_ credentials: TLSCredentials?) throws -> EtcdMetadataStore? {
        if metadata == "embedded" {
            guard etcdPasswordFile == nil, credentials == nil else {
                throw NeedletailError(.invalidArgument, "--etcd-password-file and --etcd-authority go with --metadata etcd://…")
            }
            return nil
        }
        var address = try EtcdAddress(metadata)
        if let file = etcdPasswordFile {
            guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
                throw NeedletailError(.invalidArgument, "the file with etcd's password cannot be read: \(file)")
            }
            address.password = text.trimmingCharacters(in: .newlines)
        } else {
            address.password = ProcessInfo.processInfo.environment["NEEDLETAIL_ETCD_PASSWORD"] ?? ""
        }
        return EtcdMetadataStore(address, credentials: credentials)
    }

    static let program = ConfiguredProgram(
        "needletail-coordinator", root: CoordinatorCommand.self, settings: CoordinatorCommand.self,
        live: [
            "log-level", "moves", "moves-per-node", "lost-after", "rebalance-after", "rest", "split-above", "merge-below", "slow-query", "trace-sample",
        ])

    static func main() async { await program.main() }
}
