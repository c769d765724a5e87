import NIOCore
import NIOSSL
public import NeedletailCore
import Synchronization

/// The certificates that a process shows and trusts, ready for connections. Read from files, and again when those change: connections made
/// from then on use the new ones, the others go on.
public final class TLSCredentials: Sendable {
    /// What a connection is for.
    public enum Use: Hashable, Sendable, CaseIterable {
        /// A port that only processes of the cluster may use: without a certificate of theirs the handshake fails.
        case nodesPort
        /// A port for everybody; who shows a certificate must show a good one.
        case publicPort
        /// HTTP/1.1 for browsers and probes, whose certificates are not asked for.
        case webPort
        /// The way out, with the own certificate if there is one.
        case client
        /// The way out without it.
        case anonymousClient

        var isServer: Bool { self != .client && self != .anonymousClient }
    }

    /// All that one reading of the files gave.
    final class Loaded: Sendable {
        let material: TLSMaterial
        let contexts: [Use: NIOSSLContext]
        /// Certificates of clients that were judged here, by their bytes: a client that goes on with a session of before (RFC 8446, section 2.2)
        /// is not judged again, and proves by it that it held the key then.
        let judged = Mutex<[[UInt8]: PeerIdentity]>([:])

        init(_ material: TLSMaterial, uses: Set<Use>, _ files: TLSFiles) throws(NeedletailError) {
            self.material = material
            do {
                contexts = try Dictionary(uniqueKeysWithValues: uses.map { ($0, try NIOSSLContext(configuration: material.configuration($0))) })
            } catch {
                throw NeedletailError(
                    .invalidArgument, "the private key of --\(files.prefix)-key does not belong to the certificate of --\(files.prefix)-certificate",
                    cause: error)
            }
        }
    }

    public let files: TLSFiles
    private let uses: Set<Use>
    private let roles: NodeRoles?
    private let current: Mutex<Loaded>

    /// - Parameter uses: for which connections may be made.
    /// - Throws: `invalidArgument` that says which file is wrong, and how.
    public init(_ files: TLSFiles, uses: Set<Use>) throws(NeedletailError) {
        self.files = files
        self.uses = uses
        roles = nil
        current = Mutex(try Loaded(try TLSMaterial(files), uses: uses, files))
    }

    /// Those of a process of the cluster, which others must take for one.
    /// - Throws: `invalidArgument` that says which file is wrong, and how.
    public init(_ files: TLSFiles, uses: Set<Use>, node roles: NodeRoles) async throws(NeedletailError) {
        self.files = files
        self.uses = uses
        self.roles = roles
        let material = try TLSMaterial(files)
        try await material.check(as: roles, files)
        current = Mutex(try Loaded(material, uses: uses, files))
    }

    var loaded: Loaded { current.withLock { $0 } }

    /// Reads the files again. What was loaded stays in use when they are no good.
    /// - Throws: `invalidArgument` that says which file is wrong, and how.
    public func reload() async throws(NeedletailError) {
        let material = try TLSMaterial(files)
        if let roles { try await material.check(as: roles, files) }
        let fresh = try Loaded(material, uses: uses, files)
        current.withLock { $0 = fresh }
    }

    /// Watches whether the files are other ones than those that were read.
    public struct Watch: Sendable {
        private let credentials: TLSCredentials
        private var last: TLSFiles.Stamp
        private var handled: TLSFiles.Stamp

        fileprivate init(_ credentials: TLSCredentials) {
            self.credentials = credentials
            handled = credentials.loaded.material.stamp
            last = handled
        }

        /// Call it now and then. True once when the files differ, and are as they were the last time: whoever replaces several has done so.
        public mutating func hasChanged() -> Bool {
            let now = credentials.files.stamp
            defer { last = now }
            guard now == last, now != handled else { return false }
            handled = now
            return true
        }
    }

    public func watch() -> Watch { Watch(self) }

    public var expiries: [TLSExpiry] { loaded.material.expiries }
}

extension TLSMaterial {
    /// Suites with forward secrecy and authenticated encryption; TLS 1.3 has no others.
    private static let suites: [NIOTLSCipher] = [
        .TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, .TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        .TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, .TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, .TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    ]

    /// - Throws: what makes certificate and key unfit for each other.
    fileprivate func configuration(_ use: TLSCredentials.Use) throws -> TLSConfiguration {
        var configuration: TLSConfiguration
        if use.isServer, let key {
            configuration = .makeServerConfiguration(certificateChain: chain.map { .certificate($0) }, privateKey: .privateKey(key))
        } else {
            configuration = .makeClientConfiguration()
            if use == .client, let key {
                configuration.certificateChain = chain.map { .certificate($0) }
                configuration.privateKey = .privateKey(key)
            }
        }
        configuration.minimumTLSVersion = .tlsv12
        configuration.cipherSuiteValues = Self.suites
        configuration.applicationProtocols = use == .webPort ? ["http/1.1"] : ["h2"]
        configuration.shutdownTimeout = .seconds(2)
        switch use {
        case .nodesPort: configuration.certificateVerification = .noHostnameVerification
        case .publicPort: configuration.certificateVerification = .optionalVerification
        case .webPort: configuration.certificateVerification = .none
        // `CertificateJudge` looks at the host's name.
        case .client, .anonymousClient: configuration.certificateVerification = .noHostnameVerification
        }
        // Judged by `CertificateJudge`; BoringSSL only tells clients by these whose certificates are wanted.
        configuration.trustRoots = .certificates(use.isServer ? (authorities ?? []) + clientAuthorities : [])
        configuration.sendCANameList = use == .nodesPort || use == .publicPort
        return configuration
    }
}
