import NeedletailCore
import NeedletailHTTP2

/// The two header blocks of an answer: the first, and the trailers with the status. A short answer has only one.
struct ResponseHead {
    private(set) var initial = GRPCMetadata()
    private(set) var trailers = GRPCMetadata()
    private(set) var isGzip = false
    private(set) var unknownEncoding: String?
    /// Whether the server has answered at all.
    private(set) var hasBlock = false
    private var current = GRPCMetadata()
    private var httpStatus = 0
    private var isGRPC = false
    private var isEnded = false
    private var status: Int?
    private var message = ""
    private var retryAfter: Duration?

    mutating func receive(_ name: RawSpan, _ value: RawSpan) {
        switch name.byteCount {
        case 7 where name.equals(":status"): httpStatus = value.equals("200") ? 200 : Int(value.text) ?? 0
        case 11 where name.equals("grpc-status"): status = value.equals("0") ? 0 : Int(value.text) ?? -1
        case 12 where name.equals("grpc-message"): message = GRPCStatus.decode(value)
        case 12 where name.equals("content-type"):
            isGRPC = value.equals("application/grpc") || value.text.hasPrefix("application/grpc")
        case 13 where name.equals("grpc-encoding"):
            isGzip = value.equals("gzip")
            if !isGzip, !value.equals("identity") { unknownEncoding = value.text }
        // A negative one says that a retry is of no use: there is no time after which it would be.
        case 22 where name.equals("grpc-retry-pushback-ms"): retryAfter = UInt32(value.text).map { .milliseconds($0) }
        case 20 where name.equals("grpc-accept-encoding"): break
        default: current.receive(name: name, value: value)
        }
    }

    mutating func blockEnded(isLast: Bool) {
        // 1xx is no answer yet (RFC 9110, section 15.2).
        if (100..<200).contains(httpStatus) { return }
        if isLast { trailers = current } else { initial = current }
        current = GRPCMetadata()
        hasBlock = true
        isEnded = isLast
    }

    /// The stream ended, perhaps without trailers.
    mutating func streamEnded() { isEnded = true }

    /// Why the call failed, as far as the headers tell; nil for a success, or when the end has not come yet.
    var failure: NeedletailError? {
        if let status, isEnded { return status == 0 ? nil : GRPCStatus.error(status, message, retryAfter: retryAfter) }
        if httpStatus != 200 { return GRPCStatus.error(httpStatus: httpStatus) }
        guard isGRPC else {
            return NeedletailError(
                .unknown, "The peer answered, but not with gRPC. Check the port, and what proxy stands in between.")
        }
        return isEnded ? NeedletailError(.unknown, "The peer ended the call without a grpc-status. Retry.") : nil
    }
}
