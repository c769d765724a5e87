import Crypto
public import Foundation
public import NeedletailCore
import SwiftASN1
import X509

/// An authority with its key, for clusters that have none of their own.
public struct CertificateAuthority {
    /// Whom a certificate is for.
    public struct Subject: Sendable {
        public var commonName: String
        /// Host names and addresses at which it is reached.
        public var hosts: [String]
        /// What it is in the cluster; nothing for users.
        public var roles: NodeRoles

        public init(commonName: String, hosts: [String] = [], roles: NodeRoles = []) {
            (self.commonName, self.hosts, self.roles) = (commonName, hosts, roles)
        }
    }

    /// What is written into files, in PEM.
    public struct Issued {
        public let certificate: String
        public let key: String
    }

    let certificate: Certificate
    private let key: P256.Signing.PrivateKey

    /// A new one, valid from now on.
    public static func make(commonName: String, days: Int, now: Date = Date()) throws -> (authority: CertificateAuthority, issued: Issued) {
        let key = P256.Signing.PrivateKey()
        let name = try DistinguishedName {
            OrganizationName("Needletail")
            CommonName(commonName)
        }
        let identifier = SubjectKeyIdentifier(hash: Certificate.PublicKey(key.publicKey))
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: now.addingTimeInterval(-leeway),
            notValidAfter: now.addingTimeInterval(Double(days) * day), issuer: name, subject: name, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.isCertificateAuthority(maxPathLength: 0))
                Critical(KeyUsage(keyCertSign: true, cRLSign: true))
                identifier
            }, issuerPrivateKey: .init(key))
        return (CertificateAuthority(certificate: certificate, key: key), try Issued(certificate, key))
    }

    private init(certificate: Certificate, key: P256.Signing.PrivateKey) { (self.certificate, self.key) = (certificate, key) }

    /// - Throws: `invalidArgument` for text that is no certificate with its key.
    public init(certificate: String, key: String) throws(NeedletailError) {
        do {
            self.certificate = try Certificate(pemEncoded: certificate)
            self.key = try P256.Signing.PrivateKey(pemRepresentation: key)
            guard self.certificate.publicKey == Certificate.PublicKey(self.key.publicKey) else { throw CertificateError.invalid }
        } catch {
            throw NeedletailError(
                .invalidArgument, "the authority's files are not a certificate and its P-256 key as `needletail certificates init` makes them")
        }
    }

    private enum CertificateError: Error {
        case invalid
    }

    /// A certificate with a key of its own.
    /// - Parameter days: it ends with the authority at the latest.
    public func issue(_ subject: Subject, days: Int, now: Date = Date()) throws -> Issued {
        let key = P256.Signing.PrivateKey()
        var names: [GeneralName] = try subject.hosts.map { try Self.name(of: $0) }
        names += subject.roles.uris.map { .uniformResourceIdentifier($0) }
        let end = min(now.addingTimeInterval(Double(days) * Self.day), certificate.notValidAfter)
        let certificate = try Certificate(
            version: .v3, serialNumber: .init(), publicKey: .init(key.publicKey), notValidBefore: now.addingTimeInterval(-Self.leeway),
            notValidAfter: end, issuer: certificate.subject,
            subject: try DistinguishedName {
                OrganizationName("Needletail")
                CommonName(subject.commonName)
            }, signatureAlgorithm: .ecdsaWithSHA256,
            extensions: try Certificate.Extensions {
                Critical(BasicConstraints.notCertificateAuthority)
                Critical(KeyUsage(digitalSignature: true))
                try ExtendedKeyUsage(subject.hosts.isEmpty ? [.clientAuth] : [.serverAuth, .clientAuth])
                SubjectKeyIdentifier(hash: Certificate.PublicKey(key.publicKey))
                AuthorityKeyIdentifier(keyIdentifier: try self.certificate.extensions.subjectKeyIdentifier?.keyIdentifier)
                if !names.isEmpty { SubjectAlternativeNames(names) }
            }, issuerPrivateKey: .init(self.key))
        return try Issued(certificate, key)
    }

    /// Clocks of hosts differ a little.
    private static let leeway = 300.0
    private static let day = 86_400.0

    private static func name(of host: String) throws(NeedletailError) -> GeneralName {
        if let bytes = AddressBytes.parse(host) { return .ipAddress(ASN1OctetString(contentBytes: bytes[...])) }
        let isPlain = host.unicodeScalars.allSatisfy { $0.isASCII && ("-._*".unicodeScalars.contains($0) || Character($0).isLetter || Character($0).isNumber) }
        guard isPlain, !host.isEmpty, host.utf8.count <= 253 else {
            throw NeedletailError(.invalidArgument, "\"\(host)\" is neither a host name nor an address")
        }
        return .dnsName(host)
    }
}

extension CertificateAuthority.Issued {
    fileprivate init(_ certificate: Certificate, _ key: P256.Signing.PrivateKey) throws {
        self.certificate = try certificate.serializeAsPEM().pemString + "\n"
        self.key = key.pemRepresentation + "\n"
    }
}
