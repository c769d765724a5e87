import ArgumentParser
import Foundation
import NeedletailCoordinator
import NeedletailCore
import NeedletailTelemetry
import ServiceLifecycle
import UnixSignals

@main
struct CoordinatorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "needletail-coordinator",
        abstract: "A coordinator: the door for clients and the control plane of a cluster.",
        discussion: """
            Clients and shard workers talk to it. Its data folder holds the cluster's metadata: which collections there are and where
            their shards live.

            Example: needletail-coordinator --data /var/lib/needletail --listen 10.0.0.2:7460
            """,
        version: NeedletailVersion.current)

    @Option(help: "Folder for the cluster's metadata; made when missing.") var data = "needletail-data/coordinator"
    @Option(help: "Address to listen on; port 0 takes any free one.") var listen = "127.0.0.1:7460"
    @Option(help: "Port for HTTP probes (/healthz, /readyz) on the same host; 0 takes any free one, \"off\" has none.") var admin = "7461"
    @Option(help: "Seconds that requests under way may take at shutdown.") var drainSeconds = 10
    @Option(help: "trace, debug, info, notice, warning or error.") var logLevel = "info"
    @Option(help: "File to write the port and the admin port to once the coordinator listens.") var portFile: String?

    func run() async throws {
        let logger = Logs.start(label: "needletail-coordinator", level: logLevel)
        var configuration = CoordinatorConfiguration()
        (configuration.host, configuration.port) = try Endpoint.parse(listen)
        configuration.adminPort = try AdminPort.parse(admin)
        configuration.dataDirectory = data
        configuration.drainTime = .seconds(drainSeconds)
        let portFile = portFile
        let service = CoordinatorService(configuration: configuration, logger: logger) { port, adminPort in
            if let portFile { try? "\(port) \(adminPort)\n".write(toFile: portFile, atomically: true, encoding: .utf8) }
        }
        let group = ServiceGroup(services: [service], gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
        try await group.run()
    }

    /// The library's own `main` would print the code's name and the cause.
    static func main() async {
        do {
            var command = try parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let error as NeedletailError {
            Failure.exit("needletail-coordinator", error)
        } catch {
            exit(withError: error)
        }
    }
}
