import Foundation
import NeedletailCore
import SwiftASN1
import X509

/// Decides whether a certificate is good, and says in words why not.
struct CertificateJudge: Sendable {
    /// What the certificate is shown for.
    enum Purpose: Sendable {
        case client
        /// Of this host, a name or an address; nil: whichever.
        case server(host: String?)
    }

    let trusted: CertificateStore
    let purpose: Purpose

    /// - Parameter chain: as the peer sent it, its own certificate first.
    /// - Returns: nil when it is good; else a clause about it without a full stop.
    func problem(with chain: [Certificate]) async -> String? {
        guard let leaf = chain.first else { return "there is none" }
        let intermediates = CertificateStore(chain.dropFirst())
        if await isGood(leaf, intermediates, checksPurpose: true, checksHost: true) { return nil }
        // From here on only to find the words.
        for certificate in chain {
            let whose = certificate == leaf ? "it" : "that of its authority \(certificate.subject)"
            if certificate.notValidAfter < Date() { return "\(whose) expired at \(Certificate.day(certificate.notValidAfter))" }
            guard certificate.notValidBefore > Date() else { continue }
            return "\(whose) is valid from \(Certificate.day(certificate.notValidBefore)) on only; compare the clocks"
        }
        guard await isGood(leaf, intermediates, checksPurpose: false, checksHost: false) else {
            if leaf.issuer == leaf.subject { return "it is signed by itself and by no authority that is trusted here" }
            return "none of the authorities that are trusted here has signed it; its issuer is \(leaf.issuer)"
        }
        guard await isGood(leaf, intermediates, checksPurpose: true, checksHost: false) else {
            let use = if case .client = purpose { "clients" } else { "servers" }
            return "its extended key usage does not allow it for TLS \(use)"
        }
        let names = CertificateFacts(leaf).hosts.joined(separator: ", ")
        return "it is for \(names.isEmpty ? "no host" : names) and not for \(host ?? "this host")"
    }

    private var host: String? { if case .server(let host) = purpose { host } else { nil } }

    private func isGood(_ leaf: Certificate, _ intermediates: CertificateStore, checksPurpose: Bool, checksHost: Bool) async -> Bool {
        let usage: ExtendedKeyUsage.Usage = if case .client = purpose { .clientAuth } else { .serverAuth }
        let isAddress = host.map(IPAddress.isOne) ?? false
        var verifier = Verifier(rootCertificates: trusted) {
            RFC5280Policy()
            UsagePolicy(usage: checksPurpose ? usage : nil)
            HostPolicy(names: checksHost ? host.map { ServerIdentityPolicy(serverHostname: isAddress ? nil : $0, serverIP: isAddress ? $0 : nil) } : nil)
        }
        if case .validCertificate = await verifier.validate(leaf: leaf, intermediates: intermediates) { return true }
        return false
    }
}

/// A certificate that says what it may be used for is used for nothing else (RFC 5280, section 4.2.1.12).
private struct UsagePolicy: VerifierPolicy {
    let usage: ExtendedKeyUsage.Usage?
    let verifyingCriticalExtensions: [ASN1ObjectIdentifier] = [.X509ExtensionID.extendedKeyUsage]

    func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain) async -> PolicyEvaluationResult {
        guard let usage else { return .meetsPolicy }
        do {
            guard let allowed = try chain.leaf.extensions.extendedKeyUsage, !allowed.contains(usage), !allowed.contains(.any) else { return .meetsPolicy }
            return .failsToMeetPolicy(reason: "extended key usage")
        } catch {
            return .failsToMeetPolicy(reason: "unreadable extended key usage")
        }
    }
}

private struct HostPolicy: VerifierPolicy {
    var names: ServerIdentityPolicy?
    let verifyingCriticalExtensions: [ASN1ObjectIdentifier] = [.X509ExtensionID.subjectAlternativeName]

    mutating func chainMeetsPolicyRequirements(chain: UnverifiedCertificateChain) async -> PolicyEvaluationResult {
        names == nil ? .meetsPolicy : names?.chainMeetsPolicyRequirements(chain: chain) ?? .meetsPolicy
    }
}
