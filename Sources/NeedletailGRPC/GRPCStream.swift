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
    /// For calls that write a stream of messages.
    final var outbox: MessageOutbox?
    /// Whether messages may come, and go, compressed.
    final var receivesGzip = false
    final var sendsGzip = false
    /// Why no more can be sent, once that is so.
    final var sendFailure: NeedletailError?

    private final let budget: MemoryBudget?
    private final var charged = 0

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
        if !reader.isBetweenMessages, inbox?.admitsPartial() ?? true { releasePartialCredit() }
    }

    final func releasePartialCredit() { returnCredit(reader.takePartialCredit()) }

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
            throw NeedletailError(
                .invalidArgument, "A message of \(body.readableBytes) bytes does not fit gRPC's framing. Split it.")
        }
        send(prefix: (pack ? 1 : 0) | UInt64(length.byteSwapped) << 8, prefixCount: MessageReader.prefixBytes, body)
    }

    /// Called before a message of a stream is queued.
    func willWrite() {}

    final func sendMessage(_ message: ByteBuffer) throws {
        willWrite()
        try enqueue(message)
    }

    final override func outboundDrained() { outbox?.drained() }

    /// Nothing more can be sent: writers that wait, and those to come, get `error`.
    final func failWriters(_ error: NeedletailError) {
        sendFailure = sendFailure ?? error
        outbox?.fail(error)
    }

    final func onLoop(_ body: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { body() } else { eventLoop.execute(body) }
    }
}
