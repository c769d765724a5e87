import Histogram

/// How often each latency was seen, in the buckets of an HDR histogram of three significant digits: a value is off by a thousandth at
/// most. Only buckets that hold something are kept, so that one a second of a long run is affordable. Adding two is exact.
public struct LatencyHistogram: Sendable, Equatable {
    /// Microseconds, ascending: the highest value of each bucket.
    public private(set) var values: [UInt64] = []
    /// One a value.
    public private(set) var counts: [UInt64] = []

    public init() {}

    /// What a recording has in it.
    init(_ recording: Histogram<UInt32>) {
        for entry in recording.recordedValues() {
            values.append(entry.value)
            counts.append(UInt64(entry.count))
        }
    }

    /// A recording that takes latencies up to `limit`; longer ones count as `limit`.
    static func recording() -> Histogram<UInt32> {
        Histogram(lowestDiscernibleValue: 1, highestTrackableValue: limit, numberOfSignificantValueDigits: .three)
    }

    /// An hour, in microseconds.
    static let limit: UInt64 = 3_600_000_000

    /// Latencies in microseconds.
    public init(_ latencies: [UInt64]) {
        var recording = Self.recording()
        for latency in latencies { recording.record(min(latency, Self.limit)) }
        self.init(recording)
    }

    public var count: UInt64 { counts.reduce(0, +) }
    public var isEmpty: Bool { values.isEmpty }
    /// Microseconds; 0 when empty.
    public var max: UInt64 { values.last ?? 0 }
    public var mean: Double {
        let total = count
        return total == 0 ? 0 : zip(values, counts).reduce(0.0) { $0 + Double($1.0) * Double($1.1) } / Double(total)
    }

    /// The least value that at least `percentile` % of all are not above, in microseconds; 0 when empty.
    public func value(at percentile: Double) -> UInt64 {
        let wanted = Swift.max(1, (Double(count) * percentile / 100 - 1e-6).rounded(.up))
        var seen = 0.0
        for (value, count) in zip(values, counts) {
            seen += Double(count)
            if seen >= wanted { return value }
        }
        return max
    }

    /// Share of values above `microseconds`.
    public func share(above microseconds: UInt64) -> Double {
        let total = count
        guard total > 0 else { return 0 }
        return Double(zip(values, counts).reduce(0) { $0 + ($1.0 > microseconds ? $1.1 : 0) }) / Double(total)
    }

    /// Merges two ascending lists.
    public static func += (left: inout LatencyHistogram, right: LatencyHistogram) {
        if right.isEmpty { return }
        if left.isEmpty {
            left = right
            return
        }
        var merged = LatencyHistogram()
        merged.values.reserveCapacity(left.values.count + right.values.count)
        merged.counts.reserveCapacity(left.values.count + right.values.count)
        var (i, j) = (0, 0)
        while i < left.values.count || j < right.values.count {
            let a = i < left.values.count ? left.values[i] : .max
            let b = j < right.values.count ? right.values[j] : .max
            merged.values.append(Swift.min(a, b))
            merged.counts.append((a <= b ? left.counts[i] : 0) + (b <= a ? right.counts[j] : 0))
            if a <= b { i += 1 }
            if b <= a { j += 1 }
        }
        left = merged
    }
}

/// As `[value, count, distance to the next value, count, …]`, which is short in JSON.
extension LatencyHistogram: Codable {
    public init(from decoder: any Decoder) throws {
        let flat = try decoder.singleValueContainer().decode([UInt64].self)
        var value: UInt64 = 0
        guard flat.count.isMultiple(of: 2) else {
            throw DecodingError.dataCorrupted(
                .init(codingPath: decoder.codingPath, debugDescription: "a histogram has values and counts in pairs"))
        }
        for index in stride(from: 0, to: flat.count, by: 2) {
            let (sum, overflow) = value.addingReportingOverflow(flat[index])
            guard !overflow, index == 0 || flat[index] > 0 else {
                throw DecodingError.dataCorrupted(
                    .init(codingPath: decoder.codingPath, debugDescription: "a histogram's values ascend"))
            }
            value = sum
            values.append(value)
            counts.append(flat[index + 1])
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var flat: [UInt64] = []
        var last: UInt64 = 0
        for (value, count) in zip(values, counts) {
            flat += [value - last, count]
            last = value
        }
        var container = encoder.singleValueContainer()
        try container.encode(flat)
    }
}
