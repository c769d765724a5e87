public import Logging
internal import NeedletailAPI
internal import NeedletailAdmin
internal import NeedletailBackup
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailGRPC
public import NeedletailHTTP2
internal import NeedletailShard
internal import NeedletailStorage
public import NeedletailTelemetry
public import ServiceLifecycle
internal import Synchronization

/// What a shard worker process is told at its start.
public struct ShardWorkerConfiguration: Sendable {
    public var host = "127.0.0.1"
    /// 0: any free port.
    public var port = 7470
    /// The HTTP port for probes and metrics; 0: any free port, nil: none.
    public var adminPort: Int?
    /// host:port at which coordinators reach this worker; the listening address when nil.
    public var advertised: String?
    /// host:port of one or more coordinators, who name the others.
    public var coordinators = ["127.0.0.1:7460"]
    public var dataDirectory = "needletail-data/shard"
    /// Of the process: has what backups in S3 need.
    public var environment: [String: String] = [:]
    public var searchThreads: Int
    /// Searches and reads that may wait for a thread.
    public var searchQueue = 4096
    public var buildThreads: Int
    /// Whether some of the real queries are asked again exactly, to tell the recall.
    public var samplesRecall = true
    public var transportThreads = 1
    /// The certificate to show and the authorities to trust; nil: without TLS.
    public var tls: TLSFiles?
    /// Whether to listen for others without TLS all the same.
    public var isInsecure = false
    /// Where traces go; nil: there are none.
    public var tracing: TracingConfiguration?
    /// A log's segment that reached this size is followed by another; whole segments that a checkpoint holds are removed.
    public var logSegmentBytes = 64 << 20
    /// What copies of replicas and backups may take in all; 0: no limit.
    public var copyBytesPerSecond: UInt64 = 0
    /// How long requests under way may take when the process is asked to stop.
    public var drainTime = Duration.seconds(10)
    /// Workers of one zone may fail together: replicas of a shard go to different ones.
    public var zone = ""
    /// Its share of the bytes, compared with other workers'.
    public var weight = 1.0
    /// What replicas may take; nil: the machine's memory, and what the file system of the data folder has in all.
    public var memoryLimitBytes: UInt64?
    public var diskLimitBytes: UInt64?

    /// - Parameter cores: processors to use.
    public init(cores: Int) {
        searchThreads = max(1, cores)
        buildThreads = max(1, cores)
    }
}

extension ShardWorkerConfiguration {
    fileprivate func credentials() async throws(NeedletailError) -> TLSCredentials? {
        guard let tls else { return nil }
        return try await TLSCredentials(tls, uses: [.nodesPort, .webPort, .client], node: .shard)
    }
}

/// A shard worker: listens first, loads its replicas after, and says truthfully which of the two it is doing.
public final class ShardWorker: Service {
    private let configuration: ShardWorkerConfiguration
    private let logger: Logger
    private let copyRate: CopyRate
    /// Called with the port and the admin port (0 without one) once the worker listens on both.
    private let whenListening: @Sendable (Int, Int) -> Void

    public init(configuration: ShardWorkerConfiguration, logger: Logger, whenListening: @escaping @Sendable (Int, Int) -> Void = { _, _ in }) {
        self.configuration = configuration
        self.logger = logger
        copyRate = CopyRate(bytesPerSecond: configuration.copyBytesPerSecond)
        self.whenListening = whenListening
    }

    /// What copies of replicas and backups may take from now on; 0: no limit.
    public func setCopyRate(bytesPerSecond: UInt64) { copyRate.change(toBytesPerSecond: bytesPerSecond) }

