/// What a server does about the ids and traces of the requests that it takes.
public struct CallTracing: Sendable {
    public var tracer: Tracer?
    /// Services where requests of users come in: those get an id, and may begin a trace.
    public var entryServices: Set<String>

    public init(tracer: Tracer?, entryServices: Set<String>) {
        self.tracer = tracer
        self.entryServices = entryServices
    }

    /// - Parameters:
    ///   - isEntry: whether the service is one of `entryServices`.
    ///   - caller: what the headers say.
    /// - Returns: nil for calls between processes that serve no request.
    public func begin(service: String, method: String, isEntry: Bool, requestID: String?, caller: TraceContext?) -> RequestScope? {
        guard isEntry || requestID != nil || caller != nil else { return nil }
        let id = requestID.flatMap(RequestID.accept) ?? RequestID.make()
        guard let tracer, caller?.isSampled ?? (isEntry && isChosen(tracer.sampleRate)) else {
            return RequestScope(requestID: id, span: nil, unrecorded: caller)
        }
        let attributes = [
            SpanAttribute("rpc.system", "grpc"), SpanAttribute("rpc.service", .text(service)), SpanAttribute("rpc.method", .text(method)),
            SpanAttribute("needletail.request_id", .text(id)),
        ]
        return RequestScope(requestID: id, span: tracer.begin("\(service)/\(method)", .server, from: caller, attributes))
    }

    private func isChosen(_ rate: Double) -> Bool { rate > 0 && Double(RequestID.next() >> 11) * 0x1p-53 < rate }
}
