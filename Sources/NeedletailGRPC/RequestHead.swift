import NeedletailCore
import NeedletailHTTP2

/// The headers of a request, as far as gRPC cares, and the verdict on them.
struct RequestHead {
    enum Encoding {
        case identity, gzip
        case unknown(String)
        static func == (left: Encoding, right: Encoding) -> Bool {
            switch (left, right) {
            case (.identity, .identity), (.gzip, .gzip): true
            default: false
            }
        }
    }

    enum Verdict {
        case accept(Route)
        case refuseHTTP(Int)
        case refuse(NeedletailError)
    }

    private(set) var route: Route?
    private(set) var metadata = GRPCMetadata()
    /// Apart from the rest of the metadata: nearly every call between processes has it.
    private(set) var requestID: String?
    private(set) var timeout: Duration?
    private(set) var encoding = Encoding.identity
    private(set) var acceptsGzip = false
    /// Set when the block has ended: what comes later is trailers, which a request does not have.
    var isComplete = false
    private var isPost = false
    private var isGRPC = false
    private var hasBadTimeout = false
    private var unknownPath: String?

    mutating func receive(_ name: RawSpan, _ value: RawSpan, routes: RouteTable) {
        // The length picks the candidates, so that a header costs one comparison or two.
        switch name.byteCount {
        case 2 where name.equals("te"): break
        case 4 where name.equals("host"): break
        case 5 where name.equals(":path"): receivePath(value, routes)
        case 7 where name.equals(":method"): isPost = value.equals("POST")
        case 7 where name.equals(":scheme"): break
        case 10 where name.equals(":authority") || name.equals("user-agent"): break
        case 12 where name.equals("content-type"): isGRPC = Self.isGRPCContentType(value)
        case 12 where name.equals("x-request-id"): requestID = value.text
        case 12 where name.equals("grpc-timeout"):
            timeout = GRPCTimeout.parse(value)
            hasBadTimeout = timeout == nil
        case 13 where name.equals("grpc-encoding"): encoding = Self.encoding(value)
        case 20 where name.equals("grpc-accept-encoding"):
            // As grpcio and as our own client say it; looking through text costs more than the rest of the head.
            acceptsGzip = value.equals("identity, deflate, gzip") || value.equals("identity, gzip") || value.text.contains("gzip")
        default: metadata.receive(name: name, value: value)
        }
    }

    private mutating func receivePath(_ path: RawSpan, _ routes: RouteTable) {
        route = routes.find(path)
        if route == nil { unknownPath = path.text }
    }

    /// `application/grpc`, alone or followed by `+format` or `;parameters`.
    private static func isGRPCContentType(_ value: RawSpan) -> Bool {
        if value.equals("application/grpc") { return true }
        let text = value.text
        return text.hasPrefix("application/grpc+") || text.hasPrefix("application/grpc;")
    }

    private static func encoding(_ value: RawSpan) -> Encoding {
        if value.equals("identity") { return .identity }
        return value.equals("gzip") ? .gzip : .unknown(value.text)
    }

    func check(isTooLarge: Bool, limit: Int) -> Verdict {
        if isTooLarge {
            return .refuse(NeedletailError(.resourceExhausted, "The request's headers exceed \(limit) bytes. Send less metadata."))
        }
        guard isPost else { return .refuseHTTP(405) }
        guard isGRPC else { return .refuseHTTP(415) }
        guard let route else {
            return .refuse(
                NeedletailError(.unimplemented, "This server has no method \(unknownPath ?? ""). Check the versions of both sides.")
            )
        }
        if hasBadTimeout {
            return .refuse(
                NeedletailError(.invalidArgument, "grpc-timeout is malformed. Send up to eight digits and one of HMSmun."))
        }
        if case .unknown(let name) = encoding {
            return .refuse(NeedletailError(.unimplemented, "The encoding '\(name)' is unknown here. Use identity or gzip."))
        }
        return .accept(route)
    }
}