    /// Until the process is asked to stop.
    /// - Throws: `failedPrecondition` when the folder is another process's or the coordinator another cluster's, what the disk and the
    ///   network say otherwise.
    public func run() async throws {
        try Endpoint.checkExposure(of: configuration.host, isEncrypted: configuration.tls != nil, isInsecure: configuration.isInsecure)
        let credentials = try await configuration.credentials()
        let receiver = try configuration.tracing?.credentials()
        let folder = try NodeFolder(configuration.dataDirectory)
        var replicas = ReplicaConfiguration()
        replicas.log.segmentBytes = configuration.logSegmentBytes
        replicas.samplesRecall = configuration.samplesRecall
        let registry = MetricsRegistry(MetricDefinition.ofProcesses + MetricDefinition.ofWorkers)
        ProcessMetrics.register(registry)
        let tracer = configuration.tracing.map { tracing in
            Tracer(
                service: "needletail-shard", resource: [SpanAttribute("service.instance.id", .text("\(Incarnation(folder.nodeID))"))],
                sampleRate: tracing.sampleRate, metrics: registry)
        }
        let resources = NodeResources(
            searchThreads: configuration.searchThreads, buildThreads: configuration.buildThreads, searchQueue: configuration.searchQueue,
            configuration: replicas, metrics: ShardMetrics(registry), tracer: tracer)
        let node = LocalNode(directory: configuration.dataDirectory, resources: resources)
        let health = HealthService()
        health.set(.notServing, for: "")
        health.set(.notServing, for: Self.serviceName)
        let threads = TransportThreads(count: configuration.transportThreads)
        let coordinators = try KnownCoordinators(configuration.coordinators) { try KnownCoordinator.connect($0, isConfigured: $1, credentials, threads) }
        let (lease, nudges) = (HeldLease(), Nudges())
        let peers = Peers { host, port in
            var reconnecting = GRPCClientConfiguration()
            reconnecting.maxBackoff = .milliseconds(500)
            reconnecting.tls = credentials.map { .client($0, wanted: .shard) }
            return GRPCClient(host: host, port: port, configuration: reconnecting, group: threads.group)
        }
        let world = ReplicationWorld(
            node: NodeID(folder.nodeID), settings: ReplicationSettings(), startedAt: WallClock.microseconds(), began: .now, lease: lease,
            peer: { RemotePeer(client: try peers.client($0)) }, leader: coordinators, nudge: { nudges.nudge() },
            local: node, reopened: { _ in nudges.nudge() }, logger: logger, copyRate: copyRate)
        let replication = ReplicatedNode(node, world: world, backups: BackupPlaces(environment: configuration.environment))
        node.report(to: registry)
        replication.report(to: registry)
        // Requests of users come in at coordinators, which decide what is traced.
        let handshakes = TLSMetrics(registry)
        let server = makeServer(
            replication, health, credentials, handshakes, threads, RPCMetrics(registry), CallTracing(tracer: tracer, entryServices: []))
        let certificates = TLSWatch([credentials, receiver].compactMap(\.self), metrics: registry, logger: logger)
        let exporter = configuration.tracing.flatMap { tracer?.exporter(to: $0, receiver, on: threads) }
        let port = try await server.listen()
        logger.info("shard worker listens", metadata: ["port": "\(port)", "node": "\(Incarnation(folder.nodeID))"])
        try node.start()

        let heartbeats = HeartbeatLoop(
            folder: folder, node: node, replication: replication, coordinators: coordinators, lease: lease, nudges: nudges,
            address: configuration.advertised ?? "\(configuration.host):\(port)", facts: { [configuration] in configuration.facts }, logger: logger)
        // Whoever is told that the worker is up may ask the coordinator about it: so the coordinator hears first, if it is there.
        var end = End.asked
        var admin: AdminServer.Running?
        let isDraining = Draining()
        do throws(WrongCluster) {
            try await heartbeats.beat(isDraining: false)
            admin = await startAdmin(node, isDraining, registry, credentials, handshakes) { [whenListening] in whenListening(port, $0) }
            end = await withTaskGroup(of: Void.self) { group in
                if let exporter { group.addTask { await exporter.run() } }
                group.addTask { await threads.watchDelay(registry) }
                group.addTask { await certificates.run() }
                defer { group.cancelAll() }
                return await serve(node, replication, health, heartbeats, admin)
            }
        } catch {
            end = .mismatch(error)
        }

        logger.info("shard worker drains")
        isDraining.begin()
        health.set(.notServing, for: "")
        health.set(.notServing, for: Self.serviceName)
        if !end.isMismatch { try? await heartbeats.beat(isDraining: true) }
        await server.shutdown(grace: configuration.drainTime)
        await replication.close()
        await node.close()
        await admin?.stop()
        await peers.close()
        for coordinator in coordinators.all { await coordinator.close() }
        await exporter?.finish(within: .seconds(2))
        await threads.shutdown()
        logger.info("shard worker has stopped")
        switch end {
        case .asked: break
        case .mismatch(let error): throw error.reason
        case .noAdminPort(let error): throw error
        }
    }

    private static let serviceName = "needletail.internal.v1.ShardWorker"
    /// Shards are asked by coordinators alone, and so are backups made. Replication is between workers, and the leader begins it.
    private static let callers: [String: NodeRoles] = [serviceName: .coordinator, "needletail.internal.v1.Backup": .coordinator]

