import NIOCore
import NeedletailCore

/// What nghttp2 reports while it parses input.
extension HTTP2Connection {
    func beginStream(_ id: Int32) {
        guard isServer, !isClosed, let stream = delegate?.makeStream(for: self) else {
            session.reset(id, .refusedStream)
            return
        }
        stream.id = id
        stream.connection = self
        streams[id] = stream
        clock.streamOpened()
        session.attach(stream)
    }

    func receiveHeader(_ stream: HTTP2Stream, name: RawSpan, value: RawSpan) {
        stream.headerListBytes += name.byteCount + value.byteCount + 32
        // Beyond the limit fields are counted and dropped: a small block can unpack to a large list.
        guard stream.headerListBytes <= settings.maxHeaderListBytes else { return }
        stream.receiveHeader(name: name, value: value)
    }

    func headersEnd(_ stream: HTTP2Stream, endStream: Bool) {
        if endStream { stream.receivedEnd = true }
        stream.receiveHeadersEnd(isTooLarge: stream.headerListBytes > settings.maxHeaderListBytes)
        if endStream { stream.receiveEnd() }
    }

    func receiveBody(_ stream: HTTP2Stream?, _ bytes: UnsafeRawBufferPointer) {
        // The connection's credit goes back at once, so that one slow stream does not stop the others; the stream's own credit
        // waits for its reader and bounds the memory.
        uncreditedBytes += bytes.count
        guard let stream, let inputBase, let start = bytes.baseAddress else { return }
        let offset = input.readerIndex + (start - inputBase)
        guard let slice = input.getSlice(at: offset, length: bytes.count) else { return }
        stream.receiveBody(slice)
    }

    func streamEnd(_ stream: HTTP2Stream) {
        stream.receivedEnd = true
        stream.receiveEnd()
    }

    func streamClosed(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        guard streams.removeValue(forKey: stream.id) != nil else { return }
        stream.connection = nil
        stream.isClosed = true
        stream.outbound.removeAll()
        stream.closed(code, connectionLost: nil)
        guard !isClosed else { return }
        delegate?.connectionHasRoom(self)
        if isDraining, streams.isEmpty { flushLater() }
    }

    func requestNotSent(_ id: Int32) {
        guard !isServer, let stream = streams[id] else { return }
        session.detach(id)
        streamClosed(stream, .refusedStream)
    }

    func settingsReceived() {
        let isFirst = !hasSettings
        hasSettings = true
        if isFirst { delegate?.connectionIsReady(self) } else { delegate?.connectionHasRoom(self) }
    }

    func pingAnswered() {
        clock.pongReceived()
        // The drain's ping came back: the peer has seen the notice, so what it sends now it sends knowingly.
        if isDraining, isServer, !isClosed { session.refuseNewStreams() }
    }

    func goAwayReceived(_ code: HTTP2ErrorCode) {
        if code != .noError, closeReason == nil {
            closeReason = NeedletailError(.unavailable, "The peer ended the connection with \(code). Retry.", location: peer)
        }
        isDraining = true
        delegate?.connectionIsDraining(self)
    }

    /// Charges the peer for a frame that costs us and brings nothing.
    func spend(_ cost: Int) {
        guard !guardTokens.take(cost, now: .now()) else { return }
        fail(.enhanceYourCalm, NeedletailError(.resourceExhausted, "The peer sends too many control frames.", location: peer))
    }
}
