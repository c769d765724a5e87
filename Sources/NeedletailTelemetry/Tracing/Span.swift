public import NeedletailCore
internal import Synchronization

/// A value that says something about a span.
public enum SpanValue: Sendable, Equatable, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
    case text(String)
    case integer(Int64)
    case number(Double)
    case flag(Bool)

    public init(stringLiteral text: String) { self = .text(text) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(booleanLiteral value: Bool) { self = .flag(value) }
    public static func count(_ value: some BinaryInteger) -> SpanValue { .integer(Int64(clamping: value)) }
    public static func milliseconds(_ value: Duration) -> SpanValue { .number(value / .milliseconds(1)) }
}

public struct SpanAttribute: Sendable, Equatable {
    public var key: String
    public var value: SpanValue

    public init(_ key: String, _ value: SpanValue) {
        self.key = key
        self.value = value
    }
}

/// A span that has ended, ready to be sent.
public struct FinishedSpan: Sendable {
    /// As OTLP numbers them.
    public enum Kind: Int, Sendable {
        case `internal` = 1
        case server, client, producer, consumer
    }

    /// Its own id is that of the context.
    public var context: TraceContext
    /// 0: the first of its trace.
    public var parent: UInt64
    public var name: String
    public var kind: Kind
    /// Nanoseconds since 1970.
    public var start: UInt64
    public var end: UInt64
    public var attributes: [SpanAttribute]
    /// What went wrong; nil: nothing that OpenTelemetry calls an error.
    public var error: String?
}

/// Something that takes time, in a trace that is recorded. What is not recorded has no span at all.
///
/// Times are taken by the clock that does not step and put into the time of day when the span ends, so that durations are right.
public final class Span: Sendable {
    public typealias Kind = FinishedSpan.Kind

    public let context: TraceContext
    public let began: ContinuousClock.Instant
    public let tracer: Tracer
    private let parent: UInt64
    private let name: String
    private let kind: Kind
    private let state: Mutex<State>

    private struct State {
        var attributes: [SpanAttribute]
        var hasEnded = false
        var hasParts = false
    }

    init(
        _ tracer: Tracer, _ name: String, _ kind: Kind, in context: TraceContext, parent: UInt64, attributes: [SpanAttribute],
        began: ContinuousClock.Instant
    ) {
        self.tracer = tracer
        self.context = context
        self.parent = parent
        self.name = name
        self.kind = kind
        self.began = began
        state = Mutex(State(attributes: attributes))
    }

    /// A part of this, which begins now.
    public func child(_ name: String, _ kind: Kind = .internal, _ attributes: [SpanAttribute] = [], at began: ContinuousClock.Instant = .now) -> Span {
        state.withLock { $0.hasParts = true }
        var context = context
        context.spanID = Tracer.newSpanID()
        return Span(tracer, name, kind, in: context, parent: self.context.spanID, attributes: attributes, began: began)
    }

    /// A part of this that is over already.
    public func record(
        _ name: String, _ kind: Kind = .internal, from began: ContinuousClock.Instant, to end: ContinuousClock.Instant = .now,
        _ attributes: [SpanAttribute] = [], error: String? = nil
    ) {
        child(name, kind, attributes, at: began).end(error: error, at: end)
    }

    /// Whether something was recorded as a part of it.
    public var hasParts: Bool { state.withLock { $0.hasParts } }

    public func add(_ attributes: [SpanAttribute]) { state.withLock { $0.attributes += attributes } }

    /// Both at one moment: a thread that has to wait between the two readings would move its span beside others.
    private static func bothClocks() -> (wall: Int64, now: ContinuousClock.Instant) {
        var now = ContinuousClock.now
        for _ in 0..<4 {
            let wall = WallClock.nanoseconds()
            let after = ContinuousClock.now
            if now.duration(to: after) < .microseconds(50) { return (wall, now) }
            now = after
        }
        return (WallClock.nanoseconds(), .now)
    }

    /// Only the first end counts.
    public func end(error: String? = nil, at end: ContinuousClock.Instant = .now) {
        let attributes: [SpanAttribute]? = state.withLock { state in
            defer { state.hasEnded = true }
            return state.hasEnded ? nil : state.attributes
        }
        guard let attributes else { return }
        let (wallNow, now) = Self.bothClocks()
        func wall(_ instant: ContinuousClock.Instant) -> UInt64 { UInt64(clamping: wallNow - instant.duration(to: now).nanoseconds) }
        tracer.finished(
            FinishedSpan(
                context: context, parent: parent, name: name, kind: kind, start: wall(began), end: wall(max(began, end)), attributes: attributes,
                error: error))
    }
}

extension Span {
    /// Ends the span of a call, after OpenTelemetry's conventions for gRPC: every status but OK is an error to the client, to the server those are that are
    /// its own fault.
    public func endCall(_ failure: NeedletailError?, isServer: Bool) {
        add([SpanAttribute("rpc.grpc.status_code", .count(failure?.code.rawValue ?? 0))])
        let isError = failure.map { !isServer || Self.serverErrors.contains($0.code) } ?? false
        end(error: isError ? failure?.message : nil)
    }

    private static let serverErrors: Set<NeedletailError.Code> = [.unknown, .deadlineExceeded, .unimplemented, .internal, .unavailable, .dataLoss]
}
