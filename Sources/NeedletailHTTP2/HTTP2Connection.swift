public import NIOCore
public import NeedletailCore

/// What the owner of a connection is told. All on the connection's event loop.
public protocol HTTP2ConnectionDelegate: AnyObject {
    /// Server: the peer opens a stream. Nil refuses it.
    func makeStream(for connection: HTTP2Connection) -> HTTP2Stream?
    /// The peer's first SETTINGS arrived: the connection is usable.
    func connectionIsReady(_ connection: HTTP2Connection)
    /// The peer's limit changed, or a stream closed: there may be room for another.
    func connectionHasRoom(_ connection: HTTP2Connection)
    /// The peer wants no new streams (GOAWAY).
    func connectionIsDraining(_ connection: HTTP2Connection)
    /// The last call; every stream has been closed before.
    func connectionClosed(_ connection: HTTP2Connection, _ reason: NeedletailError)
}

/// One HTTP/2 connection: an nghttp2 session in a channel.
///
/// Bytes go in through `channelRead`; what they cause goes out in `flushNow`, once per turn of the event loop. The channel's
/// writability bounds what waits in the socket's buffer, flow control what waits in the streams.
public final class HTTP2Connection: ChannelInboundHandler, @unchecked Sendable {  // the event loop guards every `var`
    public typealias InboundIn = ByteBuffer
    public typealias OutboundOut = ByteBuffer

    public let eventLoop: any EventLoop
    public let executor: LoopExecutor
    public let settings: HTTP2Settings
    /// The peer's address, for logs and handlers.
    public private(set) var peer = "unknown"
    /// What encrypts the connection; nil: nothing does.
    public let tls: TLSSession?
    /// Whether it was TLS that failed.
    public private(set) var hasFailedTLS = false
    let isServer: Bool
    var delegate: (any HTTP2ConnectionDelegate)?
    var session: HTTP2Session!
    var streams: [Int32: HTTP2Stream] = [:]
    var context: ChannelHandlerContext?

    // Output.
    var output: ByteBuffer
    /// Whether `output` was handed to the channel and must not be appended to.
    var outputIsWritten = false
    var isFlushing = false
    var willFlush = false
    /// Bytes of long bodies handed to the channel since the count was last reset.
    var largeBytes = 0

    // Input: where the buffer being parsed starts, so that a body is a slice of it and not a copy.
    var input = ByteBuffer()
    var inputBase: UnsafeRawPointer?
    var uncreditedBytes = 0

    // Limits and clocks.
    var guardTokens: FloodGuard
    lazy var deadlines = DeadlineTimer(on: eventLoop) { [unowned self] in self.expireStreams($0) }
    var clock: ConnectionClock
    private var ticking: RepeatedTask?
    var hasSettings = false

    // Streams that we ended before the peer did, and that are to be reset if it does not end them.
    var answeredEarly: [Int32] = []

    // The end.
    var closeReason: NeedletailError?
    var lingers = false
    var isEnding = false
    public internal(set) var isDraining = false
    public private(set) var isClosed = false

    /// Call on `eventLoop`, then add the connection to its channel's pipeline.
    public init(
        server isServer: Bool, settings: HTTP2Settings, eventLoop: any EventLoop, delegate: any HTTP2ConnectionDelegate, tls: TLSSession? = nil
    ) throws {
        self.isServer = isServer
        self.tls = tls
        self.settings = settings
        self.eventLoop = eventLoop
        self.delegate = delegate
        executor = LoopExecutor.on(eventLoop)
        output = ByteBufferAllocator().buffer(capacity: Self.outputChunkBytes)
        clock = ConnectionClock(settings)
        guardTokens = FloodGuard(perSecond: settings.controlFramesPerSecond, burst: settings.controlFrameBurst, now: .now())
        session = try HTTP2Session(role: isServer ? .server : .client, settings: settings, connection: self)
    }

    static let outputChunkBytes = 16 << 10

