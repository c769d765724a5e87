public import NIOCore

/// A request to the admin port that is answered by whoever runs it.
public struct AdminRequest: Sendable {
    public var method: String
    /// Without the query.
    public var path: String
    /// The `Host` header.
    public var host: String
    /// The first value of a header, by its name in lower case.
    public var header: @Sendable (String) -> String?
    public var body: ByteBuffer
    /// The client's address; empty when it is not known.
    public var peer: String

    public init(
        method: String = "POST", path: String, host: String = "", header: @escaping @Sendable (String) -> String?, body: ByteBuffer,
        peer: String = ""
    ) {
        self.method = method
        self.peer = peer
        self.path = path
        self.host = host
        self.header = header
        self.body = body
    }
}

public struct AdminAnswer: Sendable {
    public enum Body: Sendable {
        case whole(ByteBuffer)
        /// Pieces that are sent as they come.
        case pieces(any AsyncSequence<ByteBuffer, any Error> & Sendable)
    }

    public var status: Int
    public var headers: [(name: String, value: String)]
    public var body: Body

    public init(status: Int, headers: [(name: String, value: String)], body: Body) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}
