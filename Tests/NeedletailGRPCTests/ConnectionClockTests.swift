import NeedletailCore
import Testing

@testable import NeedletailHTTP2

/// The clock of a connection, tick by tick; a tick is a second here.
@Suite struct ConnectionClockTests {
    private func makeClock(idle: Duration? = nil, pingsWithoutStreams: Bool = false) -> ConnectionClock {
        var settings = HTTP2Settings()
        settings.handshakeTimeout = .seconds(8)
        settings.keepaliveInterval = .seconds(5)
        settings.keepaliveTimeout = .seconds(4)
        settings.keepaliveWithoutStreams = pingsWithoutStreams
        settings.idleTimeout = idle
        let clock = ConnectionClock(settings)
        #expect(clock.interval == .seconds(1))
        return clock
    }

    @Test func handshake() {
        var clock = makeClock()
        let verdicts = (1...9).map { _ in clock.tick(openStreams: 0, hasSettings: false) }
        #expect(verdicts == Array(repeating: .nothing, count: 8) + [.handshakeTimedOut])
    }

    @Test func pingsTheSilentAndGivesUp() {
        var clock = makeClock()
        let verdicts = (1...10).map { _ in clock.tick(openStreams: 1, hasSettings: true) }
        #expect(
            verdicts == [.nothing, .nothing, .nothing, .nothing, .ping, .nothing, .nothing, .nothing, .nothing, .keepaliveTimedOut])
    }

    @Test func pongsKeepItAlive() {
        var clock = makeClock()
        for round in 0..<20 {
            let verdicts = (1...5).map { _ in clock.tick(openStreams: 1, hasSettings: true) }
            #expect(verdicts.last == .ping, "round \(round)")
            clock.received()
            clock.pongReceived()
            #expect(clock.tick(openStreams: 1, hasSettings: true) == .nothing)
        }
    }

    @Test func talkativePeersAreNotPinged() {
        var clock = makeClock()
        for _ in 0..<50 {
            clock.received()
            #expect(clock.tick(openStreams: 1, hasSettings: true) == .nothing)
        }
    }

    @Test func idleConnections() {
        var clock = makeClock(idle: .seconds(4))
        var verdicts = (1...4).map { _ in clock.tick(openStreams: 0, hasSettings: true) }
        clock.streamOpened()
        verdicts += (1...6).map { _ in clock.tick(openStreams: 0, hasSettings: true) }
        #expect(verdicts == Array(repeating: .nothing, count: 9) + [.idle])
    }

    @Test func lingering() {
        var clock = makeClock()
        clock.closing()
        #expect(clock.tick(openStreams: 0, hasSettings: true) == .nothing)
        #expect(clock.tick(openStreams: 0, hasSettings: true) == .lingeredTooLong)
    }
}
