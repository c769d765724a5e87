package import CNeedletailMessages

// opentelemetry/proto
extension Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) {
        opentelemetry__proto__collector__trace__v1__export_trace_service_request__init(message)
    }
}
extension Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) {
        opentelemetry__proto__collector__trace__v1__export_trace_service_response__init(message)
    }
}
extension Opentelemetry__Proto__Trace__V1__ResourceSpans: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { opentelemetry__proto__trace__v1__resource_spans__init(message) }
}
extension Opentelemetry__Proto__Trace__V1__ScopeSpans: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { opentelemetry__proto__trace__v1__scope_spans__init(message) }
}
extension Opentelemetry__Proto__Trace__V1__Span: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { opentelemetry__proto__trace__v1__span__init(message) }
}
extension Opentelemetry__Proto__Trace__V1__Status: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { opentelemetry__proto__trace__v1__status__init(message) }
}
extension Opentelemetry__Proto__Resource__V1__Resource: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { opentelemetry__proto__resource__v1__resource__init(message) }
}
extension Opentelemetry__Proto__Common__V1__InstrumentationScope: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { opentelemetry__proto__common__v1__instrumentation_scope__init(message) }
}
extension Opentelemetry__Proto__Common__V1__KeyValue: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { opentelemetry__proto__common__v1__key_value__init(message) }
}
extension Opentelemetry__Proto__Common__V1__AnyValue: WireMessage {
    package static func initialise(_ message: UnsafeMutablePointer<Self>) { opentelemetry__proto__common__v1__any_value__init(message) }
}
