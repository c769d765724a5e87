import Histogram
import Synchronization

/// Takes in what becomes of requests, from any thread, and hands out what has come in since it was last asked.
final class SliceRecorder: Sendable {
    /// How one request went.
    struct Outcome {
        var kind: Int
        /// Seconds from the start of the segment.
        var intended: Double
        var sent: Double
        var ended: Double
        /// nil: answered.
        var failure: String?
        /// What the error said.
        var message = ""
        var uncovered = false
        var stale = false
        var deletedFound = false
        var right = 0
        var wanted = 0
        var points = 0
        var queries = 0
    }

    private struct Live {
        var tally = Tally()
        var latency = LatencyHistogram.recording()
        var service = LatencyHistogram.recording()
    }

    private struct Second {
        var kinds: [Int: Live] = [:]
        var held = 0
        var messages: [String: String] = [:]
        var lag: Histogram<UInt32>?
    }

    private let kinds: [String]
    private let seconds = Mutex<[Int: Second]>([:])

    /// - Parameter kinds: names that outcomes refer to by their index.
    init(kinds: [String]) { self.kinds = kinds }

    func record(_ outcome: Outcome) {
        let second = Int(outcome.intended)
        let latency = Self.microseconds(outcome.ended - outcome.intended)
        let service = Self.microseconds(outcome.ended - outcome.sent)
        let lag = Self.microseconds(outcome.sent - outcome.intended)
        seconds.withLock { seconds in
            if outcome.failure == nil {
                seconds[Int(outcome.ended), default: Second()].kinds[outcome.kind, default: Live()].tally.completed += 1
            }
            if let code = outcome.failure, seconds[second]?.messages[code] == nil {
                seconds[second, default: Second()].messages[code] = outcome.message
            }
            seconds[second, default: Second()].lag = Self.adding(lag, to: seconds[second]?.lag.take())
            Self.add(outcome, latency, service, to: &seconds[second, default: Second()].kinds[outcome.kind, default: Live()])
        }
    }

    private static func adding(_ value: UInt64, to histogram: consuming Histogram<UInt32>?) -> Histogram<UInt32> {
        var histogram = histogram ?? LatencyHistogram.recording()
        histogram.record(value)
        return histogram
    }

    private static func add(_ outcome: Outcome, _ latency: UInt64, _ service: UInt64, to live: inout Live) {
        live.tally.ended += 1
        if let code = outcome.failure {
            live.tally.failed[code, default: 0] += 1
            live.tally.firstFailure = min(live.tally.firstFailure ?? outcome.intended, outcome.intended)
            live.tally.lastFailure = max(live.tally.lastFailure ?? outcome.intended, outcome.intended)
            return
        }
        live.latency.record(latency)
        live.service.record(service)
        live.tally.answered += 1
        live.tally.uncovered += outcome.uncovered ? 1 : 0
        live.tally.stale += outcome.stale ? 1 : 0
        live.tally.deletedFound += outcome.deletedFound ? 1 : 0
        live.tally.right += outcome.right
        live.tally.wanted += outcome.wanted
        live.tally.points += outcome.points
        live.tally.queries += outcome.queries
    }

    /// A request of this second had to wait for a place.
    func held(at intended: Double) { seconds.withLock { $0[Int(intended), default: Second()].held += 1 } }

    /// Everything since the last call, to be added to what was handed out then.
    func take() -> [Slice] {
        let taken = seconds.withLock { seconds in
            let taken = seconds
            seconds = [:]
            return taken
        }
        return taken.sorted { $0.key < $1.key }.map { number, second in
            var slice = Slice(second: number)
            slice.held = second.held
            slice.messages = second.messages
            if let lag = second.lag { slice.lag = LatencyHistogram(lag) }
            for (kind, live) in second.kinds {
                var tally = live.tally
                tally.latency = LatencyHistogram(live.latency)
                tally.service = LatencyHistogram(live.service)
                slice.tallies[kinds[kind]] = tally
            }
            return slice
        }
    }

    private static func microseconds(_ seconds: Double) -> UInt64 { min(UInt64(max(0, seconds * 1e6)), LatencyHistogram.limit) }
}
