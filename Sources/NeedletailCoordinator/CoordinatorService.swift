public import Logging
internal import NeedletailAPI
internal import NeedletailAdmin
internal import NeedletailBackup
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailGRPC
public import NeedletailHTTP2
public import NeedletailMetadata
public import NeedletailSecurity
public import NeedletailTelemetry
public import ServiceLifecycle

/// What a coordinator process is told at its start.
public struct CoordinatorConfiguration: Sendable {
    public var host = "127.0.0.1"
    /// 0: any free port.
    public var port = 7460
    /// The HTTP port for probes; 0: any free port, nil: none.
    public var adminPort: Int? = 7461
    /// host:port at which workers and other coordinators reach this one; the listening address when nil.
    public var advertised: String?
    /// Where the cluster's metadata are; nil: in `dataDirectory`, for a cluster of one coordinator. The service closes it.
    public var metadata: (any MetadataStore)?
    public var dataDirectory = "needletail-data/coordinator"
    /// Of the process: has what backups in S3 need.
    public var environment: [String: String] = [:]
    /// Of the lease that a coordinator which shares its metadata with others has there: when the leader dies, another takes over after it.
    public var leaseLength = Duration.seconds(2)
    public var transportThreads = 1
    /// The certificate to show and the authorities to trust; nil: without TLS.
    public var tls: TLSFiles?
    /// Whether to listen for others without TLS all the same.
    public var isInsecure = false
    /// Of other connections (to etcd), to be kept up to date.
    public var otherCredentials: [TLSCredentials] = []
    /// Where traces go; nil: there are none.
    public var tracing: TracingConfiguration?
    /// What may change later.
    public var live = LiveSettings.Values()
    /// Who may do what, and who writes down what they did.
    public var access = AccessConfiguration()
    /// How long requests under way may take when the process is asked to stop.
    public var drainTime = Duration.seconds(10)

    public init() {}
}

extension CoordinatorConfiguration {
    fileprivate func credentials() async throws(NeedletailError) -> TLSCredentials? {
        guard let tls else { return nil }
        return try await TLSCredentials(tls, uses: [.publicPort, .webPort, .client, .anonymousClient], node: .coordinator)
    }
}

/// A coordinator process: serves the public API and the workers' heartbeats on one port.
public final class CoordinatorService: Service {
    private let configuration: CoordinatorConfiguration
    private let logger: Logger
    private let whenListening: @Sendable (Int, Int) -> Void
    /// What may change while it runs.
    public let live: LiveSettings

    /// - Parameter whenListening: called with the port and the admin port (0 without one) once the coordinator listens on both.
    public init(configuration: CoordinatorConfiguration, logger: Logger, whenListening: @escaping @Sendable (Int, Int) -> Void = { _, _ in }) {
        self.configuration = configuration
        self.logger = logger
        live = LiveSettings(configuration.live)
        self.whenListening = whenListening
    }

