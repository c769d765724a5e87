import Foundation
import NIOSSL
import NeedletailCore
import X509

/// When the first certificate of a file expires.
public struct TLSExpiry: Sendable {
    /// As metrics call the file.
    public var label: String
    /// As the command line calls it.
    public var flag: String
    /// In seconds since 1970.
    public var moment: Double

    /// The moment as people write it.
    public var day: String { Certificate.day(Date(timeIntervalSince1970: moment)) }
}

/// What the files of TLS held when they were last read.
struct TLSMaterial: Sendable {
    let stamp: TLSFiles.Stamp
    let chain: [NIOSSLCertificate]
    let key: NIOSSLPrivateKey?
    /// nil: those of the system.
    let authorities: [NIOSSLCertificate]?
    let clientAuthorities: [NIOSSLCertificate]
    /// The same as `chain` and the authorities.
    let certificates: [Certificate]
    let trusted: CertificateStore
    let trustedForUsers: CertificateStore
    let expiries: [TLSExpiry]

    /// - Throws: `invalidArgument` that names the flag, and the file unless it is the key's.
    init(_ files: TLSFiles) throws(NeedletailError) {
        stamp = files.stamp
        var expiries: [TLSExpiry] = []
        chain = try Self.read(files.certificatePart, &expiries) ?? []
        authorities = try Self.read(files.authorityPart, &expiries)
        clientAuthorities = try Self.read(files.clientAuthorityPart, &expiries) ?? []
        self.expiries = expiries
        key = try files.key.map { path throws(NeedletailError) in try Self.key(path, files) }
        certificates = try Self.parsed(chain)
        trusted = try authorities.map { list throws(NeedletailError) in CertificateStore(try Self.parsed(list)) } ?? CertificateStore.systemTrustRoots
        trustedForUsers = CertificateStore(try Self.parsed(clientAuthorities))
    }

    private static func read(_ part: TLSFiles.Part?, _ expiries: inout [TLSExpiry]) throws(NeedletailError) -> [NIOSSLCertificate]? {
        guard let part else { return nil }
        guard let bytes = FileManager.default.contents(atPath: part.path) else {
            throw NeedletailError(.invalidArgument, "the file of \(part.flag), \(part.path), cannot be read; check that it is there and who may read it")
        }
        do {
            let certificates = try NIOSSLCertificate.fromPEMBytes(Array(bytes))
            guard let first = certificates.map(\.notValidAfter).min() else { throw NIOSSLError.failedToLoadCertificate }
            expiries.append(TLSExpiry(label: part.label, flag: part.flag, moment: Double(first)))
            return certificates
        } catch {
            throw NeedletailError(.invalidArgument, "the file of \(part.flag), \(part.path), has no certificates in PEM", cause: error)
        }
    }

    /// Nothing that is thrown names the file or tells of its content.
    private static func key(_ path: String, _ files: TLSFiles) throws(NeedletailError) -> NIOSSLPrivateKey {
        let flag = "--\(files.prefix)-key"
        guard let bytes = FileManager.default.contents(atPath: path) else {
            throw NeedletailError(.invalidArgument, "the private key of \(flag) cannot be read; check that the file is there and who may read it")
        }
        do { return try NIOSSLPrivateKey(bytes: Array(bytes), format: .pem) } catch {
            throw NeedletailError(.invalidArgument, "the file of \(flag) holds no private key in PEM, or one that is encrypted; give a plain one")
        }
    }

    private static func parsed(_ certificates: [NIOSSLCertificate]) throws(NeedletailError) -> [Certificate] {
        do { return try certificates.map { try Certificate($0) } } catch {
            throw NeedletailError(.invalidArgument, "a certificate cannot be understood: \(error)", cause: error)
        }
    }

    /// Whether others will take the own certificate for a node's of these roles.
    /// - Throws: `invalidArgument` that says what is wrong with it.
    func check(as roles: NodeRoles, _ files: TLSFiles) async throws(NeedletailError) {
        guard let leaf = certificates.first, authorities != nil else {
            throw NeedletailError(
                .invalidArgument,
                "with TLS a process of the cluster needs --tls-certificate, --tls-key and --tls-authority; `needletail certificates` makes them")
        }
        for purpose in [CertificateJudge.Purpose.server(host: nil), .client] {
            if let problem = await CertificateJudge(trusted: trusted, purpose: purpose).problem(with: certificates) {
                throw NeedletailError(
                    .invalidArgument, "the certificate of --tls-certificate, \(files.certificate ?? ""), is of no use with --tls-authority: \(problem)")
            }
        }
        let own = CertificateFacts(leaf).roles
        guard own.isSuperset(of: roles) else {
            throw NeedletailError(
                .invalidArgument,
                "the certificate of --tls-certificate, \(files.certificate ?? ""), does not name what this process is: it needs the URI "
                    + "\(roles.uris.joined(separator: " and ")) among its subject's alternative names; `needletail certificates node` makes such")
        }
    }
}
