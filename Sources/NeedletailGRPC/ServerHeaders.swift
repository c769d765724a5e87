import NeedletailCore
import NeedletailHTTP2

/// The header blocks of answers. Those of the common case are built once.
enum ServerHeaders {
    static let trailersOK: HTTP2HeaderBlock = {
        var block = HTTP2HeaderBlock()
        block.add("grpc-status", "0")
        return block
    }()

    private static let plain = makeInitial(gzip: false)
    private static let gzipped = makeInitial(gzip: true)

    private static func makeInitial(gzip: Bool) -> HTTP2HeaderBlock {
        var block = HTTP2HeaderBlock()
        block.add(":status", "200")
        block.add("content-type", "application/grpc")
        block.add("grpc-accept-encoding", "identity, gzip")
        if gzip { block.add("grpc-encoding", "gzip") }
        return block
    }

    static func initial(gzip: Bool, _ metadata: GRPCMetadata) -> HTTP2HeaderBlock {
        var block = gzip ? gzipped : plain
        // Metadata that may not stand in a header would break the whole connection's compression state: leave it out.
        if !metadata.isEmpty, (try? metadata.validate()) != nil { metadata.write(to: &block) }
        return block
    }

    static func trailers(_ error: NeedletailError?, _ metadata: GRPCMetadata, requestID: String?) -> HTTP2HeaderBlock {
        var block = HTTP2HeaderBlock(fields: 4, bytes: 64)
        if let error { GRPCStatus.write(error, to: &block) } else { block.add("grpc-status", "0") }
        if let requestID { block.add("x-request-id", requestID, isTransient: true) }
        if !metadata.isEmpty { metadata.write(to: &block) }
        return block
    }

    static func trailersOnly(_ error: NeedletailError, _ metadata: GRPCMetadata, requestID: String?) -> HTTP2HeaderBlock {
        var block = plain
        GRPCStatus.write(error, to: &block)
        if let requestID { block.add("x-request-id", requestID, isTransient: true) }
        metadata.write(to: &block)
        return block
    }

    /// For requests that are no gRPC at all.
    static func http(_ status: Int) -> HTTP2HeaderBlock {
        var block = HTTP2HeaderBlock()
        block.add(":status", String(status))
        block.add("content-length", "0")
        return block
    }
}
