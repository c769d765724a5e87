public import NIOCore

/// The messages of a streaming call, as the other side sends them. One task reads it, once.
///
/// Reading is what lets the peer send more: an unread stream stops the peer after one window.
public struct RequestStream: AsyncSequence, Sendable {
    public typealias Element = ByteBuffer
    public typealias Failure = any Error

    private let inbox: MessageInbox

    init(_ inbox: MessageInbox) { self.inbox = inbox }

    public func makeAsyncIterator() -> Iterator { Iterator(inbox: inbox) }

    public struct Iterator: AsyncIteratorProtocol {
        fileprivate let inbox: MessageInbox

        public mutating func next() async throws -> ByteBuffer? { try await inbox.next() }
        public mutating func next(isolation actor: isolated (any Actor)?) async throws(any Error) -> ByteBuffer? {
            try await inbox.next()
        }
    }
}

/// Where a handler writes the messages of a streaming answer.
public struct ResponseWriter: Sendable {
    /// Holds the stream, which the outbox does not.
    private let call: ServerCall
    private let outbox: MessageOutbox

    init(_ call: ServerCall, _ outbox: MessageOutbox) {
        self.call = call
        self.outbox = outbox
    }

    /// Sends a message; suspends while the client's window and the send queue (256 KiB) are full. Throws once the call has ended.
    public func write(_ message: ByteBuffer) async throws { try await outbox.write(message) }
}
