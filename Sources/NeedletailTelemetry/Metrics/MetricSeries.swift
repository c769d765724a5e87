internal import CoreMetrics
internal import Synchronization

/// One counter, gauge or histogram with the values of its labels.
final class MetricSeries: CounterHandler, FloatingPointCounterHandler, MeterHandler, RecorderHandler, TimerHandler {
    /// What it has come to.
    struct Value: Sendable {
        /// Of a counter or gauge; the sum of what a histogram was told.
        var sum = 0.0
        /// Of a histogram: how often each bucket was hit, the last one beyond all bounds.
        var buckets: [UInt64] = []
    }

    private let bounds: [Double]
    private let value: Mutex<Value>

    init(_ kind: MetricDefinition.Kind) {
        if case .histogram(let bounds) = kind {
            self.bounds = bounds
            value = Mutex(Value(buckets: Array(repeating: 0, count: bounds.count + 1)))
        } else {
            bounds = []
            value = Mutex(Value())
        }
    }

    var current: Value { value.withLock { $0 } }

    func increment(by amount: Int64) { increment(by: Double(amount)) }
    func increment(by amount: Double) { value.withLock { $0.sum += max(0, amount) } }
    func decrement(by amount: Double) { value.withLock { $0.sum -= amount } }
    func reset() { value.withLock { $0.sum = 0 } }
    func set(_ newValue: Int64) { set(Double(newValue)) }
    func set(_ newValue: Double) { value.withLock { $0.sum = newValue } }
    func record(_ sample: Int64) { record(Double(sample)) }

    func record(_ sample: Double) {
        value.withLock { value in
            value.sum += sample
            guard !value.buckets.isEmpty else { return }
            var bucket = 0
            while bucket < bounds.count, sample > bounds[bucket] { bucket += 1 }
            value.buckets[bucket] += 1
        }
    }

    func recordNanoseconds(_ duration: Int64) { record(Double(duration) / 1e9) }
}
