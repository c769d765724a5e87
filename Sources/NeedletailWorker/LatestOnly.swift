/// A place for one value: a newer one takes the place of one that was not taken yet. For one taker.
struct LatestOnly<Value: Sendable>: Sendable {
    private let stream: AsyncStream<Value>
    private let continuation: AsyncStream<Value>.Continuation

    init() { (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

    func put(_ value: Value) { continuation.yield(value) }

    /// Waits for a value; nil when the taker was cancelled.
    func next() async -> Value? { await stream.first { _ in true } }
}
