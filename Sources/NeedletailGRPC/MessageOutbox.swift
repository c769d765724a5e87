import NIOCore
import NeedletailCore
import NeedletailHTTP2
import Synchronization

/// Where a call's messages are written, from any thread, with back-pressure.
///
/// On the event loop a message goes straight to its stream. Elsewhere it is left here under the lock and fetched by the loop, so that
/// a writer visits the loop only when it has to wait.
final class MessageOutbox: @unchecked Sendable {  // the loop's are `writers`, `isFull`, `stream`; the mutex guards the rest
    private struct State {
        var messages: [ByteBuffer] = []
        var byteCount = 0
        /// Whether the loop has been asked to fetch.
        var isFetching = false
        /// Whether the stream's queue was over its limit when the loop last looked.
        var isFull = false
        /// Why nothing more can be sent.
        var failure: NeedletailError?
    }

    /// Someone who waits until the queue has room. Used on the event loop only, but for the flag.
    private final class Writer: @unchecked Sendable {
        var continuation: UnsafeContinuation<Void, any Error>?
        let isCancelled = Atomic<Bool>(false)

        func resume(_ result: Result<Void, any Error>) {
            continuation?.resume(with: result)
            continuation = nil
        }
    }

    private let eventLoop: any EventLoop
    private unowned let stream: GRPCStream
    private let state = Mutex(State())
    private var writers: [Writer] = []
    /// The loop's own copy of the flag, so that it need not take the lock for every frame it sends.
    private var isFull = false

    /// A writer waits above this many queued bytes, and goes on at `HTTP2Stream.lowWaterBytes`.
    private static let highWaterBytes = 256 << 10

    init(_ stream: GRPCStream) {
        self.stream = stream
        eventLoop = stream.eventLoop
    }

    // MARK: The writer's side

    /// Sends a message; returns once the queue has room for the next. The caller holds the stream.
    func write(_ message: ByteBuffer) async throws {
        if eventLoop.inEventLoop {
            fetch()
            if let failure = stream.sendFailure { throw failure }
            try stream.sendMessage(message)
            if stream.queuedBytes > Self.highWaterBytes { try await waitForRoom() }
            return
        }
        let (mustFetch, mustWait) = try state.withLock { state in
            if let failure = state.failure { throw failure }
            state.messages.append(message)
            state.byteCount += message.readableBytes + MessageReader.prefixBytes
            defer { state.isFetching = true }
            return (!state.isFetching, state.isFull || state.byteCount > Self.highWaterBytes)
        }
        if mustFetch { eventLoop.execute { [stream] in stream.outbox?.fetch() } }
        if mustWait { try await waitForRoom() }
    }

    private func waitForRoom() async throws {
        let writer = Writer()
        try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                onLoop {
                    writer.continuation = continuation
                    self.admit(writer)
                }
            }
        } onCancel: {
            writer.isCancelled.store(true, ordering: .releasing)
            onLoop {
                self.writers.removeAll { $0 === writer }
                writer.resume(.failure(CancellationError()))
            }
        }
    }

    // MARK: The stream's side, on the event loop

    /// Hands the stream what was left here.
    func fetch() {
        let messages = state.withLock { state -> [ByteBuffer] in
            state.isFetching = false
            guard !state.messages.isEmpty else { return [] }
            state.byteCount = 0
            defer { state.messages = [] }
            return state.messages
        }
        guard !messages.isEmpty, stream.sendFailure == nil else { return }
        do {
            for message in messages { try stream.sendMessage(message) }
        } catch {
            // A message that cannot be framed. Its writer has gone on, so the whole call has to fail.
            stream.receiveFailed(GRPCStatus.wire(error))
        }
        guard stream.queuedBytes > Self.highWaterBytes else { return }
        isFull = true
        state.withLock { $0.isFull = true }
    }

    private func admit(_ writer: Writer) {
        if let failure = stream.sendFailure { return writer.resume(.failure(failure)) }
        if stream.queuedBytes <= Self.highWaterBytes { return writer.resume(.success(())) }
        if writer.isCancelled.load(ordering: .acquiring) { return writer.resume(.failure(CancellationError())) }
        writers.append(writer)
    }

    /// The stream's queue has room again.
    func drained() {
        if isFull {
            isFull = false
            state.withLock { $0.isFull = false }
        }
        resumeWriters(.success(()))
    }

    /// Nothing more can be sent: writers that wait, and those to come, get `error`.
    func fail(_ error: NeedletailError) {
        state.withLock {
            $0.failure = $0.failure ?? error
            $0.messages = []
        }
        resumeWriters(.failure(error))
    }

    private func resumeWriters(_ result: Result<Void, any Error>) {
        guard !writers.isEmpty else { return }
        let waiting = writers
        writers.removeAll()
        for writer in waiting { writer.resume(result) }
    }

    private func onLoop(_ body: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { body() } else { eventLoop.execute(body) }
    }
}
