import Foundation
public import NeedletailCore

/// Where the files of TLS lie, as flags name them. All are PEM.
public struct TLSFiles: Sendable, Equatable {
    /// Begins the names of the flags: `--tls-certificate`, `--etcd-certificate`.
    public var prefix: String
    /// A certificate, and after it those that lead to the authority if it has not signed it itself.
    public var certificate: String?
    /// Its private key. No message names this file.
    public var key: String?
    /// Whom to trust: certificates of authorities; nil: those of the system.
    public var authority: String?
    /// Who signs the certificates of users.
    public var clientAuthority: String?

    /// - Throws: `invalidArgument` for a certificate without a key, or the other way round.
    public init(
        prefix: String = "tls", certificate: String? = nil, key: String? = nil, authority: String? = nil, clientAuthority: String? = nil
    ) throws(NeedletailError) {
        self.prefix = prefix
        (self.certificate, self.key, self.authority, self.clientAuthority) = (certificate, key, authority, clientAuthority)
        guard (certificate == nil) == (key == nil) else {
            throw NeedletailError(.invalidArgument, "--\(prefix)-certificate and --\(prefix)-key go together; give both or none")
        }
    }

    /// A file of certificates.
    struct Part {
        var path: String
        /// As metrics call it.
        var label: String
        var flag: String
    }

    private func part(_ name: String, _ path: String?) -> Part? {
        path.map { Part(path: $0, label: prefix == "tls" ? name : "\(prefix)_\(name)", flag: "--\(prefix)-\(name)") }
    }

    var certificatePart: Part? { part("certificate", certificate) }
    var authorityPart: Part? { part("authority", authority) }
    var clientAuthorityPart: Part? { clientAuthority.map { Part(path: $0, label: "client_authority", flag: "--client-authority") } }

    /// Differs when a file was replaced, or a link on the way to it (Kubernetes swaps those).
    struct Stamp: Equatable {
        fileprivate var parts: [String] = []
    }

    var stamp: Stamp {
        var stamp = Stamp()
        for path in [certificate, key, authority, clientAuthority].compactMap({ $0 }) {
            let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
            let found = (try? FileManager.default.attributesOfItem(atPath: real)) ?? [:]
            let modified = (found[.modificationDate] as? Date)?.timeIntervalSince1970
            stamp.parts += [real, "\(found[.systemFileNumber] ?? "")", "\(modified ?? 0)", "\(found[.size] ?? "")"]
        }
        return stamp
    }
}
