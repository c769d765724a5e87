public import NIOCore
public import NeedletailCore

/// What a handler knows about its call beside the message.
public struct ServerContext: Sendable {
    public let method: GRPCMethod
    /// What the client sent beside the call.
    public let metadata: GRPCMetadata
    /// When the client stops waiting. The handler's task is cancelled then.
    public let deadline: Deadline?
    private let call: ServerCall

    init(method: GRPCMethod, metadata: GRPCMetadata, deadline: Deadline?, peerIdentity: PeerIdentity, call: ServerCall) {
        self.peerIdentity = peerIdentity
        self.method = method
        self.metadata = metadata
        self.deadline = deadline
        self.call = call
    }

    /// The client's address.
    public var peer: String { call.peer }
    /// Who the client has proved to be.
    public let peerIdentity: PeerIdentity
    /// The connection's event loop: the handler's task runs there, so it must not block it.
    public var eventLoop: any EventLoop { call.eventLoop }

    /// Sends `value` beside the status, when the call ends.
    public func setTrailer(_ value: GRPCMetadata.Value, for key: String) {
        call.onLoop { call.trailerMetadata.append(value, for: key) }
    }

    /// Sends `value` before the first message. Too late once a message has been written.
    public func setInitialMetadata(_ value: GRPCMetadata.Value, for key: String) {
        call.onLoop { call.initialMetadata.append(value, for: key) }
    }
}
