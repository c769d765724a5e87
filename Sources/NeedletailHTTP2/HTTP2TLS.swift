public import NIOCore
private import NIOSSL
import NeedletailCore

/// TLS for one side of a connection: PEM files in, a channel handler out. TLS 1.2 at least, ALPN `h2`.
public struct HTTP2TLS: Sendable {
    private let context: NIOSSLContext
    private let serverName: String?
    private let isServer: Bool

    /// A server with a certificate chain and its key. With `clientAuthorities`, clients must show a certificate signed by one of them.
    public static func server(certificateChain: String, privateKey: String, clientAuthorities: String? = nil) throws -> HTTP2TLS {
        try reporting("the server certificate \(certificateChain), key \(privateKey)") {
            let chain = try NIOSSLCertificate.fromPEMFile(certificateChain).map { NIOSSLCertificateSource.certificate($0) }
            let key = try NIOSSLPrivateKey(file: privateKey, format: .pem)
            var configuration = TLSConfiguration.makeServerConfiguration(certificateChain: chain, privateKey: .privateKey(key))
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["h2"]
            if let clientAuthorities {
                configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(clientAuthorities))
                configuration.certificateVerification = .noHostnameVerification
            }
            return HTTP2TLS(context: try NIOSSLContext(configuration: configuration), serverName: nil, isServer: true)
        }
    }

    /// A client that trusts `authorities` (nil: the system's), expects the server to be `serverName`, and shows `certificateChain` if given.
    public static func client(
        authorities: String? = nil, serverName: String? = nil, certificateChain: String? = nil, privateKey: String? = nil
    ) throws -> HTTP2TLS {
        try reporting("the client's TLS files") {
            var configuration = TLSConfiguration.makeClientConfiguration()
            configuration.minimumTLSVersion = .tlsv12
            configuration.applicationProtocols = ["h2"]
            if let authorities { configuration.trustRoots = .certificates(try NIOSSLCertificate.fromPEMFile(authorities)) }
            if let certificateChain, let privateKey {
                configuration.certificateChain = try NIOSSLCertificate.fromPEMFile(certificateChain).map { .certificate($0) }
                configuration.privateKey = .privateKey(try NIOSSLPrivateKey(file: privateKey, format: .pem))
            }
            return HTTP2TLS(context: try NIOSSLContext(configuration: configuration), serverName: serverName, isServer: false)
        }
    }

    /// Adds the TLS handler to a pipeline, below the HTTP/2 connection. `host` is what the client connects to.
    public func install(in pipeline: ChannelPipeline, host: String) throws {
        if isServer {
            try pipeline.syncOperations.addHandler(NIOSSLServerHandler(context: context))
        } else {
            // Server names are for names: an address in SNI is an error (RFC 6066, section 3).
            let name = serverName ?? ((try? SocketAddress(ipAddress: host, port: 0)) == nil ? host : nil)
            try pipeline.syncOperations.addHandler(NIOSSLClientHandler(context: context, serverHostname: name))
        }
    }

    private static func reporting(_ what: String, _ body: () throws -> HTTP2TLS) throws -> HTTP2TLS {
        do { return try body() } catch {
            throw NeedletailError(
                .invalidArgument, "TLS cannot use \(what). Check that the files are readable PEM and belong together.", cause: error)
        }
    }
}
