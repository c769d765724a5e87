import CNeedletailMessages
import CProtobufC
import NeedletailCore

/// How a service is, as `grpc.health.v1` has it.
public enum ServingStatus: UInt32, Sendable {
    case unknown = 0
    case serving = 1
    case notServing = 2
    /// Only in answers of Watch: there is no service of that name yet.
    case serviceUnknown = 3
}

/// The messages of `grpc.health.v1`.
public enum HealthMessages {
    /// A service's full name; "" is the server as a whole.
    public static let check = MessageCodec<String>(
        write: { service, arena throws(NeedletailError) in
            let message = try arena.make(Grpc__Health__V1__HealthCheckRequest.self)
            message.pointee.service = try arena.text(service)
            return message
        },
        read: { (message: UnsafePointer<Grpc__Health__V1__HealthCheckRequest>) in string(message.pointee.service) })

    public static let status = MessageCodec<ServingStatus>(
        write: { status, arena throws(NeedletailError) in
            let message = try arena.make(Grpc__Health__V1__HealthCheckResponse.self)
            message.pointee.status = Grpc__Health__V1__HealthCheckResponse__ServingStatus(rawValue: status.rawValue)
            return message
        },
        read: { (message: UnsafePointer<Grpc__Health__V1__HealthCheckResponse>) in
            ServingStatus(rawValue: message.pointee.status.rawValue) ?? .unknown
        })
}
