import NIOCore
import NIOPosix
import NeedletailCore
import NeedletailHTTP2

/// One connection of a client and what stands around it: connecting, waiting, reconnecting, the queue of calls without a place.
///
/// Confined to its event loop. `state` says what the next call does.
final class ClientChannel: HTTP2ConnectionDelegate, @unchecked Sendable {  // the event loop guards every `var`
    enum State {
        /// No connection, and nobody wants one.
        case idle
        case connecting
        case ready(HTTP2Connection)
        /// The last attempt failed; the next may start at `until`.
        case backoff(until: NIODeadline, NeedletailError)
        case closed
    }

    let eventLoop: any EventLoop
    let authority: String
    let scheme: String
    let userAgent: String
    private let host: String
    private let port: Int
    private let configuration: GRPCClientConfiguration

    private var state = State.idle
    private var failures = 0
    private var retryTimer: Scheduled<Void>?
    private var pending: [ObjectIdentifier: ClientCall] = [:]
    private var pendingOrder = CircularBuffer<ClientCall>()
    private lazy var pendingDeadlines = DeadlineTimer(on: eventLoop) { [unowned self] in self.expirePending($0) }
    private var headers = HTTP2HeaderBlock()
    /// Every connection with calls on it: the current one and those that drain.
    private var connections: [ObjectIdentifier: HTTP2Connection] = [:]
    private var closeWaiters: [UnsafeContinuation<Void, Never>] = []

    init(host: String, port: Int, configuration: GRPCClientConfiguration, eventLoop: any EventLoop) {
        self.host = host
        self.port = port
        self.configuration = configuration
        self.eventLoop = eventLoop
        authority = host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
        scheme = configuration.tls == nil ? "http" : "https"
        userAgent = configuration.userAgent
    }

    var authorization: String? { configuration.authorization }
    var streamWindowBytes: Int { configuration.streamWindowBytes }
    var maxTransparentRetries: Int { configuration.maxTransparentRetries }

    func onLoop(_ body: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { body() } else { eventLoop.execute(body) }
    }

    // MARK: Calls

    func submit(_ call: ClientCall) {
        switch state {
        case .ready(let connection):
            // Calls that wait go first.
            if pending.isEmpty, connection.room > 0, open(call, on: connection) { return }
            enqueue(call)
            if !connection.acceptsStreams { replace(connection) }
        case .connecting:
            enqueue(call)
        case .idle:
            enqueue(call)
            connect()
        case .backoff(let until, let error):
            let now = NIODeadline.now()
            if now >= until {
                enqueue(call)
                connect()
            } else if call.waitsForReady {
                enqueue(call)
                scheduleRetry(after: until - now)
            } else {
                call.finish(.failure(error))
            }
        case .closed:
            call.finish(.failure(Self.closedError))
        }
    }

    private func open(_ call: ClientCall, on connection: HTTP2Connection) -> Bool {
        headers.removeAll()
        call.writeHeaders(to: &headers)
        return connection.open(call, headers)
    }

    private func enqueue(_ call: ClientCall) {
        guard pending.count < configuration.maxPendingCalls else {
            let text = "\(pending.count) calls wait for \(authority) already. Back off, or raise maxPendingCalls."
            return call.finish(.failure(NeedletailError(.resourceExhausted, text, location: authority)))
        }
        call.isPending = true
        pending[ObjectIdentifier(call)] = call
        pendingOrder.append(call)
        if let deadline = call.deadline { pendingDeadlines.note(deadline) }
    }

    /// Takes a call that ended while it waited out of the queue. Its place in the order goes when its turn comes.
    func remove(_ call: ClientCall) {
        call.isPending = false
        pending[ObjectIdentifier(call)] = nil
        if pending.isEmpty { pendingOrder.removeAll() }
    }

    private func servePending(_ connection: HTTP2Connection) {
        while connection.room > 0, let call = pendingOrder.popFirst() {
            guard call.isPending else { continue }
            remove(call)
            if !open(call, on: connection) { return enqueue(call) }
        }
    }

    private func expirePending(_ now: NIODeadline) -> NIODeadline? {
        var next: NIODeadline?
        for call in Array(pending.values) {
            guard let deadline = call.deadline else { continue }
            if deadline <= now { call.deadlineExpired() } else { next = min(next ?? deadline, deadline) }
        }
        return next
    }

    // MARK: Connecting

