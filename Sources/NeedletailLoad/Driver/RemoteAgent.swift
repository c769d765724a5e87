import NIOCore
import NeedletailClient
import NeedletailCore
import NeedletailGRPC

/// A load process that runs elsewhere as `needletail-load agent`.
final class RemoteAgent: LoadAgent {
    private let address: String
    private let threads = TransportThreads(count: 1)
    private let client: GRPCClient

    /// - Parameters:
    ///   - address: host:port, or https://host:port of one that listens with TLS.
    ///   - security: whom to trust there, and what to show.
    /// - Throws: `invalidArgument` for an address that is none, and for files that are no good.
    init(_ address: String, security: ClientSecurity) throws(NeedletailError) {
        let (bare, isEncrypted) = Endpoint.scheme(of: address)
        let (host, port) = try Endpoint.parse(bare, defaultPort: AgentProtocol.defaultPort)
        var configuration = GRPCClientConfiguration()
        if isEncrypted == true {
            // That is the name in the cluster's certificate.
            var security = security
            security.serverName = nil
            configuration.tls = try security.connection(to: address).tls
        }
        self.address = address
        client = GRPCClient(host: host, port: port, configuration: configuration, group: threads.group)
    }

    func prepare(_ order: PrepareOrder) async throws -> Prepared {
        do {
            let answer = try await client.unary(AgentProtocol.prepare, try AgentProtocol.encode(order), options: CallOptions(deadline: .after(.seconds(3600))))
            return try AgentProtocol.decode(Prepared.self, answer)
        } catch {
            throw named(error)
        }
    }

    func run(_ order: SegmentOrder, receive: @escaping @Sendable ([Slice]) async -> Void) async throws {
        do {
            for try await part in try await client.serverStreaming(AgentProtocol.run, try AgentProtocol.encode(order)) {
                await receive(try AgentProtocol.decode([Slice].self, part))
            }
        } catch {
            throw named(error)
        }
    }

    func stop() async { _ = try? await client.unary(AgentProtocol.stop, ByteBuffer(), options: CallOptions(deadline: .after(.seconds(5)))) }

    func close() async {
        _ = try? await client.unary(AgentProtocol.close, ByteBuffer(), options: CallOptions(deadline: .after(.seconds(5))))
        await client.close()
        await threads.shutdown()
    }

    private func named(_ error: any Error) -> NeedletailError {
        var error = (error as? NeedletailError) ?? NeedletailError(.unknown, "\(error)")
        error.message = "the load process at \(address): \(error.message)"
        return error
    }
}
