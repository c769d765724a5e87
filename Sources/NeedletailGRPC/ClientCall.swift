import NIOCore
import NeedletailCore
import NeedletailHTTP2
import NeedletailTelemetry

/// One call of a client, from being queued to its status.
final class ClientCall: GRPCStream, @unchecked Sendable {  // the event loop guards every `var`
    let method: GRPCMethod
    let options: CallOptions
    private let channel: ClientChannel
    /// The request of calls that send one message, kept for sending it again.
    private var request: ByteBuffer?
    /// Who waits for the one answer; streaming calls have an inbox instead.
    private var waiter: UnsafeContinuation<ByteBuffer, any Error>?
    private var answer: RawMessage?
    private var head = ResponseHead()
    private(set) var isDone = false
    private var attempts = 0
    /// On whose behalf it is made.
    private let scope: RequestScope?
    /// nil when nobody records the request.
    private let span: Span?
    /// Where the call stands in its channel's queue, for leaving it.
    var isPending = false

    init(_ method: GRPCMethod, _ options: CallOptions, _ channel: ClientChannel) {
        self.method = method
        self.options = options
        self.channel = channel
        let scope = RequestScope.current
        self.scope = scope
        span = scope?.span.map { CallSpans.begin($0, method, scope?.callAttributes ?? [], server: channel.authority) }
        super.init(eventLoop: channel.eventLoop, messageLimit: options.maxMessageBytes, budget: nil)
        sendsGzip = options.compress
    }

    var waitsForReady: Bool { options.waitForReady }

    // MARK: Starting

    /// A unary call: one message out, one in.
    func start(_ request: ByteBuffer, _ waiter: UnsafeContinuation<ByteBuffer, any Error>) {
        self.waiter = waiter
        guard !isDone else { return resumeWaiter(.failure(Self.cancelled)) }
        begin(request)
    }

    /// A call whose answer is a stream of messages; with `request` nil, its request is one too.
    func startStreaming(_ request: ByteBuffer?) {
        guard !isDone else { return }
        begin(request)
    }

    private func begin(_ request: ByteBuffer?) {
        do {
            if !options.metadata.isEmpty { try options.metadata.validate() }
            if let deadline = options.deadline {
                let remaining = deadline.remaining.nanoseconds
                guard remaining > 0 else { throw Self.late }
                setDeadline(.now() + .nanoseconds(remaining))
            }
            self.request = request
            try queueRequest()
            channel.submit(self)
        } catch {
            finish(.failure(GRPCStatus.wire(error)))
        }
    }

    private func queueRequest() throws {
        guard let request else { return }
        try enqueue(request)
        finish(trailers: nil)
    }

    /// The request's headers, into a block that is reused.
    func writeHeaders(to block: inout HTTP2HeaderBlock) {
        block.add(":method", "POST")
        block.add(":scheme", channel.scheme)
        block.add(":path", method.path)
        block.add(":authority", channel.authority)
        block.add("te", "trailers")
        block.add("content-type", "application/grpc")
        block.add("user-agent", channel.userAgent)
        block.add("grpc-accept-encoding", "identity, gzip")
        if options.compress { block.add("grpc-encoding", "gzip") }
        if let deadline = options.deadline {
            block.add("grpc-timeout", GRPCTimeout.text(nanoseconds: deadline.remaining.nanoseconds), isTransient: true)
        }
        if !options.metadata.isEmpty { options.metadata.write(to: &block) }
        if let authorization = channel.authorization, options.metadata["authorization"] == nil { block.add("authorization", authorization) }
        if let scope { GRPCMetadata.write(scope, span?.context ?? scope.traceContext, to: &block) }
    }

    // MARK: The answer

    override func receiveHeader(name: RawSpan, value: RawSpan) { head.receive(name, value) }

