import CNeedletailMessages
import NIOCore
import NeedletailCore
import NeedletailTelemetry

/// Spans as OpenTelemetry's protocol has them.
enum SpanCodecs {
    /// A request to a receiver, with spans of one process.
    static func request(_ spans: [FinishedSpan], of tracer: Tracer) throws(NeedletailError) -> ByteBuffer {
        try WireCoding.pack { arena throws(NeedletailError) in
            let request = try arena.make(Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest.self)
            request.pointee.n_resource_spans = 1
            request.pointee.resource_spans = try arena.list([spans]) { spans throws(NeedletailError) in
                let process = try arena.make(Opentelemetry__Proto__Trace__V1__ResourceSpans.self)
                process.pointee.resource = try arena.resource(of: tracer)
                process.pointee.n_scope_spans = 1
                process.pointee.scope_spans = try arena.list([spans], arena.scope)
                return process
            }
            return request
        }
    }

    /// How many spans the receiver did not take.
    static func rejected(_ answer: ByteBuffer) -> Int {
        let read = try? WireCoding.unpack(answer) { (message: UnsafePointer<Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse>) in
            message.pointee.partial_success.map { Int(clamping: $0.pointee.rejected_spans) } ?? 0
        }
        return max(0, read ?? 0)
    }
}

extension MessageArena {
    fileprivate func resource(of tracer: Tracer) throws(NeedletailError) -> UnsafeMutablePointer<Opentelemetry__Proto__Resource__V1__Resource> {
        let resource = try make(Opentelemetry__Proto__Resource__V1__Resource.self)
        let attributes =
            [SpanAttribute("service.name", .text(tracer.service)), SpanAttribute("service.version", .text(NeedletailVersion.current))] + tracer.resource
        resource.pointee.n_attributes = attributes.count
        resource.pointee.attributes = try list(attributes, attribute)
        return resource
    }

    fileprivate func scope(_ spans: [FinishedSpan]) throws(NeedletailError) -> UnsafeMutablePointer<Opentelemetry__Proto__Trace__V1__ScopeSpans> {
        let message = try make(Opentelemetry__Proto__Trace__V1__ScopeSpans.self)
        let scope = try make(Opentelemetry__Proto__Common__V1__InstrumentationScope.self)
        scope.pointee.name = try text("needletail")
        scope.pointee.version = try text(NeedletailVersion.current)
        message.pointee.scope = scope
        message.pointee.n_spans = spans.count
        message.pointee.spans = try list(spans, span)
        return message
    }

    private func span(_ span: FinishedSpan) throws(NeedletailError) -> UnsafeMutablePointer<Opentelemetry__Proto__Trace__V1__Span> {
        let message = try make(Opentelemetry__Proto__Trace__V1__Span.self)
        message.pointee.trace_id = try bytes(Self.bigEndian(span.context.traceID.high) + Self.bigEndian(span.context.traceID.low))
        message.pointee.span_id = try bytes(Self.bigEndian(span.context.spanID))
        if span.parent != 0 { message.pointee.parent_span_id = try bytes(Self.bigEndian(span.parent)) }
        message.pointee.trace_state = try text(span.context.state)
        message.pointee.name = try text(span.name.withoutNUL)
        message.pointee.kind = Opentelemetry__Proto__Trace__V1__Span__SpanKind(UInt32(span.kind.rawValue))
        message.pointee.start_time_unix_nano = span.start
        message.pointee.end_time_unix_nano = span.end
        message.pointee.n_attributes = span.attributes.count
        message.pointee.attributes = try list(span.attributes, attribute)
        message.pointee.flags = 1
        if let error = span.error {
            let status = try make(Opentelemetry__Proto__Trace__V1__Status.self)
            status.pointee.code = OPENTELEMETRY__PROTO__TRACE__V1__STATUS__STATUS_CODE__STATUS_CODE_ERROR
            status.pointee.message = try text(error.withoutNUL)
            message.pointee.status = status
        }
        return message
    }

    private func attribute(_ attribute: SpanAttribute) throws(NeedletailError) -> UnsafeMutablePointer<Opentelemetry__Proto__Common__V1__KeyValue> {
        let value = try make(Opentelemetry__Proto__Common__V1__AnyValue.self)
        switch attribute.value {
        case .text(let text):
            value.pointee.value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE
            value.pointee.string_value = try self.text(text.withoutNUL)
        case .flag(let flag):
            value.pointee.value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_BOOL_VALUE
            value.pointee.bool_value = flag ? 1 : 0
        case .integer(let number):
            value.pointee.value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_INT_VALUE
            value.pointee.int_value = number
        case .number(let number):
            value.pointee.value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_DOUBLE_VALUE
            value.pointee.double_value = number
        }
        let message = try make(Opentelemetry__Proto__Common__V1__KeyValue.self)
        message.pointee.key = try text(attribute.key)
        message.pointee.value = value
        return message
    }

    private static func bigEndian(_ number: UInt64) -> [UInt8] { withUnsafeBytes(of: number.bigEndian) { Array($0) } }
}
