import NIOCore
import NeedletailCore
import NeedletailHTTP2
import NeedletailTelemetry

/// One call on a server: reads the request, runs its handler as a task on the connection's event loop, answers.
final class ServerCall: GRPCStream, @unchecked Sendable {  // the event loop guards every `var`
    private let server: ServerConnection
    private var request = RequestHead()
    private var message: RawMessage?
    private var task: Task<Void, Never>?
    private var hasTask = false
    private var sentHeaders = false
    private var isFinished = false
    private var chargedAnswer = 0
    /// For the metrics: which method, since when.
    private var measured: (path: String, since: ContinuousClock.Instant)?
    /// What the call is known by in logs and traces; nil for those between processes that serve no request.
    private var scope: RequestScope?
    /// Goes back beside the status, for a user to quote.
    private var toldID: String?
    var initialMetadata = GRPCMetadata()
    var trailerMetadata = GRPCMetadata()

    init(_ server: ServerConnection, eventLoop: any EventLoop) {
        self.server = server
        super.init(eventLoop: eventLoop, messageLimit: server.configuration.maxMessageBytes, budget: server.budget)
    }

    var peer: String { server.peer }

    // MARK: The request

    override func receiveHeader(name: RawSpan, value: RawSpan) {
        if !request.isComplete { request.receive(name, value, routes: server.routes) }
    }

    override func receiveHeadersEnd(isTooLarge: Bool) {
        guard !request.isComplete else { return }
        request.isComplete = true
        switch request.check(isTooLarge: isTooLarge, limit: server.configuration.maxHeaderListBytes) {
        case .accept(let route): begin(route)
        case .refuseHTTP(let status): refuse(httpStatus: status)
        case .refuse(let error): complete(.failure(error))
        }
    }

    private func begin(_ route: Route) {
        measured = (route.method.path, .now)
        server.configuration.metrics?.began(route.method.path)
        identify(route)
        if let refusal = route.refusal(of: server.identity) { return complete(.failure(refusal)) }
        receivesGzip = request.encoding == .gzip
        // Whoever compresses to us gets compressed answers; nobody else pays for it.
        sendsGzip = receivesGzip && request.acceptsGzip
        if let timeout = request.timeout { setDeadline(.now() + .nanoseconds(timeout.nanoseconds)) }
        guard !route.handler.takesOneMessage else { return }
        inbox = MessageInbox(self, limit: messageLimit, windowBytes: server.configuration.streamWindowBytes)
        start(route, message: nil)
    }

    /// Finds out by which names the call goes, and tells the client.
    private func identify(_ route: Route) {
        guard let tracing = server.configuration.tracing else { return }
        scope = tracing.begin(
            service: route.method.service, method: route.method.name, isEntry: route.isEntry, requestID: request.requestID,
            caller: request.metadata.isEmpty ? nil : request.metadata.traceContext)
        if route.isEntry { toldID = scope?.requestID }
        scope?.span?.add([SpanAttribute("network.peer.address", .text(peer))])
    }

    override func receiveMessage(_ message: RawMessage) {
        guard !isFinished else { return }
        if let inbox { return inbox.deliver(message) }
        guard self.message == nil else {
            return receiveFailed(NeedletailError(.unimplemented, "The method takes one message, and a second one came. Send one."))
        }
        self.message = message
    }

    override func receiveEnd() {
        guard !isFinished else { return }
        guard reader.isBetweenMessages else {
            return receiveFailed(NeedletailError(.internal, "The request ended within a message. Send it again."))
        }
        if let inbox { return inbox.finish(.success(())) }
        guard let route = request.route else { return }
        guard let message else {
            return receiveFailed(NeedletailError(.unimplemented, "The method takes one message, and none came. Send one."))
        }
        self.message = nil
        do {
            start(route, message: try message.unpacked(limit: messageLimit))
        } catch {
            complete(.failure(error))
        }
    }

    override func receiveFailed(_ error: NeedletailError) {
        complete(.failure(error))
        cancelHandler(error)
    }

    // MARK: The handler

    private func start(_ route: Route, message: ByteBuffer?) {
        let context = ServerContext(
            method: route.method, metadata: request.metadata, deadline: request.timeout.map { .after($0) }, peerIdentity: server.identity, call: self)
        if route.handler.writesStream { outbox = MessageOutbox(self) }
        server.handlerStarted()
        hasTask = true
        let scope = scope
        task = Task(executorPreference: server.executor) { [self] in
            do {
                let answer = try await Self.run(route.handler, message ?? ByteBuffer(), context, self, scope)
                onLoop { self.handlerEnded(.success(answer)) }
            } catch {
                onLoop { self.handlerEnded(.failure(error)) }
            }
        }
    }

    /// The handler's answer; nil when it has written its own messages.
    private static func run(
        _ handler: Handler, _ message: ByteBuffer, _ context: ServerContext, _ call: ServerCall, _ scope: RequestScope?
    ) async throws -> ByteBuffer? {
        guard let scope else { return try await run(handler, message, context, call) }
        return try await RequestScope.$current.withValue(scope) { try await run(handler, message, context, call) }
    }

