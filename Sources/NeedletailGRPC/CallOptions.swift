public import NeedletailCore

/// What a single call asks for.
public struct CallOptions: Sendable {
    /// When to give up. Nil: never.
    public var deadline: Deadline?
    /// Sent beside the call.
    public var metadata = GRPCMetadata()
    /// Compress the messages sent (gzip), and so ask for compressed ones. For slow links: it costs more than a fast network saves.
    public var compress = false
    /// Wait while the server cannot be reached, instead of failing at once with `unavailable`.
    public var waitForReady = false
    /// The longest message accepted as an answer.
    public var maxMessageBytes = (64 << 20) + (1 << 20)

    public init() {}

    public init(deadline: Deadline?) { self.deadline = deadline }
}