    override func receiveHeadersEnd(isTooLarge: Bool) {
        head.blockEnded(isLast: receivedEnd)
        receivesGzip = head.isGzip
        if isTooLarge {
            receiveFailed(NeedletailError(.resourceExhausted, "The answer's headers exceed the limit. Ask for less metadata."))
        } else if let name = head.unknownEncoding {
            receiveFailed(NeedletailError(.internal, "The server answers in the encoding '\(name)', which was not offered."))
        } else if !receivedEnd, let error = head.failure {
            // An HTTP error with a body: the body is a page for people.
            receiveFailed(error)
        }
    }

    override func receiveMessage(_ message: RawMessage) {
        guard !isDone else { return }
        if let inbox { return inbox.deliver(message) }
        guard answer == nil else {
            return receiveFailed(secondAnswer)
        }
        answer = message
    }

    override func receiveEnd() {
        guard !isDone else { return }
        head.streamEnded()
        if let failure = head.failure { return finish(.failure(failure)) }
        guard reader.isBetweenMessages else {
            return finish(.failure(NeedletailError(.internal, "The answer ended within a message. Retry.")))
        }
        finish(.success(()))
    }

    override func receiveFailed(_ error: NeedletailError) {
        finish(.failure(error))
        reset(.cancel)
    }

    override func closed(_ code: HTTP2ErrorCode, connectionLost reason: (any Error)?) {
        guard !isDone else { return }
        if code == .refusedStream, !head.hasBlock, retryTransparently() { return }
        let error = (reason as? NeedletailError) ?? GRPCStatus.error(reset: code)
        finish(.failure(error))
    }

    /// The server has not seen the call: send it again, if its messages are still there.
    private func retryTransparently() -> Bool {
        guard request != nil, attempts < channel.maxTransparentRetries else { return false }
        attempts += 1
        prepareForReuse()
        reader = MessageReader(limit: messageLimit)
        guard (try? queueRequest()) != nil else { return false }
        channel.submit(self)
        return true
    }

    // MARK: The end

    /// Ends the call; only the first time counts.
    func finish(_ result: Result<Void, NeedletailError>) {
        guard !isDone else { return }
        isDone = true
        setDeadline(nil)
        span?.endCall(result.failure, isServer: false)
        if isPending { channel.remove(self) }
        request = nil
        switch result {
        case .success:
            inbox?.finish(.success(()))
            resumeWaiter(takeAnswer())
            failWriters(NeedletailError(.cancelled, "The server has answered; it takes no more messages."))
        case .failure(let error):
            inbox?.finish(.failure(error))
            resumeWaiter(.failure(error))
            failWriters(error)
        }
    }

    private func takeAnswer() -> Result<ByteBuffer, any Error> {
        guard inbox == nil else { return .success(ByteBuffer()) }
        guard let answer else { return .failure(noAnswer) }
        self.answer = nil
        return Result { try answer.unpacked(limit: messageLimit) }
    }

    private func resumeWaiter(_ result: Result<ByteBuffer, any Error>) {
        waiter?.resume(with: result)
        waiter = nil
    }

    func cancel() {
        if !isDone { span?.add([SpanAttribute("needletail.abandoned", true)]) }
        abandon(Self.cancelled)
    }

    override func deadlineExpired() { abandon(Self.late) }

    private func abandon(_ error: NeedletailError) {
        guard !isDone else { return }
        finish(.failure(error))
        reset(.cancel)
    }

    private static let cancelled = NeedletailError(.cancelled, "The call was cancelled here.")
    private static let late = NeedletailError(.deadlineExceeded, "The deadline passed before the answer came. Allow more time.")

    var noAnswer: NeedletailError {
        NeedletailError(.unimplemented, "The server answered OK, but without the one message \(method) has.")
    }

    var secondAnswer: NeedletailError {
        NeedletailError(.unimplemented, "The server sent a second answer to \(method), which has one.")
    }

    var initialMetadata: GRPCMetadata { head.initial }
    var trailerMetadata: GRPCMetadata { head.trailers }
}
