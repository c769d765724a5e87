internal import Dispatch
internal import HTTPTypes
internal import Hummingbird
internal import HummingbirdCore
public import Logging
public import NeedletailCore
public import NeedletailHTTP2
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

/// The HTTP port for load balancers, orchestrators and Prometheus.
///
/// - `GET /healthz`: 200 while the process runs.
/// - `GET /metrics`: all metrics, in Prometheus' text format.
/// - `GET /readyz`: 200 when it is fit to be asked, 503 otherwise; the reasons either way.
///
/// Probes answer in JSON, or as text to who prefers it (`Accept: text/plain`).
public struct AdminServer: Sendable {
    private let host: String
    private let port: Int
    private let tls: ConnectionTLS?
    private let handshakeFailed: @Sendable (NeedletailError) -> Void
    private let readiness: @Sendable () -> Readiness
    private let logger: Logger
    private let metrics: MetricsRegistry
    private let door: (@Sendable (AdminRequest) async -> AdminAnswer?)?
    private let methods: (@Sendable (AdminRequest) async -> AdminAnswer)?
    private let pages: [String: AdminPage]

    /// How long a client may be silent, between two requests or in the middle of one.
    private static let silence = TimeAmount.seconds(30)

    /// - Parameters:
    ///   - port: 0 takes any free one.
    ///   - tls: for HTTPS.
    ///   - handshakeFailed: is told of connections that TLS refused.
    ///   - door: refuses requests before anything is done about them; nil: takes all.
    ///   - methods: answers `POST /service/method`, if anybody does.
    ///   - pages: by their paths.
    public init(
        host: String, port: Int, tls: ConnectionTLS? = nil, handshakeFailed: @escaping @Sendable (NeedletailError) -> Void = { _ in }, logger: Logger,
        metrics: MetricsRegistry, door: (@Sendable (AdminRequest) async -> AdminAnswer?)? = nil,
        methods: (@Sendable (AdminRequest) async -> AdminAnswer)? = nil, pages: [String: AdminPage] = [:], readiness: @escaping @Sendable () -> Readiness
    ) {
        self.door = door
        self.methods = methods
        self.pages = pages
        self.host = host
        self.port = port
        self.tls = tls
        self.handshakeFailed = handshakeFailed
        self.logger = logger
        self.readiness = readiness
        self.metrics = metrics
    }

    /// One that serves, until it is stopped: also while the process drains, so that it can say so.
    public struct Running: Sendable {
        fileprivate let task: Task<Void, any Error>
        fileprivate let end: AsyncStream<Void>

        /// Returns when it has ended, or the waiting task is cancelled.
        /// - Throws: `unavailable` when the port is taken.
        public func untilEnded() async throws {
            for await _ in end {}
            if !Task.isCancelled { try await task.value }
        }

        public func stop() async {
            task.cancel()
            _ = await task.result
        }
    }

    /// - Parameter whenListening: called with the port.
    public func start(whenListening: @escaping @Sendable (Int) -> Void = { _ in }) async -> Running {
        let (end, continuation) = AsyncStream.makeStream(of: Void.self)
        // Begun outside of every task: a task of the service would hear that the process is to stop, and Hummingbird would stop at once.
        return await withCheckedContinuation { started in
            DispatchQueue.global().async {
                let task = Task {
                    defer { continuation.finish() }
                    try await run(whenListening)
                }
                started.resume(returning: Running(task: task, end: end))
            }
        }
    }

