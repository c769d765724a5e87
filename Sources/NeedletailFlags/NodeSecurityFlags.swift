public import ArgumentParser
public import NeedletailCore
public import NeedletailHTTP2

/// How a process of the cluster encrypts its connections; the same for coordinators and shard workers.
public struct NodeSecurityFlags: ParsableArguments {
    @Option(
        help: """
            The certificate of this process in PEM, and after it those that lead to the authority. With it everything on the network is encrypted; \
            `needletail certificates` makes all these files. They may be replaced at any time.
            """)
    public var tlsCertificate: String?
    @Option(help: "The private key of that certificate, in PEM.") public var tlsKey: String?
    @Option(help: "The authority of the certificates of all processes of the cluster; several in one file while it is replaced.")
    public var tlsAuthority: String?
    @Option(help: "Send traces over TLS to a receiver whose certificate is of this authority; of the system's authorities when left out.")
    public var otlpAuthority: String?
    @Flag(help: "Listen on other addresses than loopback although nothing is encrypted: everybody on that network can read and write all data.")
    public var insecure = false

    public init() {}

    /// nil: without TLS.
    /// - Throws: `invalidArgument` for flags that do not go together.
    public func files(clientAuthority: String? = nil) throws(NeedletailError) -> TLSFiles? {
        guard tlsCertificate != nil || tlsKey != nil || tlsAuthority != nil || clientAuthority != nil else { return nil }
        guard let tlsCertificate, let tlsKey, let tlsAuthority else {
            throw NeedletailError(.invalidArgument, "--tls-certificate, --tls-key and --tls-authority go together; give all three, or none")
        }
        guard !insecure else { throw NeedletailError(.invalidArgument, "with --tls-certificate nothing is insecure; leave --insecure out") }
        return try TLSFiles(certificate: tlsCertificate, key: tlsKey, authority: tlsAuthority, clientAuthority: clientAuthority)
    }
}
