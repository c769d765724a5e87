internal import Hummingbird
public import Logging
internal import NeedletailCore
internal import NIOCore
public import NeedletailTelemetry

/// Whether a process is fit to be asked, in words for people and machines.
public struct Readiness: Sendable {
    public var isReady: Bool
    /// What it waits for; empty when ready.
    public var reasons: [String]

    public init(isReady: Bool, reasons: [String]) {
        self.isReady = isReady
        self.reasons = reasons
    }
}

/// The HTTP port for load balancers, orchestrators and Prometheus, who ask in plain HTTP.
///
/// - `GET /healthz`: 200 while the process runs.
/// - `GET /metrics`: all metrics, in Prometheus' text format.
/// - `GET /readyz`: 200 when it is fit to be asked, 503 otherwise; JSON with the reasons either way.
public struct AdminServer: Sendable {
    private let host: String
    private let port: Int
    private let readiness: @Sendable () -> Readiness
    private let logger: Logger
    private let metrics: MetricsRegistry

    /// - Parameter port: 0 takes any free one.
    public init(host: String, port: Int, logger: Logger, metrics: MetricsRegistry, readiness: @escaping @Sendable () -> Readiness) {
        self.host = host
        self.port = port
        self.logger = logger
        self.readiness = readiness
        self.metrics = metrics
    }

    /// Serves until the task is cancelled; `whenListening` is called with the port.
    /// - Throws: `unavailable` when the port is taken.
    public func run(whenListening: @escaping @Sendable (Int) -> Void = { _ in }) async throws {
        let router = Router()
        router.get("healthz") { _, _ in Self.json("{\"status\": \"ok\", \"version\": \"\(NeedletailVersion.current)\"}\n", .ok) }
        router.get("readyz") { [readiness] _, _ in
            let state = readiness()
            let reasons = state.reasons.map(Self.quoted).joined(separator: ", ")
            return Self.json("{\"ready\": \(state.isReady), \"reasons\": [\(reasons)]}\n", state.isReady ? .ok : .serviceUnavailable)
        }
        router.get("metrics") { [metrics] _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"], body: .init(byteBuffer: ByteBuffer(string: metrics.text())))
        }
        let application = Application(
            router: router, configuration: .init(address: .hostname(host, port: port), serverName: "needletail"),
            onServerRunning: { channel in whenListening(channel.localAddress?.port ?? 0) }, logger: logger)
        do {
            try await application.run()
        } catch is CancellationError {
            return
        } catch {
            throw NeedletailError(
                .unavailable, "cannot listen on \(host):\(port) for the admin port; check that the port is free, or choose another with --admin",
                cause: error)
        }
    }

    private static func json(_ text: String, _ status: HTTPResponse.Status) -> Response {
        Response(status: status, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    /// The text as a JSON string.
    private static func quoted(_ text: String) -> String {
        var quoted = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": quoted += "\\\""
            case "\\": quoted += "\\\\"
            case _ where scalar.value < 0x20: quoted += " "
            default: quoted.unicodeScalars.append(scalar)
            }
        }
        return quoted + "\""
    }
}
