internal import NeedletailAPI
internal import NeedletailCore
internal import NIOCore

/// How messages of a Connect request are written, by its content type.
struct ConnectForm: Sendable {
    let isJSON: Bool
    let isStream: Bool

    /// nil for a type that the protocol does not know.
    init?(_ contentType: String?) {
        let type = contentType?.split(separator: ";").first?.lowercased().filter { $0 != " " }
        switch type {
        case "application/json": (isJSON, isStream) = (true, false)
        case "application/proto": (isJSON, isStream) = (false, false)
        case "application/connect+json": (isJSON, isStream) = (true, true)
        case "application/connect+proto": (isJSON, isStream) = (false, true)
        default: return nil
        }
    }

    var contentType: String { "application/\(isStream ? "connect+" : "")\(isJSON ? "json" : "proto")" }

    /// A body as gRPC has it.
    func message(_ body: ByteBuffer, _ type: String, _ messages: MessageJSON) throws(NeedletailError) -> ByteBuffer {
        guard isJSON else { return body }
        // Nothing at all is what `curl` sends for an empty message.
        return ByteBuffer(bytes: body.readableBytes == 0 ? [] : try messages.encoding(of: body.readableBytesView, as: type))
    }

    func body(_ message: ByteBuffer, _ type: String, _ messages: MessageJSON) throws(NeedletailError) -> ByteBuffer {
        isJSON ? ByteBuffer(string: try messages.json(of: message.readableBytesView, as: type)) : message
    }
}

extension NeedletailError {
    /// `{"code": "not_found", "message": "..."}`.
    var connectJSON: String {
        var quoted = ""
        JSONText.append(message, to: &quoted)
        return "{\"code\":\"\(code.wireName.lowercased() == "cancelled" ? "canceled" : code.wireName.lowercased())\",\"message\":\(quoted)}"
    }
}

extension NeedletailError.Code {
    /// The HTTP status that the Connect protocol gives each code.
    var connectStatus: Int {
        switch self {
        case .cancelled: 499
        case .invalidArgument, .failedPrecondition, .outOfRange: 400
        case .unauthenticated: 401
        case .permissionDenied: 403
        case .notFound: 404
        case .alreadyExists, .aborted: 409
        case .resourceExhausted: 429
        case .unimplemented: 501
        case .unavailable: 503
        case .deadlineExceeded: 504
        case .unknown, .internal, .dataLoss: 500
        }
    }
}
