import NIOCore
import NeedletailCore
import NeedletailGRPC

extension GRPCRouter {
    /// Registers a method that takes one message and answers with one.
    mutating func serve<Request, Answer>(
        _ method: GRPCMethod, _ request: MessageCodec<Request>, _ answer: MessageCodec<Answer>,
        _ body: @escaping @Sendable (Request, Deadline?) async throws -> Answer
    ) {
        unary(method) { message, context in try answer.encode(try await body(try request.decode(message), context.deadline)) }
    }
}

extension GRPCRouter {
    /// `serve`, for what only the leader does: tells the operations whether another coordinator passed the request on.
    mutating func serveControl<Request, Answer>(
        _ method: GRPCMethod, _ request: MessageCodec<Request>, _ answer: MessageCodec<Answer>,
        _ body: @escaping @Sendable (Request, Deadline?) async throws -> Answer
    ) {
        unary(method) { message, context in
            let request = try request.decode(message)
            return try answer.encode(
                try await Forwarding.$isForwarded.withValue(context.metadata[forwardedKey] != nil) { try await body(request, context.deadline) })
        }
    }
}

/// Metadata of a call that one coordinator passes on to another.
let forwardedKey = "needletail-forwarded"

extension GRPCClient {
    /// Calls a method that takes one message and answers with one.
    func call<Request, Answer>(
        _ method: GRPCMethod, _ request: MessageCodec<Request>, _ value: Request, _ answer: MessageCodec<Answer>,
        deadline: Deadline?, metadata: GRPCMetadata = GRPCMetadata()
    ) async throws -> Answer {
        var options = CallOptions(deadline: deadline)
        options.metadata = metadata
        return try answer.decode(answer: try await unary(method, try request.encode(value), options: options))
    }
}

extension MessageCodec {
    /// Decodes what a server sent: when that goes wrong the request was not at fault.
    func decode(answer: NIOCore.ByteBuffer) throws -> Value {
        do {
            return try decode(answer)
        } catch let error as NeedletailError where error.code == .invalidArgument {
            throw NeedletailError(
                .unknown, "The server's answer cannot be read; check that its version fits. \(error.message)", cause: error)
        }
    }
}
