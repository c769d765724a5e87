import NeedletailCore
import NeedletailHTTP2

/// How errors travel: `grpc-status` and `grpc-message`, and what stands in for them when they are missing.
enum GRPCStatus {
    /// What a handler's error says on the wire.
    static func wire(_ error: any Error) -> NeedletailError {
        switch error {
        case let error as NeedletailError: error
        case is CancellationError: NeedletailError(.cancelled, "The call was cancelled.")
        default: NeedletailError(.unknown, "The handler failed: \(error)")
        }
    }

    /// Adds `grpc-status`, `grpc-message` and `grpc-retry-pushback-ms` (gRFC A6), after which clients' own retries go, to a block.
    static func write(_ error: NeedletailError, to block: inout HTTP2HeaderBlock) {
        block.add("grpc-status", String(error.code.rawValue))
        if !error.message.isEmpty { block.add("grpc-message", encode(error.message), isTransient: true) }
        if let retryAfter = error.retryAfter { block.add("grpc-retry-pushback-ms", String(max(1, retryAfter.nanoseconds / 1_000_000)), isTransient: true) }
    }

    /// The error for a status number; a number no version of gRPC knows is `unknown`.
    static func error(_ status: Int, _ message: String, retryAfter: Duration? = nil) -> NeedletailError {
        guard let code = NeedletailError.Code(rawValue: status) else {
            return NeedletailError(.unknown, "The peer answered with status \(status), which gRPC does not define: \(message)")
        }
        return NeedletailError(code, message, retryAfter: retryAfter)
    }

    /// Longer messages would not fit the peer's header list; the start says most.
    private static let maxMessageBytes = 2048

    /// Percent-encoding of gRPC: everything but printable ASCII, and `%` itself.
    static func encode(_ message: String) -> String {
        let bytes = message.utf8.prefix(maxMessageBytes)
        if bytes.allSatisfy({ (0x20...0x7e).contains($0) && $0 != UInt8(ascii: "%") }) { return String(Substring(bytes)) }
        let digits = Array("0123456789ABCDEF".utf8)
        var text: [UInt8] = []
        for byte in bytes {
            if (0x20...0x7e).contains(byte), byte != UInt8(ascii: "%") {
                text.append(byte)
            } else {
                text.append(contentsOf: [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]])
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// The reverse. What is no escape stays as it is: a message must not be lost to a sloppy encoder.
    static func decode(_ value: RawSpan) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(value.byteCount)
        var index = 0
        while index < value.byteCount {
            let byte = value.unsafeLoad(fromByteOffset: index, as: UInt8.self)
            if byte == UInt8(ascii: "%"), index + 2 < value.byteCount,
                let high = hexDigit(value.unsafeLoad(fromByteOffset: index + 1, as: UInt8.self)),
                let low = hexDigit(value.unsafeLoad(fromByteOffset: index + 2, as: UInt8.self))
            {
                bytes.append(high << 4 | low)
                index += 3
            } else {
                bytes.append(byte)
                index += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// The table of gRPC's "HTTP to gRPC Status Code Mapping", for answers that some proxy made.
    static func error(httpStatus: Int) -> NeedletailError {
        let code: NeedletailError.Code =
            switch httpStatus {
            case 400: .internal
            case 401: .unauthenticated
            case 403: .permissionDenied
            case 404: .unimplemented
            case 429, 502, 503, 504: .unavailable
            default: .unknown
            }
        return NeedletailError(
            code, "The peer answered with HTTP status \(httpStatus) and no gRPC status. Check what serves this port.")
    }

    /// The table of "Errors" in gRPC over HTTP2, for a stream that was reset.
    static func error(reset code: HTTP2ErrorCode) -> NeedletailError {
        switch code {
        case .refusedStream: NeedletailError(.unavailable, "The peer refused the call before working on it. Retry.")
        case .cancel: NeedletailError(.cancelled, "The peer cancelled the call.")
        case .enhanceYourCalm: NeedletailError(.resourceExhausted, "The peer asks for fewer calls (ENHANCE_YOUR_CALM). Back off.")
        case .inadequateSecurity: NeedletailError(.permissionDenied, "The peer wants better encryption. Check the TLS settings.")
        default: NeedletailError(.internal, "The peer reset the call with \(code).")
        }
    }
}
