internal import HummingbirdCore
internal import Logging
internal import NIOCore
internal import NeedletailCore
internal import NeedletailHTTP2

/// A connection that has to say something soon: whoever opens one and falls silent, in the TLS handshake or after it, does not keep it.
struct GuardedChannel<Base: ServerChildChannel>: ServerChildChannel {
    let base: Base
    /// nil: plain HTTP.
    let tls: ConnectionTLS?
    let handshakeFailed: @Sendable (NeedletailError) -> Void

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Base.Value> {
        channel.eventLoop.makeCompletedFuture {
            let session = try tls?.install(in: channel.pipeline, host: "")
            try channel.pipeline.syncOperations.addHandler(ConnectionGuard(session, handshakeFailed))
        }.flatMap { base.setup(channel: channel, logger: logger) }
    }

    func handle(value: Base.Value, logger: Logger) async { await base.handle(value: value, logger: logger) }
}

/// Closes a connection on which nothing was asked in time, and one whose client does not close it after the last answer.
private final class ConnectionGuard: ChannelInboundHandler, ChannelOutboundHandler {
    typealias InboundIn = ByteBuffer
    typealias OutboundIn = ByteBuffer

    private static let patience = TimeAmount.seconds(10)
    private static let linger = TimeAmount.seconds(10)

    private let session: TLSSession?
    private let handshakeFailed: @Sendable (NeedletailError) -> Void
    private var timer: Scheduled<Void>?
    private var hasSpoken = false

    init(_ session: TLSSession?, _ handshakeFailed: @escaping @Sendable (NeedletailError) -> Void) {
        self.session = session
        self.handshakeFailed = handshakeFailed
    }

    func handlerAdded(context: ChannelHandlerContext) {
        let channel = context.channel
        timer = context.eventLoop.scheduleTask(in: Self.patience) { channel.close(promise: nil) }
    }

    func handlerRemoved(context: ChannelHandlerContext) { timer?.cancel() }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        if !hasSpoken {
            hasSpoken = true
            timer?.cancel()
        }
        context.fireChannelRead(data)
    }

    /// Hummingbird ends its own side and waits for the client to do so, too; and when it is stopped it closes the other side, which TLS does not know.
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        guard mode != .all else { return context.close(promise: promise) }
        guard mode == .output else { return context.close(mode: session == nil ? .input : .all, promise: promise) }
        let channel = context.channel
        timer?.cancel()
        timer = context.eventLoop.scheduleTask(in: Self.linger) { channel.close(promise: nil) }
        context.close(mode: .output, promise: promise)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if !hasSpoken, let words = session?.words(for: error) {
            let peer = context.remoteAddress.map { "\($0.ipAddress ?? "unknown"):\($0.port ?? 0)" } ?? "unknown"
            session?.answerUnencrypted(error, in: context.pipeline)
            handshakeFailed(NeedletailError(.unavailable, "There is no TLS connection with \(peer): \(words).", cause: error, location: peer))
        }
        context.fireErrorCaught(error)
    }
}
