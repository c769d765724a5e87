import NIOCore
import NeedletailCore
import Synchronization

/// Messages that have arrived on a stream and wait for their reader, who may be on any thread.
///
/// What is queued here still holds its stream's credit, so the peer can send at most one window ahead of the reader. Messages stay
/// compressed until they are read, so that the window bounds memory also for messages that unpack to far more.
final class MessageInbox: @unchecked Sendable {  // the event loop guards every `var`
    private let eventLoop: any EventLoop
    private let limit: Int
    private weak var stream: GRPCStream?
    private var messages = CircularBuffer<RawMessage>()
    private var end: Result<Void, any Error>?
    private var reader: Reader?

    /// Someone who waits for a message.
    private final class Reader: Sendable {
        let continuation: UnsafeContinuation<ByteBuffer?, any Error>
        init(_ continuation: UnsafeContinuation<ByteBuffer?, any Error>) { self.continuation = continuation }
    }

    init(_ stream: GRPCStream, limit: Int) {
        self.stream = stream
        self.limit = limit
        eventLoop = stream.eventLoop
    }

    var isEmpty: Bool { messages.isEmpty }
    var byteCount: Int { messages.reduce(0) { $0 + $1.body.readableBytes } }

    // MARK: The stream's side, on the event loop

    func deliver(_ message: RawMessage) {
        guard end == nil else { return }
        messages.append(message)
        serve()
    }

    /// No more messages follow. An error discards what is queued: the call has failed.
    func finish(_ result: Result<Void, any Error>) {
        guard end == nil else { return }
        end = result
        if case .failure = result { messages.removeAll() }
        serve()
    }

    private func serve() {
        guard let reader, let result = take() else { return }
        self.reader = nil
        reader.continuation.resume(with: result)
    }

    /// The next message, the end, or nil when the reader has to wait.
    private func take() -> Result<ByteBuffer?, any Error>? {
        guard let message = messages.popFirst() else { return end.map { $0.map { nil } } }
        stream?.messageConsumed(message, inboxIsEmpty: messages.isEmpty)
        return Result { try message.unpacked(limit: limit) }
    }

    // MARK: The reader's side

    func next() async throws -> ByteBuffer? {
        if eventLoop.inEventLoop, let result = take() { return try result.get() }
        let isCancelled = CancellationFlag()
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                onLoop { self.wait(Reader(continuation), isCancelled) }
            }
        } onCancel: {
            isCancelled.set()
            onLoop { self.giveUp() }
        }
    }

    private func wait(_ reader: Reader, _ isCancelled: CancellationFlag) {
        if let result = take() { return reader.continuation.resume(with: result) }
        guard !isCancelled.isSet else { return reader.continuation.resume(throwing: CancellationError()) }
        guard self.reader == nil else {
            let error = NeedletailError(.internal, "Two tasks read one stream of messages at once. Give the stream to one task.")
            return reader.continuation.resume(throwing: error)
        }
        self.reader = reader
    }

    private func giveUp() {
        reader?.continuation.resume(throwing: CancellationError())
        reader = nil
    }

    private func onLoop(_ body: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { body() } else { eventLoop.execute(body) }
    }
}

/// Set by a cancellation handler, on whatever thread it runs.
final class CancellationFlag: Sendable {
    private let flag = Atomic<Bool>(false)
    var isSet: Bool { flag.load(ordering: .acquiring) }
    func set() { flag.store(true, ordering: .releasing) }
}

extension RawMessage {
    func unpacked(limit: Int) throws -> ByteBuffer { isCompressed ? try Gzip.decompress(body, limit: limit) : body }
}
