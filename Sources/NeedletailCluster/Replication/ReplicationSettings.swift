/// Times and sizes of replication.
public struct ReplicationSettings: Sendable, Hashable {
    /// After so long without progress a member is proposed to leave the in-sync set.
    public var lag: Duration
    /// A primary says at least this often that it is there.
    public var heartbeat: Duration
    /// A backup gives up a stream that was silent for so long.
    public var silence: Duration
    /// Between two attempts at anything.
    public var retry: Duration
    /// Payloads sent on one stream and not acknowledged.
    public var windowBytes: Int
    /// Between two comparisons of what the replicas of a shard hold.
    public var comparison: Duration

    public init(
        lag: Duration = .seconds(2), heartbeat: Duration = .milliseconds(500), silence: Duration = .seconds(2),
        retry: Duration = .milliseconds(200), windowBytes: Int = 16 << 20, comparison: Duration = .seconds(600)
    ) {
        self.lag = lag
        self.heartbeat = heartbeat
        self.silence = silence
        self.retry = retry
        self.windowBytes = windowBytes
        self.comparison = comparison
    }
}