    private func run(_ whenListening: @escaping @Sendable (Int) -> Void) async throws {
        let router = Router(context: AdminContext.self, options: .autoGenerateHeadEndpoints)
        if let door { router.add(middleware: Door(refusal: door)) }
        router.get("healthz") { request, _ in
            Self.wantsText(request)
                ? Self.text("ok\n", .ok) : Self.json("{\"status\": \"ok\", \"version\": \"\(NeedletailVersion.current)\"}\n", .ok)
        }
        router.get("readyz") { [readiness] request, _ in
            let state = readiness()
            let status: HTTPResponse.Status = state.isReady ? .ok : .serviceUnavailable
            if Self.wantsText(request) {
                return Self.text((state.isReady ? "ready\n" : "not ready\n") + state.reasons.map { "\($0)\n" }.joined(), status)
            }
            let reasons = state.reasons.map(Self.quoted).joined(separator: ", ")
            return Self.json("{\"ready\": \(state.isReady), \"reasons\": [\(reasons)]}\n", status)
        }
        router.get("metrics") { [metrics] _, _ in
            Response(
                status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"], body: .init(byteBuffer: ByteBuffer(string: metrics.text())))
        }
        for (path, page) in pages { router.get(RouterPath(path)) { _, _ in Self.response(page) } }
        if let methods {
            let bodies = RequestBodies()
            router.post("{service}/{method}") { request, context in
                Self.response(try await bodies.withBody(of: request) { await methods(AdminRequest(request, body: $0, peer: context.peer)) })
            }
        }
        // Hummingbird calls every stop an error.
        var quiet = logger
        quiet.logLevel = .critical
        let application = Application(
            router: router,
            server: HTTPServerBuilder { [tls, handshakeFailed] responder in
                GuardedChannel(
                    base: HTTP1Channel(responder: responder, configuration: .init(idleTimeout: Self.silence)), tls: tls, handshakeFailed: handshakeFailed)
            }, configuration: .init(address: .hostname(host, port: port), serverName: "needletail"),
            onServerRunning: { channel in whenListening(channel.localAddress?.port ?? 0) }, logger: quiet)
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

    private static func response(_ page: AdminPage) -> Response {
        var headers = HTTPFields()
        headers[.contentType] = page.contentType
        headers[.contentSecurityPolicy] = AdminPage.policy
        headers[.xContentTypeOptions] = "nosniff"
        headers[.cacheControl] = "no-cache"
        if let name = HTTPField.Name("referrer-policy") { headers[name] = "no-referrer" }
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: page.content))
    }

    /// Asked of every request, before its body is read.
    private struct Door: RouterMiddleware {
        typealias Context = AdminContext
        let refusal: @Sendable (AdminRequest) async -> AdminAnswer?

        @concurrent
        func handle(
            _ request: Request, context: Context, next: @concurrent (Request, Context) async throws -> Response
        ) async throws -> Response {
            if let answer = await refusal(AdminRequest(request, body: ByteBuffer(), peer: context.peer)) { return AdminServer.response(answer) }
            return try await next(request, context)
        }
    }

    fileprivate static func response(_ answer: AdminAnswer) -> Response {
        var headers = HTTPFields()
        for header in answer.headers { if let name = HTTPField.Name(header.name) { headers[name] = header.value } }
        let body: ResponseBody =
            switch answer.body {
            case .whole(let buffer): ResponseBody(byteBuffer: buffer)
            case .pieces(let pieces): Self.body(pieces)
            }
        return Response(status: HTTPResponse.Status(code: answer.status), headers: headers, body: body)
    }

    private static func body(_ pieces: some AsyncSequence<ByteBuffer, any Error> & Sendable) -> ResponseBody { ResponseBody(asyncSequence: pieces) }

    private static func json(_ text: String, _ status: HTTPResponse.Status) -> Response {
        Response(status: status, headers: [.contentType: "application/json"], body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    private static func text(_ text: String, _ status: HTTPResponse.Status) -> Response {
        Response(status: status, headers: [.contentType: "text/plain; charset=utf-8"], body: .init(byteBuffer: ByteBuffer(string: text)))
    }

    /// Whoever names text and not JSON; most name nothing in particular.
    private static func wantsText(_ request: Request) -> Bool {
        let accepted = request.headers[.accept] ?? ""
        return accepted.contains("text/plain") && !accepted.contains("application/json")
    }

    private static func quoted(_ value: String) -> String {
        var text = ""
        JSONText.append(value, to: &text)
        return text
    }
}

extension AdminRequest {
    fileprivate init(_ request: Request, body: ByteBuffer, peer: String) {
        let headers = request.headers
        self.init(
            method: request.method.rawValue, path: request.uri.path, host: request.head.authority ?? "",
            header: { name in HTTPField.Name(name).flatMap { headers[$0] } }, body: body, peer: peer)
    }
}

/// With the client's address, which Hummingbird's own has not.
struct AdminContext: RequestContext {
    var coreContext: CoreRequestContextStorage
    let peer: String

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        peer = source.channel.remoteAddress.flatMap { address in address.ipAddress.map { "\($0):\(address.port ?? 0)" } } ?? ""
    }
}
