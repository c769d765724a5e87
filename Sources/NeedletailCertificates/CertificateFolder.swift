import Foundation
import NeedletailCore
import SwiftASN1
import X509

/// A folder with two authorities, of the cluster's processes and of its users, and what they have signed.
///
/// Of each there is NAME.pem, a certificate, and NAME.key, its private key, which only the owner may read. The keys of the authorities are
/// needed here alone; processes get their own pair and `authority.pem`, coordinators `client-authority.pem` besides.
public struct CertificateFolder {
    public static let nodes = "authority"
    public static let users = "client-authority"

    private let folder: URL

    public init(_ path: String) { folder = URL(fileURLWithPath: path, isDirectory: true) }

    /// Makes the folder and both authorities.
    /// - Throws: `alreadyExists` when there are some.
    public func begin(days: Int) throws {
        for name in [Self.nodes, Self.users] where FileManager.default.fileExists(atPath: file(name, "pem").path) {
            throw NeedletailError(
                .alreadyExists, "\(file(name, "pem").path) is there already; a second authority in its place would make all certificates of the first useless")
        }
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw NeedletailError(.invalidArgument, "the folder \(folder.path) cannot be made", cause: error)
        }
        for (name, title) in [(Self.nodes, "Needletail nodes"), (Self.users, "Needletail users")] {
            try write(try CertificateAuthority.make(commonName: title, days: days).issued, name)
        }
    }

    /// Puts new authorities beside the old ones: everybody trusts both from the next reading on. Certificates made from now on are the new ones'.
    public func succeed(days: Int) throws {
        for (name, title) in [(Self.nodes, "Needletail nodes"), (Self.users, "Needletail users")] {
            let old = try text(name, "pem")
            let made = try CertificateAuthority.make(commonName: title, days: days).issued
            try replace(file(name, "pem"), with: made.certificate + old, mode: 0o644)
            try replace(file(name, "key"), with: made.key, mode: 0o600)
        }
    }

    /// Forgets all authorities but those that sign now.
    public func retire() throws {
        for name in [Self.nodes, Self.users] {
            try replace(file(name, "pem"), with: Self.first(try text(name, "pem")), mode: 0o644)
        }
    }

    /// Makes a certificate, or makes it anew with another key.
    /// - Returns: the paths of the certificate and of its key.
    /// - Throws: `alreadyExists` where the name is that of a certificate of the other kind.
    public func issue(_ name: String, _ subject: CertificateAuthority.Subject, by authority: String, days: Int) throws -> (certificate: String, key: String) {
        guard !name.isEmpty, !name.contains("/"), !name.hasPrefix("."), name != Self.nodes, name != Self.users else {
            throw NeedletailError(.invalidArgument, "\"\(name)\" is no name for the files of a certificate")
        }
        let (other, owner) = authority == Self.nodes ? (Self.users, "user") : (Self.nodes, "process")
        if try hasSigned(other, name) {
            throw NeedletailError(.alreadyExists, "\(file(name, "pem").path) is the certificate of a \(owner), which needs it; choose another name")
        }
        let signer = try CertificateAuthority(certificate: Self.first(try text(authority, "pem")), key: try text(authority, "key"))
        try write(try signer.issue(subject, days: days), name)
        return (file(name, "pem").path, file(name, "key").path)
    }

    /// Whether there is a certificate of that name, and the authority, or one before it, has made it.
    private func hasSigned(_ authority: String, _ name: String) throws -> Bool {
        guard let text = try? String(contentsOf: file(name, "pem"), encoding: .utf8), let certificate = try? Certificate(pemEncoded: Self.first(text)) else {
            return false
        }
        return certificate.issuer == (try Certificate(pemEncoded: Self.first(try self.text(authority, "pem")))).subject
    }

    private func file(_ name: String, _ ending: String) -> URL { folder.appendingPathComponent("\(name).\(ending)") }

    private func text(_ name: String, _ ending: String) throws(NeedletailError) -> String {
        guard let text = try? String(contentsOf: file(name, ending), encoding: .utf8) else {
            throw NeedletailError(.notFound, "there is no authority in \(folder.path) that can be read; `needletail certificates init` makes one")
        }
        return text
    }

    private static func first(_ pem: String) -> String {
        let end = "-----END CERTIFICATE-----"
        return pem.range(of: end).map { String(pem[..<$0.upperBound]) + "\n" } ?? pem
    }

    private func write(_ issued: CertificateAuthority.Issued, _ name: String) throws {
        try replace(file(name, "key"), with: issued.key, mode: 0o600)
        try replace(file(name, "pem"), with: issued.certificate, mode: 0o644)
    }

    /// Never half of it, and never readable by more than `mode` says.
    private func replace(_ file: URL, with text: String, mode: Int) throws {
        let draft = file.appendingPathExtension("new-\(UInt32.random(in: 0 ... .max))")
        guard FileManager.default.createFile(atPath: draft.path, contents: Data(text.utf8), attributes: [.posixPermissions: mode]),
            rename(draft.path, file.path) == 0
        else {
            try? FileManager.default.removeItem(at: draft)
            throw NeedletailError(.invalidArgument, "\(file.path) cannot be written; check the folder and the space on its disk")
        }
    }
}
