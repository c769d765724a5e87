/// What one side of a connection allows and insists on.
public struct HTTP2Settings: Sendable {
    /// Streams the peer may have open at once.
    public var maxConcurrentStreams = 256
    /// Bytes of a stream's body that may be on the way or unread. Large enough for a fast link's bandwidth × delay.
    public var streamWindowBytes = 1 << 20
    /// The same for the whole connection.
    public var connectionWindowBytes = 16 << 20
    /// The largest DATA frame we accept. Bigger frames cost less per byte; 64 KiB is where the gain ends on loopback.
    public var maxFrameBytes = 64 << 10
    /// Names, values and 32 bytes for each field (RFC 9113, section 6.5.2) of one header block.
    public var maxHeaderListBytes = 16 << 10
    /// From the connection's start to the peer's SETTINGS frame, so that a silent or dripping peer holds no socket.
    public var handshakeTimeout: Duration = .seconds(10)
    /// After this long without a byte from the peer, ask whether it lives. Nil: never.
    public var keepaliveInterval: Duration? = .seconds(30)
    /// How long an answer to that may take before the connection counts as dead.
    public var keepaliveTimeout: Duration = .seconds(20)
    /// Whether to ask also while no stream is open.
    public var keepaliveWithoutStreams = false
    /// A connection without streams is closed after this long. Nil: never.
    public var idleTimeout: Duration?
    /// Streams the peer may reset, a second and in one burst (CVE-2023-44487). Hedged searches cancel a few in a hundred.
    public var resetsPerSecond = 1000
    public var resetBurst = 2000
    /// PING, SETTINGS, PRIORITY, empty DATA and invalid frames: a second, and in one burst.
    public var controlFramesPerSecond = 500
    public var controlFrameBurst = 2000

    public init() {}
}
