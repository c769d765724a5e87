public import ArgumentParser
import Foundation
public import NeedletailClient

/// How a program reaches a cluster: with TLS, and with a key. The environment has a variable for each flag: NEEDLETAIL_TLS_AUTHORITY and so on.
public struct ClientSecurityFlags: ParsableArguments {
    @Option(help: ArgumentHelp("The authority of the cluster's certificates, in PEM (NEEDLETAIL_TLS_AUTHORITY); else those of the system.", valueName: "file"))
    var tlsAuthority: String?
    @Option(help: ArgumentHelp("The name in the cluster's certificate, when it is not the host's (NEEDLETAIL_TLS_SERVER_NAME).", valueName: "name"))
    var tlsServerName: String?
    @Option(help: ArgumentHelp("A certificate to show to the cluster, in PEM (NEEDLETAIL_TLS_CERTIFICATE).", valueName: "file"))
    var tlsCertificate: String?
    @Option(help: ArgumentHelp("The private key of that certificate (NEEDLETAIL_TLS_KEY).", valueName: "file")) var tlsKey: String?

    @Option(help: ArgumentHelp("File with the API key or token to send; the one in NEEDLETAIL_API_KEY when left out.", valueName: "file"))
    var apiKeyFile: String?

    public init() {}

    public var security: ClientSecurity {
        ClientSecurity(authority: tlsAuthority, serverName: tlsServerName, certificate: tlsCertificate, key: tlsKey, apiKeyFile: apiKeyFile)
            .completed(by: ProcessInfo.processInfo.environment)
    }
}
