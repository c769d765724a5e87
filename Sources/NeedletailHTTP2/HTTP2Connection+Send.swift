import NIOCore
import NeedletailCore

/// Opening streams, answering, and writing out.
extension HTTP2Connection {
    // MARK: Streams

    /// How many more streams the peer lets us open now.
    public var room: Int {
        guard !isClosed, !isDraining, hasSettings, session.canOpenStreams else { return 0 }
        return session.peerMaxConcurrentStreams - streams.count
    }

    /// Whether this connection will take new streams again, once others have closed.
    public var acceptsStreams: Bool { !isClosed && !isDraining && session.canOpenStreams }

    public var openStreams: Int { streams.count }

    public func forEachStream(_ body: (HTTP2Stream) -> Void) {
        let open = Array(streams.values)
        for stream in open { body(stream) }
    }

    /// Client: opens `stream` with a request that has a body. False when the session refuses.
    public func open(_ stream: HTTP2Stream, _ headers: HTTP2HeaderBlock) -> Bool {
        let id = session.submitRequest(stream, headers)
        guard id > 0 else { return false }
        payForPings(4)
        stream.id = id
        stream.connection = self
        streams[id] = stream
        clock.streamOpened()
        if let deadline = stream.deadline { deadlines.note(deadline) }
        flushLater()
        return true
    }

    /// grpc-go measures the bandwidth with a PING for nearly every message it gets: what a client sends allows its server as many.
    private func payForPings(_ count: Int) { guardTokens.give(count) }

    /// Server: answers with `headers`, and a body unless the answer ends with them.
    public func respond(_ stream: HTTP2Stream, _ headers: HTTP2HeaderBlock, hasBody: Bool) {
        guard !isClosed, stream.connection === self else { return }
        if session.submitResponse(stream, headers, hasBody: hasBody) != 0 { session.reset(stream.id, .internalError) }
        flushLater()
    }

    func submitTrailers(_ id: Int32, _ headers: HTTP2HeaderBlock) {
        if session.submitTrailers(id, headers) != 0 { session.reset(id, .internalError) }
    }

    func resetStream(_ stream: HTTP2Stream, _ code: HTTP2ErrorCode) {
        guard !isClosed else { return }
        session.reset(stream.id, code)
        flushLater()
    }

    func resumeStream(_ stream: HTTP2Stream) {
        guard !isClosed else { return }
        if !isServer { payForPings(1) }
        session.resume(stream.id)
        flushLater()
    }

    func returnCredit(_ stream: HTTP2Stream, _ count: Int) {
        guard !isClosed else { return }
        session.consumeStream(stream.id, count)
        flushLater()
    }

    /// Our END_STREAM is out, and the peer may still be sending. Most peers stop by themselves once they have read the answer, and some
    /// take a reset for a failure of the whole exchange; so the reset (RFC 9113, section 8.1) comes a little later.
    func endSent(_ stream: HTTP2Stream) {
        guard isServer, !stream.receivedEnd else { return }
        answeredEarly.append(stream.id)
        guard answeredEarly.count == 1 else { return }
        eventLoop.assumeIsolated().scheduleTask(in: Self.resetDelay) { [weak self] in self?.resetAnswered() }
    }

    private static let resetDelay = TimeAmount.milliseconds(50)

    private func resetAnswered() {
        let ids = answeredEarly
        answeredEarly.removeAll()
        guard !isClosed else { return }
        for id in ids where streams[id] != nil { session.reset(id, .noError) }
        flushLater()
    }

    // MARK: Output

    /// Asks for a flush at the end of this turn of the event loop.
    func flushLater() {
        guard !willFlush, !isClosed else { return }
        willFlush = true
        executor.flushLater(self)
    }

    /// Writes what the session has, as far as the socket takes it.
    func flushNow() {
        willFlush = false
        guard !isFlushing, !isClosed, let context else { return }
        isFlushing = true
        defer { isFlushing = false }
        do {
            var more = true
            while more, context.channel.isWritable {
                while more, context.channel.isWritable {
                    more = try fillOutput()
                    writeOutput(context)
                }
                context.flush()
            }
        } catch {
            closeReason = closeReason ?? (error as? NeedletailError)
            context.close(promise: nil)
            return
        }
        finishDrain()
        if !isClosed { closeWhenOver(context) }
    }

    /// Collects frames up to a chunk; false when there are no more.
    private func fillOutput() throws -> Bool {
        largeBytes = 0
        while outputCount < Self.outputChunkBytes * 4, largeBytes < Self.outputChunkBytes * 4 {
            // A DATA frame writes itself through `writeData` before this returns the frame after it.
            let frame = try session.nextFrame()
            if frame.count == 0 { return false }
            appendOutput(frame)
        }
        return true
    }

    private var outputCount: Int { outputIsWritten ? 0 : output.readableBytes }

    /// The channel holds a written buffer until it is on the wire; `clear` makes a new one only if it still does.
    private func appendOutput(_ bytes: UnsafeRawBufferPointer) {
        if outputIsWritten {
            output.clear(minimumCapacity: Self.outputChunkBytes)
            outputIsWritten = false
        }
        output.writeBytes(bytes)
    }

    private func writeOutput(_ context: ChannelHandlerContext) {
        guard outputCount > 0 else { return }
        context.write(wrapOutboundOut(output), promise: nil)
        outputIsWritten = true
    }

    func writeData(_ stream: HTTP2Stream, header: UnsafeRawBufferPointer, count: Int) {
        appendOutput(header)
        var queue = OutboundQueue()
        swap(&queue, &stream.outbound)
        queue.take(count, small: { appendOutput($0) }, large: { writeLarge($0) })
        swap(&queue, &stream.outbound)
        if stream.outbound.byteCount <= HTTP2Stream.lowWaterBytes { stream.outboundDrained() }
    }

    private func writeLarge(_ slice: ByteBuffer) {
        guard let context else { return }
        writeOutput(context)
        context.write(wrapOutboundOut(slice), promise: nil)
        largeBytes += slice.readableBytes
    }
}
