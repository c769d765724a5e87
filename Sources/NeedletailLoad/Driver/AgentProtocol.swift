import Foundation
import NIOCore
import NeedletailCore
import NeedletailGRPC

/// What a conductor and its load processes say to each other: gRPC with JSON messages, since both ends are one program of one version.
enum AgentProtocol {
    private static let service = "needletail.load.v1.Agent"
    /// `PrepareOrder` → `Prepared`
    static let prepare = GRPCMethod(service: service, name: "Prepare")
    /// `SegmentOrder` → a stream of `[Slice]`, parts to be added up
    static let run = GRPCMethod(service: service, name: "Run")
    /// nothing → nothing
    static let stop = GRPCMethod(service: service, name: "Stop")
    static let close = GRPCMethod(service: service, name: "Close")

    static let defaultPort = 7480

    static func encode(_ value: some Encodable) throws -> ByteBuffer { ByteBuffer(bytes: try JSONEncoder().encode(value)) }

    static func decode<Value: Decodable>(_ type: Value.Type, _ message: ByteBuffer) throws -> Value {
        do {
            return try JSONDecoder().decode(type, from: Data(message.readableBytesView))
        } catch {
            throw NeedletailError(
                .invalidArgument, "a load process and its conductor do not understand each other; run the same version on all hosts", cause: error)
        }
    }
}
