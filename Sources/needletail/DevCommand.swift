import ArgumentParser
import Foundation
import Logging
import NeedletailCoordinator
import NeedletailCore
import NeedletailSecurity
import NeedletailTelemetry
import NeedletailWorker
import ServiceLifecycle
import UnixSignals

struct DevCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dev",
        abstract: "Runs a whole cluster in this process: a coordinator and one shard worker.",
        discussion: """
            The same code as the separate executables, talking over loopback. Data stay in the folder; start it again with the same
            folder and everything is there. Stop it with ctrl-C.

            Example: needletail dev --data ./data --listen 127.0.0.1:7460
            """)

    @Option(help: "Folder for the data; made when missing.") var data = "needletail-data"
    @Option(help: "Address for clients; port 0 takes any free one.") var listen = "127.0.0.1:7460"
    @Option(help: "Port for HTTP on the same host: the console, the API in JSON, probes and metrics; 0 takes any free one, \"off\" has none.")
    var admin = "7461"
    @Flag(help: "Listen on other addresses than loopback: everybody on that network can read and write all data.") var insecure = false
    @Option(help: "File with an administrator's key, with which every caller is asked for a key; NEEDLETAIL_ADMIN_KEY when left out.")
    var adminKeyFile: String?
    @Option(help: "trace, debug, info, notice, warning or error.") var logLevel = "info"
    @Option(help: "File to write the port and the admin port to once the cluster listens.") var portFile: String?

    func run() async throws {
        try Logs.check(logLevel)
        let logger = Logs.start(label: "needletail", level: logLevel)
        var coordinator = CoordinatorConfiguration()
        (coordinator.host, coordinator.port) = try Endpoint.parse(listen)
        coordinator.adminPort = try AdminPort.parse(admin)
        coordinator.isInsecure = insecure
        coordinator.access.adminKey = try AccessConfiguration.secret(
            file: adminKeyFile, variable: "NEEDLETAIL_ADMIN_KEY", environment: ProcessInfo.processInfo.environment)
        coordinator.dataDirectory = data + "/coordinator"
        coordinator.environment = ProcessInfo.processInfo.environment
        let (ports, found) = AsyncStream<Int>.makeStream()
        let portFile = portFile
        let door = CoordinatorService(configuration: coordinator, logger: logger) { port, adminPort in
            if let portFile { try? "\(port) \(adminPort)\n".write(toFile: portFile, atomically: true, encoding: .utf8) }
            found.yield(port)
            found.finish()
        }
        let worker = WorkerOfCoordinator(data: data, host: coordinator.host, ports: ports, logger: logger)
        // Stopped in reverse: the worker first, while the coordinator still answers.
        try await ServiceGroup(services: [door, worker], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger).run()
    }
}

/// Starts the shard worker once the coordinator's port is known.
private struct WorkerOfCoordinator: Service {
    let data: String
    let host: String
    let ports: AsyncStream<Int>
    let logger: Logger

    func run() async throws {
        guard let port = await ports.first(where: { _ in true }) else { return }
        var configuration = ShardWorkerConfiguration(cores: ProcessInfo.processInfo.activeProcessorCount)
        configuration.port = 0
        let reachable = host == "0.0.0.0" || host == "::" ? "127.0.0.1" : host
        configuration.coordinators = [reachable.contains(":") ? "[\(reachable)]:\(port)" : "\(reachable):\(port)"]
        configuration.dataDirectory = data + "/shard"
        configuration.environment = ProcessInfo.processInfo.environment
        try await ShardWorker(configuration: configuration, logger: logger).run()
    }
}
