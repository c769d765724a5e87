import NIOCore
import NeedletailCore
import NeedletailHTTP2

/// What both ends of a call share: messages out with back-pressure, messages in through the reader.
class GRPCStream: HTTP2Stream, @unchecked Sendable {  // the event loop guards every `var`
    final let eventLoop: any EventLoop
    final var reader: MessageReader
    final let messageLimit: Int
    /// For calls that read a stream of messages.
    final var inbox: MessageInbox?
    /// Whether messages may come, and go, compressed.
    final var receivesGzip = false
    final var sendsGzip = false
    /// Why no more can be sent, once that is so.
    final var sendFailure: NeedletailError?

    private final var writers: [Writer] = []
    private final let budget: MemoryBudget?
    private final var charged = 0

    /// A writer waits above this many queued bytes, and goes on at `lowWaterBytes`.
    static let highWaterBytes = 256 << 10
    /// Shorter messages are not worth compressing.
    static let gzipThresholdBytes = 512

    init(eventLoop: any EventLoop, messageLimit: Int, budget: MemoryBudget?) {
        self.eventLoop = eventLoop
        self.messageLimit = messageLimit
        self.budget = budget
        reader = MessageReader(limit: messageLimit)
    }

    // MARK: For subclasses

    func receiveMessage(_ message: RawMessage) {}
    func receiveFailed(_ error: NeedletailError) {}

    // MARK: In

    final override func receiveBody(_ bytes: ByteBuffer) {
        guard sendFailure == nil else { return }
        var bytes = bytes
        do {
            while let message = try reader.next(&bytes, sharing: inbox == nil) {
                guard !message.isCompressed || receivesGzip else {
                    throw NeedletailError(.internal, "A message is marked compressed, but the call names no grpc-encoding.")
                }
                receiveMessage(message)
            }
            if reader.partialBytes != charged { try charge(reader.partialBytes) }
        } catch {
            return receiveFailed(GRPCStatus.wire(error))
        }
        // A message longer than the window can only arrive if its first part frees the window for the rest.
        if inbox?.isEmpty ?? true { returnCredit(reader.takePartialCredit()) }
    }

    final func messageConsumed(_ message: RawMessage, inboxIsEmpty: Bool) {
        returnCredit(message.credit + (inboxIsEmpty ? reader.takePartialCredit() : 0))
    }

    final func charge(_ bytes: Int) throws {
        guard let budget else { return }
        let isWithin = budget.add(bytes - charged)
        charged = bytes
        guard isWithin else {
            throw NeedletailError(.resourceExhausted, "The server holds too many unfinished requests. Back off and retry.")
        }
    }

    final func releaseCharge() {
        guard charged > 0 else { return }
        _ = budget?.add(-charged)
        charged = 0
    }

    // MARK: Out

    /// Queues a message on the event loop.
    final func enqueue(_ message: ByteBuffer) throws {
        let pack = sendsGzip && message.readableBytes >= Self.gzipThresholdBytes
        let body = pack ? try Gzip.compress(message) : message
        guard let length = UInt32(exactly: body.readableBytes) else {
            throw NeedletailError(.invalidArgument, "A message of \(body.readableBytes) bytes does not fit gRPC's framing. Split it.")
        }
        send(prefix: (pack ? 1 : 0) | UInt64(length.byteSwapped) << 8, prefixCount: MessageReader.prefixBytes, body)
    }

    /// Called before the first message of a `write`.
    func willWrite() {}

    /// Sends a message; returns once the queue has room for the next.
    final func write(_ message: ByteBuffer) async throws {
        if eventLoop.inEventLoop {
            try writeNow(message)
            guard queuedBytes > Self.highWaterBytes else { return }
            return try await waitForRoom(message: nil)
        }
        try await waitForRoom(message: message)
    }

    private final func writeNow(_ message: ByteBuffer) throws {
        if let sendFailure { throw sendFailure }
        willWrite()
        try enqueue(message)
    }

    /// Someone who waits until the queue has room.
    private final class Writer: @unchecked Sendable {  // used on the event loop only
        var continuation: UnsafeContinuation<Void, any Error>?
        let isCancelled = CancellationFlag()

        func resume(_ result: Result<Void, any Error>) {
            continuation?.resume(with: result)
            continuation = nil
        }
    }

    private final func waitForRoom(message: ByteBuffer?) async throws {
        let writer = Writer()
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { (continuation: UnsafeContinuation<Void, any Error>) in
                onLoop {
                    writer.continuation = continuation
                    self.admit(writer, message)
                }
            }
        } onCancel: {
            writer.isCancelled.set()
            onLoop {
                self.writers.removeAll { $0 === writer }
                writer.resume(.failure(CancellationError()))
            }
        }
    }

    private final func admit(_ writer: Writer, _ message: ByteBuffer?) {
        do {
            if let message { try writeNow(message) }
            if let sendFailure { throw sendFailure }
        } catch {
            return writer.resume(.failure(error))
        }
        if queuedBytes <= Self.highWaterBytes { return writer.resume(.success(())) }
        if writer.isCancelled.isSet { return writer.resume(.failure(CancellationError())) }
        writers.append(writer)
    }

    final override func outboundDrained() { resumeWriters(.success(())) }

    /// Nothing more can be sent: writers that wait, and those to come, get `error`.
    final func failWriters(_ error: NeedletailError) {
        sendFailure = sendFailure ?? error
        resumeWriters(.failure(error))
    }

    private final func resumeWriters(_ result: Result<Void, any Error>) {
        guard !writers.isEmpty else { return }
        let waiting = writers
        writers.removeAll()
        for writer in waiting { writer.resume(result) }
    }

    final func onLoop(_ body: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { body() } else { eventLoop.execute(body) }
    }
}
