import ArgumentParser
import Foundation
import NeedletailClient
import NeedletailFlags

/// What every command takes.
struct ClusterOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A coordinator of the cluster, with TLS https://host:port; NEEDLETAIL_ENDPOINT sets the default, else 127.0.0.1:7460.",
            valueName: "host:port"))
    var endpoint: String?

    @OptionGroup(title: "Access and encryption") var security: ClientSecurityFlags

    @Option(help: ArgumentHelp("How long one request may take, in seconds.", valueName: "seconds"))
    var timeout: Double = 30

    @Flag(help: "Print JSON: one document, or one line for each thing.")
    var json = false

    func validate() throws {
        guard timeout > 0, timeout < 1e6 else { throw ValidationError("--timeout must be above 0 seconds.") }
    }

    var deadline: Deadline { Self.deadline(timeout) }

    static func deadline(_ seconds: Double) -> Deadline { .after(.milliseconds(Int(seconds * 1000))) }

    /// Connects, runs `body`, closes.
    func withCluster(_ body: (RemoteCluster) async throws -> Void) async throws {
        let endpoint =
            endpoint ?? ProcessInfo.processInfo.environment["NEEDLETAIL_ENDPOINT"] ?? "127.0.0.1:\(NeedletailCluster.defaultPort)"
        let cluster = try NeedletailCluster.connect(endpoint, security: security.security)
        do {
            try await body(cluster.operations)
        } catch {
            await cluster.close()
            throw error
        }
        await cluster.close()
    }
}