    private func makeServer(
        _ node: ReplicatedNode, _ health: HealthService, _ credentials: TLSCredentials?, _ handshakes: TLSMetrics, _ threads: TransportThreads,
        _ metrics: RPCMetrics, _ tracing: CallTracing
    ) -> GRPCServer {
        var router = GRPCRouter()
        router.registerShardWorker(node)
        router.registerReplication(node) { try await node.follow($0, $1) }
        router.registerBackupWorker(node)
        router.registerHealth(health)
        router.registerReflection(services: router.services())
        var server = GRPCServerConfiguration()
        server.host = configuration.host
        server.port = configuration.port
        server.tls = credentials.map { .server($0, .nodesPort) }
        server.handshakes = handshakes
        server.nodesOnly = { Self.callers[$0] ?? .any }
        server.metrics = metrics
        server.tracing = tracing
        return GRPCServer(configuration: server, router: router, group: threads.group, logger: logger)
    }

    private func startAdmin(
        _ node: LocalNode, _ draining: Draining, _ metrics: MetricsRegistry, _ credentials: TLSCredentials?, _ handshakes: TLSMetrics,
        _ whenListening: @escaping @Sendable (Int) -> Void
    ) async -> AdminServer.Running? {
        guard let port = configuration.adminPort else {
            whenListening(0)
            return nil
        }
        let admin = AdminServer(
            host: configuration.host, port: port, tls: credentials.map { .server($0, .webPort) },
            handshakeFailed: { [logger] in handshakes.failed($0, logger) }, logger: logger, metrics: metrics
        ) {
            draining.hasBegun ? Readiness(isReady: false, reasons: ["draining: the process ends"]) : node.readiness
        }
        return await admin.start(whenListening: whenListening)
    }

    /// Until the process is asked to stop, or cannot go on.
    private func serve(
        _ node: LocalNode, _ replication: ReplicatedNode, _ health: HealthService, _ heartbeats: HeartbeatLoop, _ admin: AdminServer.Running?
    ) async -> End {
        await withTaskGroup(of: End?.self) { group in
            if let admin {
                group.addTask {
                    do { try await admin.untilEnded() } catch { return .noAdminPort(error) }
                    return nil
                }
            }
            group.addTask {
                do throws(WrongCluster) { try await heartbeats.run() } catch { return .mismatch(error) }
                return nil
            }
            group.addTask {
                await self.announceLoaded(node, health)
                return nil
            }
            group.addTask {
                await replication.run()
                return nil
            }
            group.addTask {
                await node.syncLogs()
                return nil
            }
            group.addTask {
                try? await gracefulShutdown()
                return .asked
            }
            defer { group.cancelAll() }
            for await case let end? in group { return end }
            return .asked
        }
    }

    /// Why a worker stops serving.
    private enum End {
        case asked
        /// The coordinator is another cluster's.
        case mismatch(WrongCluster)
        case noAdminPort(any Error)

        var isMismatch: Bool { if case .mismatch = self { true } else { false } }
    }

    private func announceLoaded(_ node: LocalNode, _ health: HealthService) async {
        while !node.isLoaded {
            do { try await Task.sleep(for: .milliseconds(20)) } catch { return }
        }
        health.set(.serving, for: "")
        health.set(.serving, for: Self.serviceName)
        for note in node.recoveryNotes() { logger.warning("\(note)") }
        for replica in node.currentStatus() where replica.state == .failed {
            logger.error("replica does not serve: \(replica.reason)", metadata: ["shard": "\(replica.shard)"])
        }
    }
}

/// Whether a process takes no more requests.
private final class Draining: Sendable {
    private let flag = Atomic(false)

    var hasBegun: Bool { flag.load(ordering: .acquiring) }
    func begin() { flag.store(true, ordering: .releasing) }
}

extension LocalNode {
    /// Whether it serves all the replicas that it has, and which it does not.
    fileprivate var readiness: Readiness {
        let missing = currentStatus().filter { $0.state == .loading || $0.state == .failed }
        let named = missing.prefix(20).map { "shard \($0.shard): \($0.reason)" }
        let more = missing.count > 20 ? ["and \(missing.count - 20) more"] : []
        return Readiness(isReady: isLoaded && missing.isEmpty, reasons: isLoaded || !missing.isEmpty ? named + more : ["replicas are being looked for"])
    }
}
