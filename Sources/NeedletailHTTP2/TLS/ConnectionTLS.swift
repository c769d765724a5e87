public import NIOCore
import NIOSSL
public import NeedletailCore
import Synchronization
import X509

/// TLS for one side of connections: credentials in, a channel handler out.
public struct ConnectionTLS: Sendable {
    private let credentials: TLSCredentials
    private let use: TLSCredentials.Use
    private let serverName: String?
    private let wanted: NodeRoles?
    private let checksHost: Bool

    /// A port of a process.
    /// - Parameter use: one for ports.
    public static func server(_ credentials: TLSCredentials, _ use: TLSCredentials.Use) -> ConnectionTLS {
        precondition(use.isServer, "a client's use for a port")
        return ConnectionTLS(credentials: credentials, use: use, serverName: nil, wanted: nil, checksHost: false)
    }

    /// Connections to others.
    /// - Parameters:
    ///   - serverName: what the server's certificate must name; the host that is connected to when nil.
    ///   - wanted: one of these roles the server must have; nil: none in particular.
    ///   - checksHost: whether its certificate must name the host; not needed only by a process that connects to itself.
    public static func client(
        _ credentials: TLSCredentials, _ use: TLSCredentials.Use = .client, serverName: String? = nil, wanted: NodeRoles? = nil, checksHost: Bool = true
    ) -> ConnectionTLS {
        precondition(!use.isServer, "a port's use for a client")
        return ConnectionTLS(credentials: credentials, use: use, serverName: serverName, wanted: wanted, checksHost: checksHost)
    }

    /// Adds the TLS handler to a pipeline, below the HTTP connection. `host` is what the client connects to.
    /// - Returns: what it finds out about the peer.
    @discardableResult
    public func install(in pipeline: ChannelPipeline, host: String) throws -> TLSSession {
        let loaded = credentials.loaded
        guard let context = loaded.contexts[use] else { throw NeedletailError(.internal, "TLS was not loaded for \(use)") }
        let session = TLSSession(loaded)
        let handler: NIOSSLHandler
        if use == .webPort {
            handler = NIOSSLServerHandler(context: context)
        } else if use.isServer {
            handler = NIOSSLServerHandler(context: context, customVerificationCallbackWithMetadata: session.judge { await loaded.judgeClient($0) })
        } else {
            let expected = serverName ?? host
            handler = try NIOSSLClientHandler(
                // Server names are for names: an address in SNI is an error (RFC 6066, section 3).
                context: context, serverHostname: IPAddress.isOne(expected) ? nil : expected,
                customVerificationCallbackWithMetadata: session.judge { [wanted, checksHost] in
                    await loaded.judgeServer($0, host: checksHost ? expected : nil, wanted: wanted)
                })
        }
        session.handler = handler
        try pipeline.syncOperations.addHandler(handler)
        return session
    }
}

extension TLSCredentials.Loaded {
    /// Remembered certificates; far more than a port has clients at one time.
    private static let rememberedClients = 16_384

    /// Nodes' certificates are those of the nodes' authority that name a role; users' authority can make none.
    fileprivate func judgeClient(_ chain: [Certificate]) async -> Result<PeerIdentity, TLSSession.Refusal> {
        guard let leaf = chain.first else { return .failure(.init(words: "it showed no certificate")) }
        let facts = CertificateFacts(leaf)
        let identity: PeerIdentity
        if let problem = await CertificateJudge(trusted: material.trusted, purpose: .client).problem(with: chain) {
            if await CertificateJudge(trusted: material.trustedForUsers, purpose: .client).problem(with: chain) != nil {
                return .failure(.init(words: "its certificate, \(facts.name), is not good: \(problem)"))
            }
            identity = .user(facts.name)
        } else {
            identity = facts.roles.isEmpty ? .user(facts.name) : .node(facts.roles, name: facts.name)
        }
        if let bytes = try? leaf.bytes {
            judged.withLock { judged in
                if judged.count >= Self.rememberedClients { judged.removeAll() }
                judged[bytes] = identity
            }
        }
        return .success(identity)
    }

    fileprivate func judgeServer(_ chain: [Certificate], host: String?, wanted: NodeRoles?) async -> Result<PeerIdentity, TLSSession.Refusal> {
        guard let leaf = chain.first else { return .failure(.init(words: "it showed no certificate")) }
        let facts = CertificateFacts(leaf)
        if let problem = await CertificateJudge(trusted: material.trusted, purpose: .server(host: host)).problem(with: chain) {
            return .failure(.init(words: "its certificate, \(facts.name), is not good: \(problem)"))
        }
        if let wanted, facts.roles.isDisjoint(with: wanted) {
            return .failure(
                .init(words: "its certificate, \(facts.name), does not name what it should be: it lacks the URI \(wanted.uris.joined(separator: " or "))"))
        }
        return .success(facts.roles.isEmpty ? .anonymous : .node(facts.roles, name: facts.name))
    }
}
