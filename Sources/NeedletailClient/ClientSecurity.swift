public import NeedletailCore
public import NeedletailHTTP2

/// How a client encrypts and who it is: https:// in an address means TLS, http:// means none, and an address alone means TLS if anything is set for it.
public struct ClientSecurity: Sendable {
    /// File of the authorities of the cluster's certificates, in PEM; nil: the system's.
    public var authority: String?
    /// The name in the cluster's certificate, when it is not the host's.
    public var serverName: String?
    /// File of a certificate to show to the cluster, in PEM.
    public var certificate: String?
    /// File of its private key.
    public var key: String?
    /// File of the API key or token to send; nil: the one in the variable NEEDLETAIL_API_KEY, if there is one.
    public var apiKeyFile: String?

    public init(
        authority: String? = nil, serverName: String? = nil, certificate: String? = nil, key: String? = nil, apiKeyFile: String? = nil
    ) {
        (self.authority, self.serverName, self.certificate, self.key, self.apiKeyFile) = (authority, serverName, certificate, key, apiKeyFile)
    }

    /// What is not set is taken from the variables NEEDLETAIL_TLS_AUTHORITY, _SERVER_NAME, _CERTIFICATE and _KEY.
    public func completed(by environment: [String: String]) -> ClientSecurity {
        func variable(_ name: String) -> String? { environment["NEEDLETAIL_TLS_\(name)"].flatMap { $0.isEmpty ? nil : $0 } }
        return ClientSecurity(
            authority: authority ?? variable("AUTHORITY"), serverName: serverName ?? variable("SERVER_NAME"),
            certificate: certificate ?? variable("CERTIFICATE"), key: key ?? variable("KEY"), apiKeyFile: apiKeyFile)
    }

    /// - Returns: the address without its scheme, and TLS if that is wanted there.
    /// - Throws: `invalidArgument` for files that are no good.
    public func connection(to endpoint: String) throws(NeedletailError) -> (address: String, tls: ConnectionTLS?) {
        let (address, isEncrypted) = Endpoint.scheme(of: endpoint)
        guard isEncrypted ?? ([authority, serverName, certificate, key].contains { $0 != nil }) else { return (address, nil) }
        let credentials = try TLSCredentials(TLSFiles(certificate: certificate, key: key, authority: authority), uses: [.client])
        return (address, .client(credentials, serverName: serverName))
    }
}
