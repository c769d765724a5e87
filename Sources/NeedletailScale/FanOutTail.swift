/// How long a search takes that waits for the slowest of many shards, from the distribution of one (order statistics: Dean and Barroso,
/// "The Tail at Scale", 2013), each behind a queue.
public struct FanOutTail: Sendable {
    /// Milliseconds of one shard's walk, without waiting.
    let walk: Quantiles
    /// Cores that walk in a node, and the share of their time that they are busy.
    let cores: Int
    let utilisation: Double
    /// Milliseconds that each search takes beside walking and waiting.
    let constant: Double

    /// The value that a search over `shards` shards stays below in `percentile` % of cases, in milliseconds; infinite when overloaded.
    func value(at percentile: Double, shards: Double) -> Double {
        guard utilisation < 1 else { return .infinity }
        // Every shard has to be as quick, so each one's share is a root of the whole's.
        let share = Transcendental.pow(percentile / 100, 1 / max(1, shards))
        var (low, high) = (0.0, max(1e-3, walk.value(at: 1)))
        while shareBelow(high) < share, high < 1e7 { high *= 2 }
        for _ in 0..<60 {
            let middle = (low + high) / 2
            if shareBelow(middle) < share { low = middle } else { high = middle }
        }
        return constant + high
    }

    /// Share of walks that have waited and ended within `time`. The wait is that of an M/G/c queue in the usual approximation: with the
    /// probability of Erlang's C formula one waits, exponentially, as long as service times of this spread want (Allen and Cunneen).
    private func shareBelow(_ time: Double) -> Double {
        let (probability, mean) = wait
        var below = 0.0
        let steps = 200
        for step in 0..<steps {
            let service = walk.value(at: (Double(step) + 0.5) / Double(steps))
            guard service <= time else { break }
            below += 1 - (mean > 0 ? probability * Transcendental.exp(-(time - service) / mean) : 0)
        }
        return below / Double(steps)
    }

    /// The probability of waiting, and the mean wait of those who do, in milliseconds.
    private var wait: (probability: Double, mean: Double) {
        let load = utilisation * Double(cores)
        guard load > 0 else { return (0, 0) }
        // Erlang B by its recurrence, which never overflows, then C from it.
        var blocked = 1.0
        for count in 1...cores { blocked = load * blocked / (Double(count) + load * blocked) }
        let waiting = blocked / (1 - utilisation * (1 - blocked))
        let squaredSpread = max(0, walk.squareMean / (walk.mean * walk.mean) - 1)
        return (waiting, walk.mean / (Double(cores) * (1 - utilisation)) * (1 + squaredSpread) / 2)
    }
}
