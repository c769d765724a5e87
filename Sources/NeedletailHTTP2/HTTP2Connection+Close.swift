import NIOCore
public import NeedletailCore

/// Clocks, draining and failing.
extension HTTP2Connection {
    // MARK: Ending on purpose

    /// Tells the peer to open no more streams; the connection closes when the last has ended.
    public func drain() {
        guard !isClosed, !clock.isClosing, !isDraining else { return }
        isDraining = true
        if isServer {
            // Two steps (RFC 9113, section 6.8): requests already on their way are still served.
            session.announceShutdown()
            session.ping()
            clock.pingSent()
        }
        flushLater()
    }

    /// A drained connection ends with its last stream. A client that was told to go simply closes.
    func finishDrain() {
        guard isDraining, streams.isEmpty, !clock.isClosing else { return }
        if isServer, clock.awaitsPong, hasSettings { return }
        fail(.noError, unavailable("The connection was shut down. Retry on a new one."))
    }

    /// Sends GOAWAY with `code` and closes. Open streams end with `reason`.
    public func fail(_ code: HTTP2ErrorCode, _ reason: NeedletailError) {
        guard !isClosed, !clock.isClosing else { return }
        clock.closing()
        closeReason = closeReason ?? reason
        lingers = isServer && code == .noError
        session.terminate(code)
        flushLater()
    }

    /// Everything is said. A server that closes while bytes from the client lie unread sends a reset, and the client may then lose
    /// the last answers; so it only ends its own side, and leaves the closing to the client or to the clock.
    func closeWhenOver(_ context: ChannelHandlerContext) {
        guard session.isOver, !isEnding else { return }
        isEnding = true
        guard lingers else { return context.close(promise: nil) }
        context.close(mode: .output).assumeIsolated().whenFailure { _ in context.close(promise: nil) }
    }

    /// Closes without a word, for a peer that no longer listens.
    public func abort(_ reason: NeedletailError) {
        closeReason = closeReason ?? reason
        context?.close(promise: nil)
    }

    // MARK: Clocks

    func tick() {
        guard !isClosed else { return }
        switch clock.tick(openStreams: streams.count, hasSettings: hasSettings) {
        case .nothing: break
        case .ping:
            session.ping()
            flushLater()
        case .handshakeTimedOut:
            abort(
                unavailable(
                    "The peer sent no HTTP/2 SETTINGS in \(settings.handshakeTimeout). Check that it speaks gRPC on this port."))
        case .keepaliveTimedOut:
            abort(unavailable("The peer answered no ping for \(settings.keepaliveTimeout). Retry elsewhere."))
        case .lingeredTooLong:
            abort(unavailable("The peer did not read the end of the connection."))
        case .idle:
            // A request may be on its way to a server that thinks it is idle; a client knows better.
            if isServer { drain() } else { fail(.noError, unavailable("The connection was idle. Retry on a new one.")) }
        }
    }

    private func unavailable(_ message: String) -> NeedletailError { NeedletailError(.unavailable, message, location: peer) }

    /// Expires the streams that are due; the next deadline, if any.
    func expireStreams(_ now: NIODeadline) -> NIODeadline? {
        var next: NIODeadline?
        var due: [HTTP2Stream] = []
        for stream in streams.values {
            guard let deadline = stream.deadline else { continue }
            if deadline <= now { due.append(stream) } else { next = min(next ?? deadline, deadline) }
        }
        for stream in due { stream.expire() }
        return next
    }
}
