public import Logging
internal import Glibc
internal import NeedletailAPI
internal import NeedletailBackup
internal import NeedletailCluster
internal import NeedletailCore
internal import NeedletailGRPC
internal import NeedletailShard
internal import NeedletailStorage
public import ServiceLifecycle

/// What a shard worker process is told at its start.
public struct ShardWorkerConfiguration: Sendable {
    public var host = "127.0.0.1"
    /// 0: any free port.
    public var port = 7470
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
    public var transportThreads = 1
    /// A log's segment that reached this size is followed by another; whole segments that a checkpoint holds are removed.
    public var logSegmentBytes = 64 << 20
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

/// A shard worker: listens first, loads its replicas after, and says truthfully which of the two it is doing.
public final class ShardWorker: Service {
    private let configuration: ShardWorkerConfiguration
    private let logger: Logger
    /// Called with the port once the worker listens.
    private let whenListening: @Sendable (Int) -> Void

    public init(configuration: ShardWorkerConfiguration, logger: Logger, whenListening: @escaping @Sendable (Int) -> Void = { _ in }) {
        self.configuration = configuration
        self.logger = logger
        self.whenListening = whenListening
    }

    /// Until the process is asked to stop.
    /// - Throws: `failedPrecondition` when the folder is another process's or the coordinator another cluster's, what the disk and the
    ///   network say otherwise.
    public func run() async throws {
        let folder = try NodeFolder(configuration.dataDirectory)
        var replicas = ReplicaConfiguration()
        replicas.log.segmentBytes = configuration.logSegmentBytes
        let resources = NodeResources(
            searchThreads: configuration.searchThreads, buildThreads: configuration.buildThreads, searchQueue: configuration.searchQueue,
            configuration: replicas)
        let node = LocalNode(directory: configuration.dataDirectory, resources: resources)
        let health = HealthService()
        health.set(.notServing, for: "")
        health.set(.notServing, for: Self.serviceName)
        let threads = TransportThreads(count: configuration.transportThreads)
        let coordinators = try KnownCoordinators(configuration.coordinators) { try KnownCoordinator.connect($0, isConfigured: $1, threads) }
        let (lease, nudges) = (HeldLease(), Nudges())
        let peers = Peers { host, port in
            var reconnecting = GRPCClientConfiguration()
            reconnecting.maxBackoff = .milliseconds(500)
            return GRPCClient(host: host, port: port, configuration: reconnecting, group: threads.group)
        }
        let world = ReplicationWorld(
            node: NodeID(folder.nodeID), settings: ReplicationSettings(), startedAt: Self.microseconds(), began: .now, lease: lease,
            peer: { RemotePeer(client: try peers.client($0)) }, leader: coordinators, nudge: { nudges.nudge() },
            local: node, reopened: { _ in nudges.nudge() }, logger: logger)
        let replication = ReplicatedNode(node, world: world, backups: BackupPlaces(environment: configuration.environment))
        let server = makeServer(replication, health, threads)
        let port = try await server.listen()
        logger.info("shard worker listens", metadata: ["port": "\(port)", "node": "\(Incarnation(folder.nodeID))"])
        try node.start()

        let heartbeats = HeartbeatLoop(
            folder: folder, node: node, replication: replication, coordinators: coordinators, lease: lease, nudges: nudges,
            address: configuration.advertised ?? "\(configuration.host):\(port)", facts: { [configuration] in configuration.facts }, logger: logger)
        // Whoever is told that the worker is up may ask the coordinator about it: so the coordinator hears first, if it is there.
        var mismatch: WrongCluster?
        do throws(WrongCluster) { try await heartbeats.beat(isDraining: false) } catch { mismatch = error }
        if mismatch == nil {
            whenListening(port)
            mismatch = await serve(node, replication, health, heartbeats)
        }

        logger.info("shard worker drains")
        health.set(.notServing, for: "")
        health.set(.notServing, for: Self.serviceName)
        if mismatch == nil { try? await heartbeats.beat(isDraining: true) }
        await server.shutdown(grace: configuration.drainTime)
        await replication.close()
        await node.close()
        await peers.close()
        for coordinator in coordinators.all { await coordinator.close() }
        await threads.shutdown()
        logger.info("shard worker has stopped")
        if let mismatch { throw mismatch.reason }
    }

    private static let serviceName = "needletail.internal.v1.ShardWorker"

    /// On a clock that goes on between processes.
    private static func microseconds() -> Int64 {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000
    }

    private func makeServer(_ node: ReplicatedNode, _ health: HealthService, _ threads: TransportThreads) -> GRPCServer {
        var router = GRPCRouter()
        router.registerShardWorker(node)
        router.registerReplication(node) { try await node.follow($0, $1) }
        router.registerBackupWorker(node)
        router.registerHealth(health)
        router.registerReflection(services: router.services())
        var server = GRPCServerConfiguration()
        server.host = configuration.host
        server.port = configuration.port
        return GRPCServer(configuration: server, router: router, group: threads.group, logger: logger)
    }

    /// Until the process is asked to stop, or the coordinator turns out to be another cluster's.
    private func serve(_ node: LocalNode, _ replication: ReplicatedNode, _ health: HealthService, _ heartbeats: HeartbeatLoop) async -> WrongCluster? {
        await withTaskGroup(of: End?.self) { group in
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
                while !Task.isCancelled {
                    node.syncLogs()
                    try? await Task.sleep(for: .milliseconds(5))
                }
                return nil
            }
            group.addTask {
                try? await gracefulShutdown()
                return .asked
            }
            defer { group.cancelAll() }
            for await case let end? in group {
                if case .mismatch(let error) = end { return error }
                return nil
            }
            return nil
        }
    }

    /// Why a worker stops serving.
    private enum End {
        case asked
        case mismatch(WrongCluster)
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