    public func run() async throws {
        try Endpoint.checkExposure(of: configuration.host, isEncrypted: configuration.tls != nil, isInsecure: configuration.isInsecure)
        let credentials = try await configuration.credentials()
        let receiver = try configuration.tracing?.credentials()
        let threads = TransportThreads(count: configuration.transportThreads)
        let metadata = try configuration.metadata ?? EmbeddedMetadataStore(directory: configuration.dataDirectory)
        if !metadata.isExclusive { try checkAdvertised() }
        let registry = MetricsRegistry(MetricDefinition.ofProcesses + MetricDefinition.ofCoordinators)
        ProcessMetrics.register(registry)
        let tracer = configuration.tracing.map { [live] _ in
            Tracer(service: "needletail-coordinator", resource: Self.resource(configuration), sampleRate: live.current.traceSample, metrics: registry)
        }
        let coordinator = try await open(metadata, credentials, threads, CoordinatorMetrics(registry), tracer)
        coordinator.report(to: registry)
        let introduction = ConnectGateway.Introduction()
        let gate = try await makeGate(coordinator, introduction)
        let health = HealthService()
        for service in [Self.overall] + Self.readyWithShards { health.set(.notServing, for: service) }
        for service in Self.readyAtOnce { health.set(.serving, for: service) }
        let handshakes = TLSMetrics(registry)
        let server = makeServer(
            coordinator, gate, health, credentials, handshakes, threads, RPCMetrics(registry), CallTracing(tracer: tracer, entryServices: Self.entries))
        let certificates = TLSWatch([credentials, receiver].compactMap(\.self) + configuration.otherCredentials, metrics: registry, logger: logger)
        let port = try await server.listen()
        coordinator.address = configuration.advertised ?? "\(configuration.host.contains(":") ? "[\(configuration.host)]" : configuration.host):\(port)"
        logger.info("coordinator listens", metadata: ["port": "\(port)", "cluster": "\(Incarnation(coordinator.clusterID))"])
        let exporter = configuration.tracing.flatMap { tracer?.exporter(to: $0, receiver, on: threads) }
        let own = ownClient(port, credentials, threads)
        let gateway = ConnectGateway(own, introduction)
        let door = AdminDoor(configuration.access, host: configuration.host, gate: gate)
        let admin = await startAdmin(coordinator, registry, gateway, door, credentials, handshakes) { [whenListening, logger, configuration] adminPort in
            if adminPort > 0 { logger.info("the console is at \(credentials == nil ? "http" : "https")://\(configuration.host):\(adminPort)/") }
            whenListening(port, adminPort)
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let exporter { group.addTask { await exporter.run() } }
            group.addTask { await threads.watchDelay(registry) }
            group.addTask { await certificates.run() }
            defer { group.cancelAll() }
            if let gate { group.addTask { await self.tend(gate.authenticator, coordinator) } }
            try await serve(coordinator, health, admin)
        }

        logger.info("coordinator drains")
        coordinator.beginDraining()
        for service in [Self.overall] + Self.readyWithShards + Self.readyAtOnce { health.set(.notServing, for: service) }
        // Another coordinator may lead before the last request here has ended.
        await coordinator.resign()
        await server.shutdown(grace: configuration.drainTime)
        await coordinator.close()
        await admin?.stop()
        await own.close()
        await metadata.close()
        await exporter?.finish(within: Self.lastExport)
        await threads.shutdown()
        logger.info("coordinator has stopped")
    }

    /// For the spans of the last requests; a receiver that is away must not hold the end up.
    private static let lastExport = Duration.seconds(2)
    /// Where requests of users come in.
    private static let entries = Set(readyWithShards + ["needletail.v1.Collections", "needletail.v1.Cluster", "needletail.v1.Backups", "needletail.v1.Access"])

    private static func resource(_ configuration: CoordinatorConfiguration) -> [SpanAttribute] {
        [SpanAttribute("service.instance.id", .text(configuration.advertised ?? "\(configuration.host):\(configuration.port)"))]
    }

    private func open(
        _ metadata: any MetadataStore, _ credentials: TLSCredentials?, _ threads: TransportThreads, _ metrics: CoordinatorMetrics, _ tracer: Tracer?
    ) async throws -> Coordinator {
        @Sendable func client(_ address: String, _ wanted: NodeRoles) throws -> GRPCClient {
            let (host, port) = try Endpoint.parse(address)
            var configuration = GRPCClientConfiguration()
            configuration.tls = credentials.map { .client($0, wanted: wanted) }
            return GRPCClient(host: host, port: port, configuration: configuration, group: threads.group)
        }
        return try await Coordinator.open(
            metadata: metadata, leaseLength: configuration.leaseLength, live: live,
            backups: BackupPlaces(environment: configuration.environment), metrics: metrics, tracer: tracer,
            slowQueries: SlowQueryLog(logger: logger),
            connectCoordinator: { address in
                let client = try client(address, .coordinator)
                return Coordinator.CoordinatorLink(
                    operations: RemoteCluster(client, isForwarding: true), close: { await client.close() })
            },
            connect: { address in
                let client = try client(address, .shard)
                return Coordinator.WorkerLink(
                    operations: RemoteShardWorker(client), replication: RemoteReplication(client), backups: RemoteBackupWorker(client),
                    retryNow: { client.resetBackoff() }, close: { await client.close() })
            })
    }

