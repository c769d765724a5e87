public import NeedletailCore
internal import Foundation

/// How callers prove who they are, and what is kept about it. Callers are asked for keys when there is an administrator's key or a way to check tokens;
/// otherwise anybody may do everything.
public struct AccessConfiguration: Sendable {
    /// Of the administrator: the first key, which makes the others.
    public var adminKey: String?
    public var tokens: TokenConfiguration?
    /// Of callers that have no limits of their own.
    public var defaultLimits = RequestLimits()
    /// Where lines about changes and refusals go.
    public var audit: AuditLog?
    /// Changes other than of points go on although the audit log cannot be written.
    public var goesOnWithoutAudit = false
    /// Metrics of the admin port ask for a key, too.
    public var guardsMetrics = false
    /// Names under which browsers reach the admin port, beside addresses: `https://search.example.org`, or a host alone.
    public var adminOrigins: [String] = []

    public init() {}

    public var asksForKeys: Bool { adminKey != nil || tokens != nil }
    /// Whether requests have to be looked at.
    public var isNeeded: Bool { asksForKeys || audit != nil || defaultLimits != RequestLimits() }

    private static let shortestSecretBytes = 32

    /// A secret from a file, or else from a variable of the environment; nil when there is neither.
    /// - Throws: `invalidArgument` for a file that cannot be read, and for a secret that could be guessed.
    public static func secret(file: String?, variable: String, environment: [String: String], isLong: Bool = true) throws(NeedletailError) -> String? {
        let found: String?
        if let file {
            guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
                throw NeedletailError(.invalidArgument, "the file with a secret cannot be read: \(file)")
            }
            found = text.trimmingCharacters(in: .whitespacesAndNewlines)
        } else {
            found = environment[variable]?.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        guard let found, file != nil || !found.isEmpty else { return nil }
        guard found.utf8.count >= (isLong ? shortestSecretBytes : 1), found.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            throw NeedletailError(
                .invalidArgument,
                "the secret in \(file ?? variable) is to be \(isLong ? "at least \(shortestSecretBytes) " : "")printable characters without spaces; "
                    + "make one with: head -c 32 /dev/urandom | base64")
        }
        return found
    }
}

/// What makes a token (JWT) good.
public struct TokenConfiguration: Sendable {
    /// Of HS256.
    public var secret: String?
    /// File with a JSON web key set, for RS256 and ES256; read again when it changes.
    public var keySetFile: String?
    /// What `iss` must be; nil: not looked at.
    public var issuer: String?
    /// What `aud` must have; nil: not looked at.
    public var audience: String?

    public init(secret: String? = nil, keySetFile: String? = nil, issuer: String? = nil, audience: String? = nil) {
        self.secret = secret
        self.keySetFile = keySetFile
        self.issuer = issuer
        self.audience = audience
    }
}
