public import NeedletailHTTP2

/// How a client connects.
public struct GRPCClientConfiguration: Sendable {
    public var tls: ConnectionTLS?
    /// Connections, each on an event loop of its own; calls take turns. One is enough unless one core cannot carry the traffic.
    public var connections = 1
    public var connectTimeout: Duration = .seconds(5)
    /// From connecting to the server's SETTINGS.
    public var handshakeTimeout: Duration = .seconds(10)
    /// The wait after the first failure to connect; it doubles up to `maxBackoff`, and each wait is cut by up to a quarter at random.
    public var minBackoff: Duration = .milliseconds(100)
    public var maxBackoff: Duration = .seconds(10)
    /// Calls that wait for a connection or for room on it, per connection. Beyond that calls fail with `resourceExhausted`.
    public var maxPendingCalls = 4096
    /// How often a call that the server refused unread is sent again.
    public var maxTransparentRetries = 3
    public var keepaliveInterval: Duration? = .seconds(20)
    public var keepaliveTimeout: Duration = .seconds(10)
    /// Whether to ping also while no call is open. Other servers may dislike that (`too_many_pings`).
    public var keepaliveWithoutCalls = false
    /// A connection without calls is closed after this long. Nil: never.
    public var idleTimeout: Duration?
    public var streamWindowBytes = 1 << 20
    public var connectionWindowBytes = 16 << 20
    public var maxHeaderListBytes = 16 << 10
    public var userAgent = "needletail-swift/1"
    /// Goes along with every call that has none of its own: `Bearer KEY`.
    public var authorization: String?

    public init() {}

    var http2: HTTP2Settings {
        var settings = HTTP2Settings()
        settings.maxConcurrentStreams = 0
        settings.handshakeTimeout = handshakeTimeout
        settings.keepaliveInterval = keepaliveInterval
        settings.keepaliveTimeout = keepaliveTimeout
        settings.keepaliveWithoutStreams = keepaliveWithoutCalls
        settings.idleTimeout = idleTimeout
        settings.streamWindowBytes = streamWindowBytes
        settings.connectionWindowBytes = connectionWindowBytes
        settings.maxHeaderListBytes = maxHeaderListBytes
        return settings
    }
}
