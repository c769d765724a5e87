internal import NeedletailAPI
internal import NeedletailAdmin
internal import NeedletailCore
internal import NeedletailGRPC
internal import NIOCore

/// The public API over plain HTTP, for `curl` and browsers: the Connect protocol (connectrpc.com/docs/protocol), with messages as JSON or as they are.
///
/// Each request becomes a gRPC call to this process's own port, so whatever holds there (limits, deadlines, metrics, traces) holds here.
/// Not had: compression, and GET requests.
struct ConnectGateway: Sendable {
    private let client: GRPCClient
    private let introduction: Introduction
    private let messages = MessageJSON()
    /// Services that are for everybody; those between members of the cluster are not.
    private static let prefix = "/needletail.v1."
    /// What goes on to the call.
    private static let forwarded = ["authorization", "x-request-id", "traceparent", "tracestate"]

    init(_ client: GRPCClient, _ introduction: Introduction) {
        self.client = client
        self.introduction = introduction
    }

    func answer(_ request: AdminRequest) async -> AdminAnswer {
        guard request.path.hasPrefix(Self.prefix), let method = messages.method(request.path), let route = Self.route(request.path) else {
            return Self.failure(NeedletailError(.unimplemented, "there is no method \(request.path)"))
        }
        guard let form = ConnectForm(request.header("content-type")), form.isStream == (method.takesStream || method.givesStream) else {
            let isStream = method.takesStream || method.givesStream
            let wanted = isStream ? "application/connect+json or application/connect+proto" : "application/json or application/proto"
            return AdminAnswer(
                status: 415, headers: [("accept-post", wanted.replacing(" or ", with: ", ")), ("content-type", "text/plain")],
                body: .whole(ByteBuffer(string: "\(request.path) takes the content type \(wanted)\n")))
        }
        if let coding = request.header(form.isStream ? "connect-content-encoding" : "content-encoding"), coding != "identity" {
            return Self.failure(NeedletailError(.unimplemented, "compression \(coding) is not supported; send without"))
        }
        var options = CallOptions()
        do throws(NeedletailError) {
            options.deadline = try Self.deadline(request.header("connect-timeout-ms"))
        } catch {
            return Self.failure(error)
        }
        for name in Self.forwarded { if let value = request.header(name) { options.metadata.append(value, for: name) } }
        if !request.peer.isEmpty { options.metadata.append(introduction.text(request.peer), for: Introduction.key) }
        if form.isStream {
            let stream = ConnectStream(client: client, messages: messages, form: form, route: route, options: options)
            return method.takesStream
                ? await stream.taking(request.body, input: method.input, output: method.output)
                : await stream.giving(request.body, input: method.input, output: method.output)
        }
        return await unary(request.body, form, route, method.input, method.output, options)
    }

    /// Says on whose behalf a call of this process to its own port is made; nobody else knows the word that makes it count.
    struct Introduction: Sendable {
        static let key = "needletail-for"
        private let word = "\(UInt64.random(in: 0...UInt64.max)) \(UInt64.random(in: 0...UInt64.max)) "

        func text(_ peer: String) -> String { word + peer }
        func peer(_ text: String) -> String? { text.hasPrefix(word) ? String(text.dropFirst(word.count)) : nil }
    }

    private func unary(
        _ body: ByteBuffer, _ form: ConnectForm, _ route: GRPCMethod, _ input: String, _ output: String, _ options: CallOptions
    ) async -> AdminAnswer {
        do {
            let answer = try await client.unary(route, try form.message(body, input, messages), options: options)
            return AdminAnswer(status: 200, headers: [("content-type", form.contentType)], body: .whole(try form.body(answer, output, messages)))
        } catch {
            return Self.failure(Coordinator.wrap(error))
        }
    }

    private static func route(_ path: String) -> GRPCMethod? {
        let parts = path.dropFirst().split(separator: "/")
        return parts.count == 2 ? GRPCMethod(service: String(parts[0]), name: String(parts[1])) : nil
    }

    private static func deadline(_ text: String?) throws(NeedletailError) -> Deadline? {
        guard let text else { return nil }
        // Ten digits at most, says the protocol.
        guard text.utf8.count <= 10, let milliseconds = Int64(text), milliseconds >= 0 else {
            throw NeedletailError(.invalidArgument, "connect-timeout-ms is a whole number of at most ten digits, not \(text)")
        }
        return .after(.milliseconds(milliseconds))
    }

    /// Errors are JSON whatever the messages are.
    private static func failure(_ error: NeedletailError) -> AdminAnswer {
        var headers = [(name: "content-type", value: "application/json")]
        if let wait = error.retryAfter { headers.append(("retry-after", "\(max(1, Int(wait.components.seconds)))")) }
        return AdminAnswer(status: error.code.connectStatus, headers: headers, body: .whole(ByteBuffer(string: error.connectJSON)))
    }
}
