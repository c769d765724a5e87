import NeedletailCore

/// Decides from ticks when a connection has to be pinged or ended. It knows no time of its own.
///
/// Time is counted in ticks that happened, not in seconds that passed: when the event loop is held up, its connections' bytes lie
/// unread through no fault of theirs, and one late tick must not condemn them all.
struct ConnectionClock {
    enum Verdict: Equatable {
        case nothing
        case ping
        /// The peer's SETTINGS did not come.
        case handshakeTimedOut
        /// No answer to a ping.
        case keepaliveTimedOut
        /// No stream for too long.
        case idle
        /// The peer does not read the end of the connection.
        case lingeredTooLong
    }

    let interval: Duration
    private let handshake: Int
    private let keepalive: Int?
    private let pong: Int
    private let idle: Int?
    private let linger: Int
    private let pingsWithoutStreams: Bool

    private var now = 0
    private var lastRead = 0
    private var hasRead = false
    private var pingSentAt: Int?
    private var idleSince: Int?
    private var closingSince: Int?

    init(_ settings: HTTP2Settings) {
        var shortest = min(settings.handshakeTimeout, settings.keepaliveTimeout)
        if let interval = settings.keepaliveInterval { shortest = min(shortest, interval) }
        if let timeout = settings.idleTimeout { shortest = min(shortest, timeout) }
        // Fine enough for the shortest limit, coarse enough to cost nothing.
        let interval = min(max(shortest / 4, .milliseconds(10)), .seconds(1))
        func ticks(_ duration: Duration) -> Int { max(1, Int((duration / interval).rounded(.up))) }
        self.interval = interval
        handshake = ticks(settings.handshakeTimeout)
        keepalive = settings.keepaliveInterval.map(ticks)
        pong = ticks(settings.keepaliveTimeout)
        idle = settings.idleTimeout.map(ticks)
        linger = ticks(.seconds(1))
        pingsWithoutStreams = settings.keepaliveWithoutStreams
    }

    var awaitsPong: Bool { pingSentAt != nil }
    var isClosing: Bool { closingSince != nil }

    mutating func received() { hasRead = true }
    mutating func pingSent() { pingSentAt = now }
    mutating func pongReceived() { pingSentAt = nil }
    mutating func streamOpened() { idleSince = nil }
    mutating func closing() { closingSince = closingSince ?? now }

    /// One interval has passed. After `.ping` and `.idle` the connection goes on; after the others it is to be ended.
    mutating func tick(openStreams: Int, hasSettings: Bool) -> Verdict {
        now += 1
        if hasRead {
            hasRead = false
            lastRead = now
        }
        if let closingSince { return now - closingSince > linger ? .lingeredTooLong : .nothing }
        guard hasSettings else { return now > handshake ? .handshakeTimedOut : .nothing }
        if let pingSentAt { return now - pingSentAt > pong ? .keepaliveTimedOut : .nothing }
        if let keepalive, now - lastRead >= keepalive, pingsWithoutStreams || openStreams > 0 {
            pingSentAt = now
            return .ping
        }
        return checkIdle(openStreams)
    }

    private mutating func checkIdle(_ openStreams: Int) -> Verdict {
        guard let idle, openStreams == 0 else {
            idleSince = nil
            return .nothing
        }
        let since = idleSince ?? now
        idleSince = since
        return now - since > idle ? .idle : .nothing
    }
}