    /// - Throws: `invalidArgument` when nobody could reach this coordinator at the address it would tell.
    private func checkAdvertised() throws {
        if let advertised = configuration.advertised {
            _ = try Endpoint.parse(advertised)
        } else if ["0.0.0.0", "::"].contains(configuration.host) {
            throw NeedletailError(
                .invalidArgument, "listening on every address, a coordinator has to be told one at which others reach it: --advertise host:port")
        }
    }

    /// What stands before the public API; nil when nobody is asked for anything.
    /// - Throws: `failedPrecondition` when there are keys and nobody would ask for them.
    private func makeGate(_ coordinator: Coordinator, _ introduction: ConnectGateway.Introduction) async throws -> AccessGate? {
        let access = configuration.access
        if access.asksForKeys { coordinator.askForKeys() }
        if !access.asksForKeys, coordinator.hasAccessKeys { throw Self.wideOpen }
        guard access.isNeeded else { return nil }
        let authenticator = try await Authenticator(access) { [weak coordinator] in coordinator?.accessKey($0) }
        return AccessGate(
            authenticator: authenticator, audit: access.audit, goesOnWithoutAudit: access.goesOnWithoutAudit, metrics: coordinator.metrics,
            introduction: introduction)
    }

    private static let wideOpen = NeedletailError(
        .failedPrecondition,
        "this cluster has API keys, and without --admin-key-file (or NEEDLETAIL_ADMIN_KEY) nobody would be asked for one here: give it")

    /// Until another coordinator, which asks for keys, has made one: this one must not be the door beside that.
    private func untilThereAreKeys(_ coordinator: Coordinator) async throws {
        while !Task.isCancelled {
            if coordinator.hasAccessKeys { throw Self.wideOpen }
            try? await Task.sleep(for: .milliseconds(100))
        }
    }

    /// Reads key sets again that have changed, and notes which keys are in use.
    private func tend(_ authenticator: Authenticator, _ coordinator: Coordinator) async {
        var last = ""
        while !Task.isCancelled {
            do {
                try await authenticator.refresh()
                try await coordinator.noteUses(authenticator.takeUses())
                last = ""
            } catch {
                let problem = Coordinator.wrap(error).message
                if problem != last, !Task.isCancelled { logger.warning("access: \(problem)") }
                last = problem
            }
            try? await Task.sleep(for: .seconds(1))
        }
    }

    private static let overall = ""
    /// Answers need every shard.
    private static let readyWithShards = ["needletail.v1.Points"]
    /// Answers need the metadata only, which are read before the port opens.
    private static let readyAtOnce = [
        "needletail.v1.Collections", "needletail.v1.Cluster", "needletail.v1.Backups", "needletail.v1.Access", "needletail.internal.v1.Membership",
    ]

    private func makeServer(
        _ coordinator: Coordinator, _ gate: AccessGate?, _ health: HealthService, _ credentials: TLSCredentials?, _ handshakes: TLSMetrics,
        _ threads: TransportThreads, _ metrics: RPCMetrics, _ tracing: CallTracing
    ) -> GRPCServer {
        var router = GRPCRouter()
        if let gate {
            router.registerCluster(AuthorizedCluster(cluster: coordinator, authenticator: gate.authenticator))
            router.guardCalls(by: gate)
        } else {
            router.registerCluster(coordinator)
        }
        router.registerMembership(coordinator)
        router.registerLeader(coordinator)
        router.registerHealth(health)
        router.registerReflection(services: router.services())
        var server = GRPCServerConfiguration()
        server.host = configuration.host
        server.port = configuration.port
        server.tls = credentials.map { .server($0, .publicPort) }
        server.handshakes = handshakes
        // Heartbeats and the wishes of primaries: from shard workers alone.
        server.nodesOnly = { $0.hasPrefix("needletail.internal.") ? .shard : nil }
        server.metrics = metrics
        server.tracing = tracing
        return GRPCServer(configuration: server, router: router, group: threads.group, logger: logger)
    }