    // MARK: Channel events

    public func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { start(context) }
    }

    public func channelActive(context: ChannelHandlerContext) {
        start(context)
        context.fireChannelActive()
    }

    private func start(_ context: ChannelHandlerContext) {
        guard ticking == nil, !isClosed else { return }
        peer = context.channel.remoteAddress.map(Self.describe) ?? "unknown"
        let interval = TimeAmount.nanoseconds(clock.interval.nanoseconds)
        ticking = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { [weak self] _ in self?.tick() }
        flushLater()
    }

    private static func describe(_ address: SocketAddress) -> String {
        guard let host = address.ipAddress, let port = address.port else { return address.description }
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    public func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isClosed, !isEnding else { return }
        clock.received()
        input = unwrapInboundIn(data)
        let buffer = input
        if !hasSettings, tls == nil, speaksTLS(buffer) { return }
        let failure = buffer.withUnsafeReadableBytes { bytes in
            inputBase = bytes.baseAddress
            return session.receive(bytes)
        }
        inputBase = nil
        input = ByteBuffer()
        if uncreditedBytes > 0 {
            session.consumeConnection(uncreditedBytes)
            uncreditedBytes = 0
        }
        if let failure {
            fail(.enhanceYourCalm, NeedletailError(.unavailable, "The peer broke HTTP/2: \(failure).", location: peer))
        }
        flushLater()
    }

    public func channelWritabilityChanged(context: ChannelHandlerContext) {
        if context.channel.isWritable { flushLater() }
        context.fireChannelWritabilityChanged()
    }

    public func channelInactive(context: ChannelHandlerContext) {
        finishClose()
        context.fireChannelInactive()
    }

    public func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if closeReason == nil { closeReason = reason(for: error) }
        context.close(promise: nil)
    }

    private func reason(for error: any Error) -> NeedletailError {
        guard tls != nil, let words = tls?.refusal ?? TLSFailure.words(error, isServer: isServer) else {
            return NeedletailError(
                .unavailable, "The connection to \(peer) broke: \(TransportFailure.words(error)). Retry; if it persists, check the network.", cause: error,
                location: peer)
        }
        hasFailedTLS = true
        return NeedletailError(.unavailable, "There is no TLS connection with \(peer): \(words).", cause: error, location: peer)
    }

    /// A record of TLS where HTTP/2 should begin: 22 begins a handshake, 21 is an alert (RFC 8446, section 5.1).
    private func speaksTLS(_ bytes: ByteBuffer) -> Bool {
        guard let start = bytes.getBytes(at: bytes.readerIndex, length: 2), start[0] == (isServer ? 22 : 21), start[1] == 3 else { return false }
        hasFailedTLS = true
        let words =
            isServer
            ? "It speaks TLS, and this port does not: start the process with --tls-certificate, or write http:// there."
            : "It speaks TLS: write https://, or name its authority by a flag."
        abort(NeedletailError(.unavailable, "There is no connection with \(peer): \(words)", location: peer))
        return true
    }

    public func handlerRemoved(context: ChannelHandlerContext) {
        finishClose()
        self.context = nil
    }

    /// Closes every stream and tells the delegate; once.
    private func finishClose() {
        guard !isClosed else { return }
        isClosed = true
        ticking?.cancel()
        deadlines.cancel()
        let silence = "It said nothing at all: if it speaks TLS, write https://; if that is its port for metrics and the console, give the one for gRPC."
        let advice = hasSettings || isServer || tls != nil ? "Retry." : silence
        let reason = closeReason ?? NeedletailError(.unavailable, "The peer closed the connection. \(advice)", location: peer)
        let open = streams
        streams = [:]
        for (id, stream) in open {
            session.detach(id)
            stream.connection = nil
            stream.isClosed = true
            stream.outbound.removeAll()
            stream.closed(.cancel, connectionLost: reason)
        }
        delegate?.connectionClosed(self, reason)
        delegate = nil
    }
}