    private func connect() {
        state = .connecting
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(.nanoseconds(configuration.connectTimeout.nanoseconds))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.recvAllocator, value: AdaptiveRecvByteBufferAllocator(minimum: 2048, initial: 8192, maximum: 256 << 10))
            .channelOption(.writeBufferWaterMark, value: .init(low: 128 << 10, high: 512 << 10))
            .channelInitializer { channel in channel.eventLoop.makeCompletedFuture { try self.install(in: channel) } }
        bootstrap.connect(host: host, port: port).assumeIsolated().whenComplete { result in
            switch result {
            case .success(let channel): self.connected(channel)
            case .failure(let error):
                let text = "Cannot connect to \(self.authority): \(TransportFailure.words(error)). Check that the server runs and the address is right."
                self.connectFailed(NeedletailError(.unavailable, text, cause: error, location: self.authority))
            }
        }
    }

    /// Called for every address that is tried; only the one that connects counts.
    private func install(in channel: any Channel) throws {
        let tls = try configuration.tls?.install(in: channel.pipeline, host: host)
        let http2 = try HTTP2Connection(server: false, settings: configuration.http2, eventLoop: eventLoop, delegate: self, tls: tls)
        try channel.pipeline.syncOperations.addHandler(http2)
    }

    /// TCP stands; the connection is ready once the server's SETTINGS come.
    private func connected(_ channel: any Channel) {
        guard let http2 = try? channel.pipeline.syncOperations.handler(type: HTTP2Connection.self) else {
            return connectFailed(
                NeedletailError(.unavailable, "\(authority) closed the connection at once. Retry.", location: authority))
        }
        connections[ObjectIdentifier(http2)] = http2
        if case .closed = state { http2.fail(.noError, Self.closedError) }
    }

    private func connectFailed(_ error: NeedletailError) {
        guard case .connecting = state else { return }
        var error = error
        error.cause = CallNotSent(cause: error.cause)
        failures += 1
        let wait = backoff()
        state = .backoff(until: .now() + wait, error)
        for call in Array(pending.values) where !call.waitsForReady { call.finish(.failure(error)) }
        if !pending.isEmpty { scheduleRetry(after: wait) }
    }

    private func scheduleRetry(after wait: TimeAmount) {
        guard retryTimer == nil else { return }
        retryTimer = eventLoop.assumeIsolated().scheduleTask(in: wait) {
            self.retryTimer = nil
            guard case .backoff = self.state else { return }
            if self.pending.isEmpty { self.state = .idle } else { self.connect() }
        }
    }

    /// The server is known to be back: the next call connects at once.
    func resetBackoff() {
        failures = 0
        guard case .backoff = state else { return }
        if pending.isEmpty { state = .idle } else { connect() }
    }

    /// Doubling with jitter, so that many clients of a restarted server do not return in step.
    private func backoff() -> TimeAmount {
        let shortest = configuration.minBackoff.nanoseconds
        let longest = configuration.maxBackoff.nanoseconds
        let doubled = min(longest, shortest << Int64(min(failures - 1, 16)))
        return .nanoseconds(doubled - Int64.random(in: 0...max(0, doubled / 4)))
    }

    // MARK: HTTP2ConnectionDelegate

    func makeStream(for connection: HTTP2Connection) -> HTTP2Stream? { nil }

    func connectionIsReady(_ connection: HTTP2Connection) {
        guard case .connecting = state else { return }
        state = .ready(connection)
        failures = 0
        servePending(connection)
    }

    func connectionHasRoom(_ connection: HTTP2Connection) {
        guard !pending.isEmpty, case .ready(let current) = state, current === connection else { return }
        servePending(connection)
    }

    func connectionIsDraining(_ connection: HTTP2Connection) {
        guard case .ready(let current) = state, current === connection else { return }
        replace(connection)
    }

    /// New calls go to a new connection; the old one ends with its last call.
    private func replace(_ connection: HTTP2Connection) {
        connection.drain()
        state = .idle
        if !pending.isEmpty { connect() }
    }

    func connectionClosed(_ connection: HTTP2Connection, _ reason: NeedletailError) {
        // An address that was tried in vain was never entered.
        guard connections.removeValue(forKey: ObjectIdentifier(connection)) != nil else { return }
        switch state {
        case .connecting where !connections.values.contains { !$0.isDraining }:
            connectFailed(reason)
        case .ready(let current) where current === connection:
            state = .idle
            if !pending.isEmpty { connect() }
        case .closed where connections.isEmpty:
            resumeCloseWaiters()
        default: break
        }
    }

    // MARK: Closing

    /// Cancels what waits and what runs, closes the connections; `done` resumes when they are gone.
    func close(_ done: UnsafeContinuation<Void, Never>?) {
        state = .closed
        retryTimer?.cancel()
        pendingDeadlines.cancel()
        for call in Array(pending.values) { call.finish(.failure(Self.closedError)) }
        if let done { closeWaiters.append(done) }
        for connection in connections.values {
            connection.forEachStream { ($0 as? ClientCall)?.cancel() }
            connection.fail(.noError, Self.closedError)
        }
        if connections.isEmpty { resumeCloseWaiters() }
    }

    private func resumeCloseWaiters() {
        let waiters = closeWaiters
        closeWaiters = []
        for waiter in waiters { waiter.resume() }
    }

    private static let closedError = NeedletailError(.cancelled, "The client is closed. Make a new one.")
}