    /// A way to this process's own port, for requests that came over HTTP: they are no node's, so it shows no certificate.
    private func ownClient(_ port: Int, _ credentials: TLSCredentials?, _ threads: TransportThreads) -> GRPCClient {
        let hosts = ["0.0.0.0": "127.0.0.1", "::": "::1"]
        var client = GRPCClientConfiguration()
        client.tls = credentials.map { .client($0, .anonymousClient, wanted: .coordinator, checksHost: false) }
        return GRPCClient(host: hosts[configuration.host] ?? configuration.host, port: port, configuration: client, group: threads.group)
    }

    private func startAdmin(
        _ coordinator: Coordinator, _ metrics: MetricsRegistry, _ gateway: ConnectGateway, _ door: AdminDoor, _ credentials: TLSCredentials?,
        _ handshakes: TLSMetrics, _ whenListening: @escaping @Sendable (Int) -> Void
    ) async -> AdminServer.Running? {
        guard let port = configuration.adminPort else {
            whenListening(0)
            return nil
        }
        let admin = AdminServer(
            host: configuration.host, port: port, tls: credentials.map { .server($0, .webPort) },
            handshakeFailed: { [logger] in handshakes.failed($0, logger) }, logger: logger, metrics: metrics, door: { await door.refusal($0) },
            methods: { await gateway.answer($0) },
            pages: Console.pages
        ) { coordinator.readiness }
        return await admin.start(whenListening: whenListening)
    }

    /// Until the process is asked to stop.
    private func serve(_ coordinator: Coordinator, _ health: HealthService, _ admin: AdminServer.Running?) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            if let admin { group.addTask { try await admin.untilEnded() } }
            if !configuration.access.asksForKeys { group.addTask { try await self.untilThereAreKeys(coordinator) } }
            group.addTask { try? await gracefulShutdown() }
            group.addTask { await coordinator.runBackups(logger: self.logger) }
            group.addTask {
                while !Task.isCancelled {
                    let status: ServingStatus = coordinator.isReady ? .serving : .notServing
                    for service in [Self.overall] + Self.readyWithShards { health.set(status, for: service) }
                    try? await Task.sleep(for: .milliseconds(100))
                }
            }
            group.addTask { await coordinator.decide(logger: self.logger) }
            if !coordinator.metadata.isExclusive {
                group.addTask { await coordinator.follow { self.logger.warning("the cluster map may be out of date: \($0.message)") } }
                group.addTask { await coordinator.lead { self.logger.warning("this coordinator may not lead: \($0.message)") } }
                group.addTask { await self.tellWhoLeads(coordinator) }
            }
            group.addTask {
                while !Task.isCancelled {
                    await coordinator.cleanUp()
                    await coordinator.forgetNodes()
                    await coordinator.planMoves()
                    await coordinator.planSplits()
                    await coordinator.planMerges()
                    try? await Task.sleep(for: .seconds(1))
                }
            }
            group.addTask {
                while !Task.isCancelled {
                    for failure in await coordinator.trainWhatIsDue(quiet: .milliseconds(1500)) {
                        self.logger.warning(
                            "a codec could not be trained, trying again: \(failure.reason)",
                            metadata: ["collection": "\(failure.collection)", "field": "\(failure.field)"])
                    }
                    try? await Task.sleep(for: .milliseconds(500))
                }
            }
            // Ends with the first of: a request to stop, a port that cannot be had.
            try await group.next()
            group.cancelAll()
        }
    }

    private func tellWhoLeads(_ coordinator: Coordinator) async {
        var led = false
        while !Task.isCancelled {
            let leads = coordinator.isLeader
            if leads != led { logger.notice(leads ? "this coordinator leads from now on" : "this coordinator leads no longer") }
            led = leads
            try? await Task.sleep(for: .milliseconds(50))
        }
    }
}
