import NeedletailCore
import NeedletailHTTP2
public import NeedletailTelemetry

/// Spans of calls, after OpenTelemetry's conventions for gRPC.
enum CallSpans {
    /// - Parameter server: host:port.
    static func begin(_ parent: Span, _ method: GRPCMethod, _ more: [SpanAttribute], server: String) -> Span {
        parent.child(
            "\(method.service)/\(method.name)", .client,
            [
                SpanAttribute("rpc.system", "grpc"), SpanAttribute("rpc.service", .text(method.service)), SpanAttribute("rpc.method", .text(method.name)),
                SpanAttribute("server.address", .text(server)),
            ] + more)
    }
}

extension GRPCClient {
    /// The span of a call that several requests share, for one of them; nil when that is not traced. `endCall` ends it.
    public func span(of method: GRPCMethod, in scope: RequestScope, _ more: [SpanAttribute]) -> Span? {
        scope.span.map { CallSpans.begin($0, method, scope.callAttributes + more, server: authority) }
    }
}

extension GRPCMetadata {
    /// What the caller says of its trace.
    var traceContext: TraceContext? {
        var (parents, states): ([String], [String]) = ([], [])
        for entry in entries {
            guard case .text(let text) = entry.value else { continue }
            if entry.key == "traceparent" { parents.append(text) } else if entry.key == "tracestate" { states.append(text) }
        }
        return parents.isEmpty ? nil : TraceContext(parents: parents, states: states)
    }

    static func write(_ scope: RequestScope, _ trace: TraceContext?, to block: inout HTTP2HeaderBlock) {
        block.add("x-request-id", scope.requestID, isTransient: true)
        guard let trace else { return }
        block.add("traceparent", trace.traceparent, isTransient: true)
        if !trace.state.isEmpty { block.add("tracestate", trace.state, isTransient: true) }
    }
}
