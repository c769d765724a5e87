internal import CoreMetrics
public import NeedletailCore
internal import Synchronization

/// Where traces go, as flags say it.
public struct TracingConfiguration: Sendable {
    /// Of the receiver: OTLP over gRPC.
    public var host: String
    public var port: Int
    /// Whether by TLS.
    public var isEncrypted: Bool
    /// File of the authorities of its certificate; nil: the system's.
    public var authority: String?
    /// Share of the requests without a trace of their caller's that begin one, 0 … 1. What callers have sampled is recorded whatever it is.
    public var sampleRate: Double

    /// - Throws: `invalidArgument` that says which flag is wrong.
    public init?(endpoint: String?, sampleRate: Double, authority: String? = nil) throws(NeedletailError) {
        guard (0...1).contains(sampleRate) else {
            throw NeedletailError(.invalidArgument, "--trace-sample must be 0 to 1, the share of requests that are traced, not \(sampleRate)")
        }
        guard let endpoint else { return nil }
        let (text, isEncrypted) = Endpoint.scheme(of: endpoint)
        guard let isEncrypted, let address = try? Endpoint.parse(Self.address(text[...])) else {
            throw NeedletailError(.invalidArgument, "--otlp must be an address such as http://127.0.0.1:4317 or https://otel.example:4317, not \(endpoint)")
        }
        guard isEncrypted || authority == nil else {
            throw NeedletailError(.invalidArgument, "--otlp-authority goes with an address that begins with https://")
        }
        (host, port) = address
        self.isEncrypted = isEncrypted
        self.authority = authority
        self.sampleRate = sampleRate
    }

    /// With the port that is usual where none is named.
    private static func address(_ plain: Substring) -> String {
        // An address of IPv6 stands in brackets, with colons of its own.
        let afterHost = plain.lastIndex(of: "]").map { plain[$0...] } ?? plain
        return afterHost.contains(":") ? String(plain) : plain + ":4317"
    }
}

/// The spans of one process on their way to a receiver: a bounded queue that requests put ended spans in and never wait for.
public final class Tracer: Sendable {
    /// As the resource attribute `service.name` has it.
    public let service: String
    /// More of the process: `service.instance.id` and so on.
    public let resource: [SpanAttribute]
    /// Share of the requests that are traced without their caller's wish, as of now.
    public var sampleRate: Double { rate() }
    private let rate: @Sendable () -> Double
    private let limit: Int
    private let queue = Mutex<[FinishedSpan]>([])
    private let exported: Counter
    private let dropped: Counter
    private let refused: Counter

    /// - Parameter limit: spans that wait to be sent; more are dropped, and counted.
    public init(
        service: String, resource: [SpanAttribute] = [], sampleRate: @autoclosure @escaping @Sendable () -> Double, limit: Int = 16_384,
        metrics registry: MetricsRegistry
    ) {
        self.service = service
        self.resource = resource
        rate = sampleRate
        self.limit = limit
        exported = registry.counter(.spans, ["exported"])
        dropped = registry.counter(.spans, ["dropped"])
        refused = registry.counter(.spans, ["refused"])
    }

    /// A span that is the first of its process: of a trace that the caller began, or of a new one.
    public func begin(
        _ name: String, _ kind: Span.Kind, from caller: TraceContext?, _ attributes: [SpanAttribute] = [], at began: ContinuousClock.Instant = .now
    ) -> Span {
        let context = TraceContext(traceID: caller?.traceID ?? .random(), spanID: Self.newSpanID(), isSampled: true, state: caller?.state ?? "")
        return Span(self, name, kind, in: context, parent: caller?.spanID ?? 0, attributes: attributes, began: began)
    }

    /// A span whose own id is given, the first of its trace: of something that outlives the process.
    public func begin(_ name: String, as context: TraceContext, _ attributes: [SpanAttribute] = [], at began: ContinuousClock.Instant = .now) -> Span {
        Span(self, name, .internal, in: context, parent: 0, attributes: attributes, began: began)
    }

    /// A span in a trace whose first span is not here.
    public func part(of root: TraceContext, _ name: String, _ attributes: [SpanAttribute] = []) -> Span { begin(name, .internal, from: root, attributes) }

    static func newSpanID() -> UInt64 { max(1, RequestID.next()) }

    func finished(_ span: FinishedSpan) {
        let isTaken = queue.withLock { queue in
            guard queue.count < limit else { return false }
            queue.append(span)
            return true
        }
        if !isTaken { dropped.increment() }
    }

    // MARK: For who sends them

    /// The oldest spans, which the queue has no longer.
    public func take(atMost count: Int) -> [FinishedSpan] {
        queue.withLock { queue in
            let taken = Array(queue.prefix(count))
            queue.removeFirst(taken.count)
            return taken
        }
    }

    /// Puts spans back that could not be sent because the sender had to stop; they may have been received all the same.
    public func putBack(_ spans: [FinishedSpan]) { queue.withLock { $0.insert(contentsOf: spans, at: 0) } }

    public func sent(_ count: Int) { exported.increment(by: count) }
    /// The receiver did not want them, or was away until the process ended.
    public func lost(_ count: Int) { refused.increment(by: count) }
}
