import Logging
import NIOCore
import NeedletailCore
import NeedletailHTTP2
import NeedletailTelemetry

/// One client's connection: makes its calls and bounds how many handlers run for it.
final class ServerConnection: HTTP2ConnectionDelegate, @unchecked Sendable {  // the event loop guards every `var`
    let configuration: GRPCServerConfiguration
    let routes: RouteTable
    let budget: MemoryBudget
    let responseBudget: MemoryBudget
    private let registry: ConnectionRegistry
    private let logger: Logger?
    private let eventLoop: any EventLoop
    private(set) var http2: HTTP2Connection!
    /// Handlers still running, also of calls that have ended: a client that resets its calls gets no more work out of us than one
    /// that waits (CVE-2023-44487).
    private var runningHandlers = 0

    init(_ server: GRPCServer, registry: ConnectionRegistry, eventLoop: any EventLoop, tls: TLSSession?) throws {
        configuration = server.configuration
        routes = server.routes
        budget = server.budget
        responseBudget = server.responseBudget
        logger = server.logger
        self.registry = registry
        self.eventLoop = eventLoop
        http2 = try HTTP2Connection(server: true, settings: configuration.http2, eventLoop: eventLoop, delegate: self, tls: tls)
    }

    var executor: LoopExecutor { http2.executor }
    var peer: String { http2.peer }
    /// First asked for when a call begins, after the handshake.
    private(set) lazy var identity: PeerIdentity = http2.tls?.peer ?? .unencrypted

    func makeStream(for connection: HTTP2Connection) -> HTTP2Stream? {
        guard runningHandlers < configuration.maxConcurrentStreams * 2 else { return nil }
        return ServerCall(self, eventLoop: eventLoop)
    }

    /// A line for every call, when somebody wants to see them all, and for those whose failure is nobody's but ours.
    func callEnded(_ path: String, _ failure: NeedletailError?, took: Duration, _ scope: RequestScope?) {
        guard let logger else { return }
        let isOurs = failure.map { [.internal, .unknown, .dataLoss].contains($0.code) } ?? false
        let level: Logger.Level = isOurs ? .error : .debug
        guard logger.logLevel <= level else { return }
        var metadata: Logger.Metadata = [
            "method": "\(path)", "code": "\(failure?.code.wireName ?? "OK")", "took_ms": .stringConvertible(took / .milliseconds(1)), "peer": "\(peer)",
        ]
        if let scope { metadata.merge(scope.logMetadata) { $1 } }
        if let failure { metadata["error"] = "\(failure.message)" }
        logger.log(level: level, "call ended", metadata: metadata)
    }

    func handlerStarted() { runningHandlers += 1 }
    func handlerEnded() { runningHandlers -= 1 }

    func connectionIsReady(_ connection: HTTP2Connection) {}
    func connectionHasRoom(_ connection: HTTP2Connection) {}
    func connectionIsDraining(_ connection: HTTP2Connection) {}

    func connectionClosed(_ connection: HTTP2Connection, _ reason: NeedletailError) {
        logger?.debug("connection closed", metadata: ["peer": "\(peer)", "reason": "\(reason)"])
        if connection.hasFailedTLS { configuration.handshakes?.failed(reason, logger) }
        registry.remove(self)
    }

    // MARK: Shutdown, from any thread

    func drain() { eventLoop.execute { self.http2.drain() } }

    /// Ends every call with `unavailable`, then the connection.
    func close() {
        eventLoop.execute {
            self.http2.forEachStream { ($0 as? ServerCall)?.shutDown() }
            self.http2.fail(.noError, NeedletailError(.unavailable, "The server is shutting down. Retry elsewhere."))
        }
    }
}
