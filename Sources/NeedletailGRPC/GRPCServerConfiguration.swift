public import NeedletailCore
public import NeedletailHTTP2
public import NeedletailTelemetry

/// Where a server listens and what it allows.
public struct GRPCServerConfiguration: Sendable {
    public var host = "127.0.0.1"
    /// 0: any free port; `GRPCServer.start` returns it.
    public var port = 0
    public var tls: ConnectionTLS?
    /// With TLS: which processes of the cluster may call a service; nil: everybody may.
    public var nodesOnly: (@Sendable (_ service: String) -> NodeRoles?)?
    /// Is told of every handshake that fails.
    public var handshakes: TLSMetrics?
    /// The longest message, before and after unpacking: 64 MiB of content and room for what is around it.
    public var maxMessageBytes = (64 << 20) + (1 << 20)
    /// Bytes of unfinished requests over all connections.
    public var maxBufferedRequestBytes = 1 << 30
    /// Bytes of long answers (over 64 KiB) that clients have not taken yet, over all connections.
    public var maxBufferedResponseBytes = 2 << 30
    public var maxConnections = 4096
    public var maxConcurrentStreams = 256
    public var maxHeaderListBytes = 16 << 10
    public var streamWindowBytes = 1 << 20
    public var connectionWindowBytes = 16 << 20
    public var handshakeTimeout: Duration = .seconds(10)
    public var keepaliveInterval: Duration? = .seconds(30)
    public var keepaliveTimeout: Duration = .seconds(20)
    /// Clients without a call for this long are sent away; they come back when they need to. Nil: never.
    public var idleTimeout: Duration? = .seconds(900)
    /// Calls a client may reset (cancel) per second and at once, on one connection.
    public var resetsPerSecond = 1000
    public var resetBurst = 2000
    /// Is told of every call.
    public var metrics: RPCMetrics?
    /// Gives calls their ids and traces.
    public var tracing: CallTracing?

    public init() {}

    var http2: HTTP2Settings {
        var settings = HTTP2Settings()
        settings.maxConcurrentStreams = maxConcurrentStreams
        settings.maxHeaderListBytes = maxHeaderListBytes
        settings.streamWindowBytes = streamWindowBytes
        settings.connectionWindowBytes = connectionWindowBytes
        settings.handshakeTimeout = handshakeTimeout
        settings.keepaliveInterval = keepaliveInterval
        settings.keepaliveTimeout = keepaliveTimeout
        settings.keepaliveWithoutStreams = true
        settings.idleTimeout = idleTimeout
        settings.resetsPerSecond = resetsPerSecond
        settings.resetBurst = resetBurst
        return settings
    }
}
