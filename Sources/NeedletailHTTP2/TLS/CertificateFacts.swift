import Foundation
import NIOSSL
import NeedletailCore
import SwiftASN1
import X509

/// What a certificate says of its subject.
struct CertificateFacts {
    var commonName: String?
    /// Host names and addresses, as people write them.
    var hosts: [String] = []
    var uris: [String] = []
    var others: [String] = []

    init(_ certificate: Certificate) {
        commonName = certificate.subject.lazy.flatMap { $0 }.first { $0.type == .RDNAttributeType.commonName }.flatMap { String($0.value) }
        for name in (try? certificate.extensions.subjectAlternativeNames) ?? SubjectAlternativeNames() {
            switch name {
            case .dnsName(let host): hosts.append(host)
            case .ipAddress(let bytes): hosts.append(Self.address(bytes.bytes))
            case .uniformResourceIdentifier(let uri): uris.append(uri)
            case .rfc822Name(let address): others.append(address)
            default: break
            }
        }
    }

    var roles: NodeRoles { NodeRoles(uris: uris) }

    /// By which logs and rules call the subject.
    var name: String { commonName ?? others.first ?? hosts.first ?? uris.first ?? "without a name" }

    private static func address(_ bytes: ArraySlice<UInt8>) -> String {
        if bytes.count == 4 { return bytes.map { "\($0)" }.joined(separator: ".") }
        let words = stride(from: bytes.startIndex, to: bytes.endIndex - 1, by: 2).map { UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]) }
        return words.map { String($0, radix: 16) }.joined(separator: ":")
    }
}

extension Certificate {
    init(_ certificate: NIOSSLCertificate) throws { try self.init(derEncoded: try certificate.toDERBytes()) }

    /// In words, for messages.
    static func day(_ date: Date) -> String { date.formatted(.iso8601) }
}
