import CNeedletailMessages
import CProtobufC
public import NIOCore
import NeedletailCore
public import NeedletailGRPC

/// Tells clients such as grpcurl what a server serves: `grpc.reflection.v1.ServerReflection`, and `v1alpha`, whose messages are the same.
public struct ReflectionService: Sendable {
    public static let services = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]

    private let served: [String]

    /// `services`: the full names that are listed.
    public init(services: [String]) { served = services.sorted() }

    private typealias Request = Grpc__Reflection__V1__ServerReflectionRequest
    private typealias Response = Grpc__Reflection__V1__ServerReflectionResponse

    /// The answer to one request of the stream. What cannot be found is an answer, not an error of the call.
    ///
    /// - Throws: `invalidArgument` when the message is none.
    public func answer(_ message: ByteBuffer) throws -> ByteBuffer {
        try WireCoding.unpack(message) { (request: UnsafePointer<Request>) throws(NeedletailError) in
            let arena = MessageArena(expectedBytes: 64 << 10)
            let response = try arena.make(Response.self)
            response.pointee.valid_host = request.pointee.host
            response.pointee.original_request = UnsafeMutablePointer(mutating: request)
            do throws(NeedletailError) {
                try fill(response, request.pointee, arena)
            } catch {
                let failure = try arena.make(Grpc__Reflection__V1__ErrorResponse.self)
                failure.pointee.error_code = Int32(error.code.rawValue)
                failure.pointee.error_message = try arena.text(error.message)
                response.pointee.message_response_case =
                    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE
                response.pointee.error_response = failure
            }
            return try WireCoding.pack(response, in: arena)
        }
    }

    private func fill(_ response: UnsafeMutablePointer<Response>, _ request: Request, _ arena: MessageArena) throws(NeedletailError)
    {
        switch request.message_request_case {
        case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
            let list = try arena.make(Grpc__Reflection__V1__ListServiceResponse.self)
            list.pointee.n_service = served.count
            list.pointee.service = try arena.list(served) { name throws(NeedletailError) in
                let service = try arena.make(Grpc__Reflection__V1__ServiceResponse.self)
                service.pointee.name = try arena.text(name)
                return service
            }
            response.pointee.message_response_case =
                GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE
            response.pointee.list_services_response = list
        case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
            try files(string(request.file_by_filename), response, arena)
        case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
            let symbol = string(request.file_containing_symbol)
            guard let file = DescriptorIndex.shared.fileDeclaring(symbol) else {
                throw NeedletailError(.notFound, "there is no symbol \"\(symbol)\"; list_services names the services")
            }
            try files(file, response, arena)
        case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
            throw NeedletailError(.notFound, "the API has no extensions: it is proto3")
        case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
            try extensions(string(request.all_extension_numbers_of_type), response, arena)
        default: throw NeedletailError(.invalidArgument, "the request asks for nothing; set one of its fields")
        }
    }

    private func files(_ name: String, _ response: UnsafeMutablePointer<Response>, _ arena: MessageArena) throws(NeedletailError) {
        guard let files = DescriptorIndex.shared.filesNeeded(for: name) else {
            throw NeedletailError(.notFound, "there is no file \"\(name)\"")
        }
        let list = try arena.make(Grpc__Reflection__V1__FileDescriptorResponse.self)
        list.pointee.n_file_descriptor_proto = files.count
        list.pointee.file_descriptor_proto = try arena.array(files.count, of: ProtobufCBinaryData.self)
        for (index, file) in files.enumerated() { list.pointee.file_descriptor_proto[index] = try arena.bytes(file.bytes) }
        response.pointee.message_response_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE
        response.pointee.file_descriptor_response = list
    }

    private func extensions(_ type: String, _ response: UnsafeMutablePointer<Response>, _ arena: MessageArena)
        throws(NeedletailError)
    {
        guard DescriptorIndex.shared.isMessage(type) else { throw NeedletailError(.notFound, "there is no message \"\(type)\"") }
        let numbers = try arena.make(Grpc__Reflection__V1__ExtensionNumberResponse.self)
        numbers.pointee.base_type_name = try arena.text(type)
        response.pointee.message_response_case =
            GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ALL_EXTENSION_NUMBERS_RESPONSE
        response.pointee.all_extension_numbers_response = numbers
    }
}

extension GRPCRouter {
    /// Serves reflection on `services`, by default those registered so far, and on itself.
    public mutating func registerReflection(services: [String]? = nil) {
        let reflection = ReflectionService(services: (services ?? self.services()) + ReflectionService.services)
        for service in ReflectionService.services {
            bidirectional(GRPCMethod(service: service, name: "ServerReflectionInfo")) { requests, writer, _ in
                for try await request in requests { try await writer.write(try reflection.answer(request)) }
            }
        }
    }
}