    private static func run(
        _ handler: Handler, _ message: ByteBuffer, _ context: ServerContext, _ call: ServerCall
    ) async throws -> ByteBuffer? {
        switch handler {
        case .unary(let body):
            return try await body(message, context)
        case .clientStreaming(let body):
            return try await body(RequestStream(call.inbox!), context)
        case .serverStreaming(let body):
            try await body(message, ResponseWriter(call, call.outbox!), context)
            return nil
        case .bidirectional(let body):
            try await body(RequestStream(call.inbox!), ResponseWriter(call, call.outbox!), context)
            return nil
        }
    }

    private func handlerEnded(_ result: Result<ByteBuffer?, any Error>) {
        server.handlerEnded()
        task = nil
        hasTask = false
        outbox?.fetch()
        complete(result)
    }

    private func cancelHandler(_ error: NeedletailError) {
        task?.cancel()
        inbox?.finish(.failure(error))
        failWriters(error)
    }

    // MARK: The answer

    /// Ends the call with an answer or an error; only the first time counts.
    private func complete(_ result: Result<ByteBuffer?, any Error>) {
        guard !isFinished, !isClosed else { return }
        isFinished = true
        setDeadline(nil)
        releaseCharge()
        defer { measure(result) }
        do {
            let answer = try result.get()
            if !trailerMetadata.isEmpty { try trailerMetadata.validate() }
            if let answer {
                try chargeAnswer(answer.readableBytes)
                try enqueue(answer)
            }
            let isPlain = trailerMetadata.isEmpty && toldID == nil
            finish(trailers: isPlain ? ServerHeaders.trailersOK : ServerHeaders.trailers(nil, trailerMetadata, requestID: toldID))
            sendHeaders()
        } catch {
            fail(GRPCStatus.wire(error))
        }
        failWriters(NeedletailError(.cancelled, "The call has ended; its handler may write no more."))
        inbox?.finish(.failure(NeedletailError(.cancelled, "The call has ended.")))
    }

    private func measure(_ result: Result<ByteBuffer?, any Error>) {
        guard let measured else { return }
        self.measured = nil
        var failure: NeedletailError?
        if case .failure(let error) = result { failure = GRPCStatus.wire(error) }
        let took = measured.since.duration(to: .now)
        server.configuration.metrics?.ended(measured.path, code: failure?.code.wireName ?? "OK", took: took)
        scope?.span?.endCall(failure, isServer: true)
        server.callEnded(measured.path, failure, took: took, scope)
    }

    /// Long answers count until the client has taken them: one that asks for many and reads none must not fill the memory. Streams
    /// of messages need no such account, their queue is bounded.
    private func chargeAnswer(_ bytes: Int) throws {
        guard bytes > Self.longAnswerBytes else { return }
        chargedAnswer = bytes
        guard server.responseBudget.add(bytes) else {
            throw NeedletailError(.resourceExhausted, "Too many answers wait for their clients to read them. Back off and retry.")
        }
    }

    private static let longAnswerBytes = 64 << 10

    private func fail(_ error: NeedletailError) {
        if (try? trailerMetadata.validate()) == nil { trailerMetadata = GRPCMetadata() }
        guard sentHeaders else {
            // No message was sent: one block of headers is the whole answer ("Trailers-Only").
            sentHeaders = true
            connection?.respond(self, ServerHeaders.trailersOnly(error, trailerMetadata, requestID: toldID), hasBody: false)
            return
        }
        finish(trailers: ServerHeaders.trailers(error, trailerMetadata, requestID: toldID))
    }

    private func refuse(httpStatus: Int) {
        isFinished = true
        sentHeaders = true
        connection?.respond(self, ServerHeaders.http(httpStatus), hasBody: false)
    }

    override func willWrite() { sendHeaders() }

    private func sendHeaders() {
        guard !sentHeaders else { return }
        sentHeaders = true
        connection?.respond(self, ServerHeaders.initial(gzip: sendsGzip, initialMetadata), hasBody: true)
    }

    // MARK: The end

    override func deadlineExpired() {
        let error = NeedletailError(.deadlineExceeded, "The deadline passed before the answer was ready. Allow more time.")
        complete(.failure(error))
        cancelHandler(error)
    }

    override func closed(_ code: HTTP2ErrorCode, connectionLost reason: (any Error)?) {
        if chargedAnswer > 0 { _ = server.responseBudget.add(-chargedAnswer) }
        let wasFinished = isFinished
        isFinished = true
        releaseCharge()
        measure(.failure(NeedletailError(.cancelled, "The client went away.")))
        if !wasFinished || hasTask { cancelHandler(NeedletailError(.cancelled, "The client went away.")) }
        inbox?.finish(.failure(NeedletailError(.cancelled, "The call has ended.")))
        failWriters(NeedletailError(.cancelled, "The call has ended."))
    }

    /// Ends the call because the server goes down.
    func shutDown() {
        let error = NeedletailError(.unavailable, "The server is shutting down. Retry elsewhere.")
        complete(.failure(error))
        cancelHandler(error)
    }
}
