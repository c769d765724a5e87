import Foundation
import NeedletailCertificates
import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct CertificateFolderTests {
    private let directory = TemporaryDirectory()
    private var folder: CertificateFolder { CertificateFolder(directory.path + "/tls") }

    private func mode(_ name: String) throws -> Int? {
        try FileManager.default.attributesOfItem(atPath: directory.path + "/tls/" + name)[.posixPermissions] as? Int
    }

    private func text(_ name: String) throws -> String { try String(contentsOfFile: directory.path + "/tls/" + name, encoding: .utf8) }

    @Test func keepsKeysToTheirOwner() throws {
        try folder.begin(days: 10)
        _ = try folder.issue("shard-1", .init(commonName: "shard-1", hosts: ["shard-1", "10.0.0.1", "::1"], roles: .shard), by: CertificateFolder.nodes, days: 5)
        for name in ["authority", "client-authority", "shard-1"] {
            #expect(try mode("\(name).key") == 0o600)
            #expect(try mode("\(name).pem") == 0o644)
        }
        #expect(try mode("") == 0o700)
    }

    @Test func makesAnewWithAnotherKey() throws {
        try folder.begin(days: 10)
        let subject = CertificateAuthority.Subject(commonName: "alice")
        _ = try folder.issue("alice", subject, by: CertificateFolder.users, days: 5)
        let (key, certificate) = (try text("alice.key"), try text("alice.pem"))
        _ = try folder.issue("alice", subject, by: CertificateFolder.users, days: 5)
        #expect(try text("alice.key") != key && text("alice.pem") != certificate)
        #expect(throws: NeedletailError.self) { try folder.begin(days: 10) }
    }

    /// Also not one of an authority that has been replaced: its process still runs with it.
    @Test func leavesCertificatesOfTheOtherKindAlone() throws {
        try folder.begin(days: 10)
        let node = CertificateAuthority.Subject(commonName: "shard-1", hosts: ["shard-1"], roles: .shard)
        _ = try folder.issue("shard-1", node, by: CertificateFolder.nodes, days: 5)
        _ = try folder.issue("alice", .init(commonName: "alice"), by: CertificateFolder.users, days: 5)
        try folder.succeed(days: 10)
        let kept = try [text("shard-1.pem"), text("shard-1.key"), text("alice.pem"), text("alice.key")]
        #expect(throws: NeedletailError.self) { try folder.issue("shard-1", .init(commonName: "shard-1"), by: CertificateFolder.users, days: 5) }
        #expect(throws: NeedletailError.self) { try folder.issue("alice", node, by: CertificateFolder.nodes, days: 5) }
        #expect(try [text("shard-1.pem"), text("shard-1.key"), text("alice.pem"), text("alice.key")] == kept)
        _ = try folder.issue("shard-1", node, by: CertificateFolder.nodes, days: 5)
        #expect(try text("shard-1.pem") != kept[0])
    }

    @Test func replacesAuthoritiesInTwoSteps() throws {
        try folder.begin(days: 10)
        let old = try text("authority.pem")
        try folder.succeed(days: 10)
        #expect(try text("authority.pem").hasSuffix(old) && text("authority.pem") != old)
        try folder.retire()
        #expect(try !text("authority.pem").contains(old) && text("authority.pem").count(of: "BEGIN CERTIFICATE") == 1)
        _ = try folder.issue("node", .init(commonName: "node", hosts: ["h"]), by: CertificateFolder.nodes, days: 5)
    }

    @Test(arguments: ["", "a/b", "..", "authority", "client-authority"]) func refusesNames(name: String) throws {
        try folder.begin(days: 10)
        #expect(throws: NeedletailError.self) {
            try folder.issue(name, .init(commonName: "x"), by: CertificateFolder.users, days: 5)
        }
    }

    @Test(arguments: ["", "ex ample", "10.0.0.1:7460", "https://h"]) func refusesHosts(host: String) throws {
        try folder.begin(days: 10)
        #expect(throws: NeedletailError.self) {
            try folder.issue("node", .init(commonName: "x", hosts: [host]), by: CertificateFolder.nodes, days: 5)
        }
    }
}

extension String {
    fileprivate func count(of part: String) -> Int { components(separatedBy: part).count - 1 }
}
