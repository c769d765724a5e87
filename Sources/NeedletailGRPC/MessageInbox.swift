import NIOCore
import NeedletailCore
import NeedletailHTTP2
import Synchronization

/// Messages that have arrived on a stream and wait for their reader, who may be on any thread.
///
/// What is queued here still holds its stream's credit, so the peer can send at most one window ahead of the reader. Messages stay
/// compressed until they are read, so that the window bounds memory also for messages that unpack to far more.
///
/// A reader on another thread takes messages under the lock, without a visit to the event loop; the credit it owes goes back there in
/// larger sums.
final class MessageInbox: Sendable {
    private typealias Reader = UnsafeContinuation<RawMessage?, any Error>

    private struct State {
        var messages = CircularBuffer<RawMessage>(initialCapacity: 4)
        var end: Result<Void, any Error>?
        var reader: Reader?
        /// Credit of messages that were read elsewhere than on the event loop.
        var owedCredit = 0
        var isSettling = false
        /// Whether an unfinished message waits for the inbox to become empty, to get its credit.
        var holdsPartial = false
    }

    private enum Outcome {
        case message(RawMessage)
        case end(Result<Void, any Error>)
        case wait
    }

    private let eventLoop: any EventLoop
    private let limit: Int
    private let stream: WeakStream
    private let state = Mutex(State())

    /// What may be owed: a part of the window, so that the sender never waits for a sum that is not being paid.
    private let creditStep: Int

    /// Touched on the event loop only.
    private final class WeakStream: @unchecked Sendable {
        weak var stream: GRPCStream?
        init(_ stream: GRPCStream) { self.stream = stream }
    }

    init(_ stream: GRPCStream, limit: Int, windowBytes: Int) {
        creditStep = min(128 << 10, windowBytes / 4)
        self.stream = WeakStream(stream)
        self.limit = limit
        eventLoop = stream.eventLoop
    }

    // MARK: The stream's side, on the event loop

    func deliver(_ message: RawMessage) {
        let reader = state.withLock { state -> Reader? in
            guard state.end == nil else { return nil }
            if let reader = state.reader {
                state.reader = nil
                return reader
            }
            state.messages.append(message)
            return nil
        }
        guard let reader else { return }
        stream.stream?.returnCredit(message.credit)
        reader.resume(returning: message)
    }

    /// Whether the credit of an unfinished message may be returned: nothing before it is unread. If not, it is when that is read.
    func admitsPartial() -> Bool {
        state.withLock {
            $0.holdsPartial = !$0.messages.isEmpty
            return $0.messages.isEmpty
        }
    }

    /// No more messages follow. An error discards what is queued: the call has failed.
    func finish(_ result: Result<Void, any Error>) {
        let reader = state.withLock { state -> Reader? in
            guard state.end == nil else { return nil }
            state.end = result
            if case .failure = result { state.messages.removeAll() }
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(with: result.map { nil })
    }

    // MARK: The reader's side

    func next() async throws -> ByteBuffer? {
        let message: RawMessage?
        switch take() {
        case .message(let first): message = first
        case .end(let result): return try result.map { nil }.get()
        case .wait:
            message = try await withTaskCancellationHandler {
                try await withUnsafeThrowingContinuation { wait($0) }
            } onCancel: {
                giveUp()
            }
        }
        return try message?.unpacked(limit: limit)
    }

    private func take() -> Outcome {
        var mustSettle = false
        let outcome = state.withLock { state -> Outcome in
            guard let message = state.messages.popFirst() else { return state.end.map { .end($0) } ?? .wait }
            state.owedCredit += message.credit
            if !state.isSettling, state.owedCredit >= creditStep || state.holdsPartial && state.messages.isEmpty {
                state.isSettling = true
                mustSettle = true
            }
            return .message(message)
        }
        if mustSettle { onLoop { self.settle() } }
        return outcome
    }

    private func settle() {
        let (credit, releasesPartial) = state.withLock { state in
            defer {
                state.owedCredit = 0
                state.isSettling = false
                if state.messages.isEmpty { state.holdsPartial = false }
            }
            return (state.owedCredit, state.holdsPartial && state.messages.isEmpty)
        }
        stream.stream?.returnCredit(credit)
        if releasesPartial { stream.stream?.releasePartialCredit() }
    }

    private func wait(_ reader: Reader) {
        while true {
            switch take() {
            case .message(let message): return reader.resume(returning: message)
            case .end(let result): return reader.resume(with: result.map { nil })
            case .wait: if register(reader) { return }
            }
        }
    }

    /// Leaves `reader` to be resumed; false when something came in between.
    private func register(_ reader: Reader) -> Bool {
        let failure = state.withLock { state -> (any Error)?? in
            guard state.messages.isEmpty, state.end == nil else { return nil }
            // The flag is set before the cancellation handler takes the lock, so one of the two sees the other.
            if Task.isCancelled { return .some(CancellationError()) }
            if state.reader != nil {
                return .some(
                    NeedletailError(.internal, "Two tasks read one stream of messages at once. Give the stream to one task."))
            }
            state.reader = reader
            return .some(nil)
        }
        guard let failure else { return false }
        if let failure { reader.resume(throwing: failure) }
        return true
    }

    private func giveUp() {
        let reader = state.withLock { state in
            defer { state.reader = nil }
            return state.reader
        }
        reader?.resume(throwing: CancellationError())
    }

    private func onLoop(_ body: @escaping @Sendable () -> Void) {
        if eventLoop.inEventLoop { body() } else { eventLoop.execute(body) }
    }
}

extension RawMessage {
    func unpacked(limit: Int) throws -> ByteBuffer { isCompressed ? try Gzip.decompress(body, limit: limit) : body }
}
