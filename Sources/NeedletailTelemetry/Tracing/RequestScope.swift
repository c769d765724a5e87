internal import Synchronization

/// What a request is known by while it is worked on: in every line of the log, in every call to another process, in its spans.
public final class RequestScope: Sendable {
    @TaskLocal public static var current: RequestScope?

    /// From the caller's `x-request-id`, or made here.
    public let requestID: String
    /// What is going on; nil when the request is not traced.
    public let span: Span?
    /// Of a caller that does not want its trace recorded: passed on, so that nobody else records it either.
    private let unrecorded: TraceContext?
    /// Said of the spans of calls to other processes.
    public let callAttributes: [SpanAttribute]

    public init(requestID: String, span: Span?, unrecorded: TraceContext? = nil, callAttributes: [SpanAttribute] = []) {
        self.requestID = requestID
        self.span = span
        self.unrecorded = unrecorded
        self.callAttributes = callAttributes
    }

    /// What goes along with calls to other processes.
    public var traceContext: TraceContext? { span?.context ?? unrecorded }

    /// The same request, within a part of it.
    public func within(_ span: Span, callAttributes: [SpanAttribute] = []) -> RequestScope {
        RequestScope(requestID: requestID, span: span, callAttributes: callAttributes)
    }

    /// Runs `body` with these attributes on the spans of its calls to other processes.
    public static func describingCalls<Value>(_ attributes: @autoclosure () -> [SpanAttribute], _ body: () async throws -> Value) async rethrows -> Value {
        guard let current, let span = current.span else { return try await body() }
        return try await $current.withValue(current.within(span, callAttributes: attributes()), operation: body)
    }

    /// Runs `body`, which begins something that outlives the request, outside of it.
    public static func outside<Value>(_ body: () throws -> Value) rethrows -> Value { try $current.withValue(nil, operation: body) }
}

/// Names for requests that came without one: 60 bits in 12 letters and digits that are not easily mistaken for each other.
public enum RequestID {
    private static let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
    private static let seed = UInt64.random(in: 0...UInt64.max)
    private static let counter = Atomic<UInt64>(0)

    public static func make() -> String { text(next()) }

    /// Evenly spread over all numbers, and cheap: the seed is random, what follows is SplitMix64.
    static func next() -> UInt64 {
        var mixed = seed &+ counter.wrappingAdd(1, ordering: .relaxed).newValue &* 0x9e37_79b9_7f4a_7c15
        mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
        return mixed ^ mixed >> 31
    }

    /// 12 bytes: a string that lies in place.
    private static func text(_ number: UInt64) -> String {
        var rest = number
        return unsafe String(unsafeUninitializedCapacity: 12) { space in
            for index in 0..<12 {
                unsafe space[index] = alphabet[Int(rest & 31)]
                rest >>= 5
            }
            return 12
        }
    }

    /// What a caller calls its request: up to 128 printable characters without spaces; nil when it is none of that.
    public static func accept(_ text: String) -> String? {
        (1...128).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7e).contains($0) } ? text : nil
    }
}
