public import NIOCore

/// One stream of a connection. Subclass it, override what you want to hear, call the `final` methods to answer.
///
/// Everything here is called on the connection's event loop and nowhere else.
open class HTTP2Stream: @unchecked Sendable {  // the connection's event loop guards every `var`
    /// The stream's number; 0 until it is opened.
    public internal(set) final var id: Int32 = 0
    /// The connection, from opening to closing.
    public internal(set) final var connection: HTTP2Connection?
    /// When `deadlineExpired` is due; set it with `setDeadline`.
    public private(set) final var deadline: NIODeadline?
    /// Whether the stream has come to its end.
    public internal(set) final var isClosed = false
    /// Whether the peer has sent its last byte.
    public internal(set) final var receivedEnd = false

    final var outbound = OutboundQueue()
    final var outboundFinished = false
    final var trailers: HTTP2HeaderBlock?
    /// Whether nghttp2 found nothing to send and waits for `resume`.
    final var isDeferred = false
    /// Size of the header block being received, as RFC 9113, section 6.5.2 counts it.
    final var headerListBytes = 0

    public init() {}

    // MARK: What the peer does

    /// One field of a header block; `name` is lower case.
    open func receiveHeader(name: RawSpan, value: RawSpan) {}
    /// The header block is complete. `isTooLarge`: fields beyond the limit were dropped.
    open func receiveHeadersEnd(isTooLarge: Bool) {}
    /// A part of the body: a slice of the buffer read from the socket. Its stream credit goes back through `returnCredit`.
    open func receiveBody(_ bytes: ByteBuffer) {}
    /// The peer's side has ended.
    open func receiveEnd() {}
    /// Queued bytes fell to `lowWaterBytes` or below.
    open func outboundDrained() {}
    /// The deadline is reached.
    open func deadlineExpired() {}
    /// The stream is gone; the last call. `connectionLost`: with its connection, for which `reason` says why.
    open func closed(_ code: HTTP2ErrorCode, connectionLost reason: (any Error)?) {}

    // MARK: What we do

    /// Bytes given to `send` that have not reached the socket's buffer.
    public final var queuedBytes: Int { outbound.byteCount }
    /// Where `outboundDrained` is called.
    public static let lowWaterBytes = 64 << 10

    /// Queues a piece of the body: up to eight prefix bytes (lowest first), then `body`. Allowed before the stream is opened.
    public final func send(prefix: UInt64, prefixCount: Int, _ body: ByteBuffer) {
        guard !isClosed, !outboundFinished else { return }
        outbound.append(OutboundPiece(prefix: prefix, prefixCount: prefixCount, body: body))
        resume()
    }

    /// Ends our side, after what is queued, with `trailers` if given.
    public final func finish(trailers: HTTP2HeaderBlock? = nil) {
        guard !isClosed, !outboundFinished else { return }
        self.trailers = trailers
        outboundFinished = true
        resume()
    }

    /// Drops what is queued and aborts the stream.
    public final func reset(_ code: HTTP2ErrorCode) {
        outbound.removeAll()
        connection?.resetStream(self, code)
    }

    /// Lets the peer send `count` more bytes of body on this stream.
    public final func returnCredit(_ count: Int) {
        guard count > 0, !receivedEnd else { return }
        connection?.returnCredit(self, count)
    }

    public final func setDeadline(_ deadline: NIODeadline?) {
        self.deadline = deadline
        if let deadline { connection?.deadlines.note(deadline) }
    }

    final func expire() {
        deadline = nil
        deadlineExpired()
    }

    private func resume() {
        guard isDeferred else { return }
        isDeferred = false
        connection?.resumeStream(self)
    }

    /// Makes a finished stream object ready to be opened again, for a request that is sent a second time.
    public final func prepareForReuse() {
        precondition(connection == nil, "a stream cannot be reused while it is open")
        id = 0
        isClosed = false
        outbound.removeAll()
        outboundFinished = false
        receivedEnd = false
        isDeferred = false
        headerListBytes = 0
        trailers = nil
    }
}
