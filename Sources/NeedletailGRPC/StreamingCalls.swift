public import NIOCore
import NeedletailCore
import NeedletailHTTP2

/// Cancels its call when the last copy of what the caller holds is gone.
final class CallHandle: Sendable {
    let call: ClientCall
    let inbox: MessageInbox

    let outbox: MessageOutbox

    init(_ call: ClientCall, _ inbox: MessageInbox, _ outbox: MessageOutbox) {
        self.call = call
        self.inbox = inbox
        self.outbox = outbox
    }

    deinit {
        let call = call
        call.onLoop { call.cancel() }
    }

    func send(_ message: ByteBuffer) async throws { try await outbox.write(message) }

    func finishSending() {
        let call = call
        call.onLoop {
            call.outbox?.fetch()
            call.finish(trailers: nil)
        }
    }

    func cancel() {
        let call = call
        call.onLoop { call.cancel() }
    }

    func onLoop<Value: Sendable>(_ body: @escaping @Sendable (ClientCall) -> Value) async -> Value {
        if call.eventLoop.inEventLoop { return body(call) }
        let call = call
        return await withUnsafeContinuation { continuation in
            call.eventLoop.execute { continuation.resume(returning: body(call)) }
        }
    }
}

/// The messages a server sends back. One task reads it, once; a stream that is dropped unread cancels its call.
///
/// Reading is what lets the server send more. The iteration throws the call's status if that is an error.
public struct ResponseStream: AsyncSequence, Sendable {
    public typealias Element = ByteBuffer
    public typealias Failure = any Error

    private let handle: CallHandle

    init(_ handle: CallHandle) { self.handle = handle }

    public func makeAsyncIterator() -> Iterator { Iterator(handle: handle) }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let handle: CallHandle

        public mutating func next() async throws -> ByteBuffer? { try await handle.inbox.next() }
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(any Error) -> ByteBuffer? {
            try await handle.inbox.next()
        }
    }

    var noAnswer: NeedletailError { handle.call.noAnswer }
    var secondAnswer: NeedletailError { handle.call.secondAnswer }

    public func cancel() { handle.cancel() }
    /// What came before the first message; empty until then.
    public func initialMetadata() async -> GRPCMetadata { await handle.onLoop { $0.initialMetadata } }
    /// What came beside the status; empty until the stream has ended.
    public func trailers() async -> GRPCMetadata { await handle.onLoop { $0.trailerMetadata } }
}

/// A call that sends a stream of messages and gets one back. Dropping it cancels the call.
public struct ClientStreamingCall: Sendable {
    private let handle: CallHandle

    init(_ handle: CallHandle) { self.handle = handle }

    /// Sends a message; suspends while the server's window and the send queue (256 KiB) are full.
    public func send(_ message: ByteBuffer) async throws { try await handle.send(message) }

    /// Ends the request and waits for the answer.
    public func finish() async throws -> ByteBuffer {
        handle.finishSending()
        guard let answer = try await handle.inbox.next() else { throw handle.call.noAnswer }
        guard try await handle.inbox.next() == nil else { throw handle.call.secondAnswer }
        return answer
    }

    public func cancel() { handle.cancel() }
    public func trailers() async -> GRPCMetadata { await handle.onLoop { $0.trailerMetadata } }
}

/// A call with streams both ways. Dropping it, and its responses, cancels it.
public struct BidirectionalCall: Sendable {
    private let handle: CallHandle

    init(_ handle: CallHandle) { self.handle = handle }

    /// Sends a message; suspends while the server's window and the send queue (256 KiB) are full.
    public func send(_ message: ByteBuffer) async throws { try await handle.send(message) }
    /// Ends the request; answers may still come.
    public func finishSending() { handle.finishSending() }
    public var responses: ResponseStream { ResponseStream(handle) }
    public func cancel() { handle.cancel() }
}
