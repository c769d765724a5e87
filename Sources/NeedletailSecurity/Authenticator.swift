internal import Crypto
public import NeedletailCore
internal import NeedletailTelemetry
internal import Synchronization

/// A caller, once it has proved who it is.
public struct Principal: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        case administrator
        /// By the id of its key.
        case key(String)
        case token
        /// Nobody is asked for keys.
        case anyone
    }

    public var kind: Kind
    public var info: CallerInfo
    /// Who shares limits.
    var account: String

    static let everything: [Grant] = [try? Grant(.admin, on: .cluster), try? Grant(.admin, on: .collections("*"))].compactMap(\.self)

    public static let anyone = Principal(kind: .anyone, info: CallerInfo(name: "anyone", grants: everything), account: "")
    static let administrator = Principal(kind: .administrator, info: CallerInfo(name: "administrator", grants: everything), account: "")

    /// A write's name as the cluster knows it: of this caller alone, and the same at every coordinator.
    public func own(_ operation: OperationID) -> OperationID {
        if account.isEmpty { return operation }
        var writer = ByteWriter()
        writer.u64(operation.high)
        writer.u64(operation.low)
        writer.string(account)
        let digest = AccessKey.sha256(writer.bytes)
        func word(_ start: Int) -> UInt64 { digest[start..<start + 8].reduce(0) { $0 << 8 | UInt64($1) } }
        return OperationID(high: word(0), low: word(8))
    }
}

/// Finds out who calls, by what stands in `authorization`.
public final class Authenticator: Sendable {
    private let adminHash: [UInt8]?
    private let tokens: TokenVerifier?
    private let asksForKeys: Bool
    private let key: @Sendable (String) -> AccessKey?
    /// When keys were used last, as far as the metadata do not know it.
    private let used = Mutex<[String: UInt64]>([:])
    private let rates = RateLimiter()
    private let defaultLimits: RequestLimits

    /// - Parameter key: the key with an id, as the metadata have it now.
    /// - Throws: `invalidArgument` for a configuration that cannot be used.
    public init(_ configuration: AccessConfiguration, key: @escaping @Sendable (String) -> AccessKey?) async throws {
        adminHash = configuration.adminKey.map(AccessKey.hash)
        if let tokens = configuration.tokens { self.tokens = try await TokenVerifier(tokens) } else { tokens = nil }
        asksForKeys = configuration.asksForKeys
        defaultLimits = configuration.defaultLimits
        self.key = key
    }

    /// One answer for all that is wrong before a secret was right: who tries learns nothing from it.
    static let refused = NeedletailError(
        .unauthenticated, "the key or token is not valid: it is wrong, or was revoked. Send \"authorization: Bearer KEY\" with one that is")

    /// - Parameter authorization: the header, as it came.
    /// - Throws: `unauthenticated`.
    public func authenticate(_ authorization: String?) async throws(NeedletailError) -> Principal {
        guard asksForKeys else { return .anyone }
        guard let authorization else {
            throw NeedletailError(
                .unauthenticated, "this cluster asks for a key: send \"authorization: Bearer KEY\" (NEEDLETAIL_API_KEY or --api-key-file for the tools)")
        }
        guard let credential = Self.credential(authorization) else { throw Self.refused }
        // Hashed whether there is such a key or not, so that the time does not tell.
        let hash = AccessKey.hash(of: credential)
        if let adminHash, isEqualInConstantTime(hash, adminHash) { return .administrator }
        if let id = AccessKey.id(in: credential) { return try principal(hash, id) }
        guard let tokens else { throw Self.refused }
        let verified = try await tokens.verify(credential)
        return Principal(kind: .token, info: verified.caller, account: "token:\(verified.subject)")
    }

    /// What stands after the scheme, in whatever letters that is written (RFC 9110, section 11.1).
    private static func credential(_ authorization: String) -> String? {
        // Bytes: this is done for every request, and characters cost several times as much.
        let bytes = authorization.utf8
        guard bytes.count > scheme.count, zip(bytes, scheme).allSatisfy({ $0 | 0x20 == $1 }) else { return nil }
        var rest = bytes.dropFirst(scheme.count)
        while rest.first == UInt8(ascii: " ") { rest.removeFirst() }
        return String(rest)
    }

    private static let scheme = Array("bearer ".utf8)

    private func principal(_ hash: [UInt8], _ id: String) throws(NeedletailError) -> Principal {
        guard let key = key(id), isEqualInConstantTime(hash, key.hash) else { throw Self.refused }
        let now = UInt64(WallClock.microseconds() / 1_000)
        if let expires = key.caller.expiresMilliseconds, expires <= now {
            throw NeedletailError(.unauthenticated, "the key \(id) has expired; ask an administrator for a new one")
        }
        used.withLock { if now > ($0[id] ?? 0) + 1_000 { $0[id] = now } }
        return Principal(kind: .key(id), info: key.caller, account: "key:\(id)")
    }

    /// The limits of a caller; the administrator and the cluster's own tools have none.
    public func limits(of principal: Principal) -> RequestLimits {
        principal.kind == .administrator ? RequestLimits() : principal.info.limits.orElse(defaultLimits)
    }

    /// Counts a request.
    /// - Throws: `resourceExhausted` with the time after which there is room again.
    public func admit(_ principal: Principal) throws(NeedletailError) {
        guard let rate = limits(of: principal).requestsPerSecond else { return }
        if let wait = rates.take(principal.account, rate: rate, now: .now) {
            throw NeedletailError(
                .resourceExhausted, "\"\(principal.info.name)\" may make \(rate) requests a second, and made more; wait a little", retryAfter: wait)
        }
    }

    /// Counts a message of a stream, once there is room for it: a stream has flow control, so nobody needs to be refused.
    public func admitWaiting(_ principal: Principal, deadline: Deadline?) async throws {
        guard let rate = limits(of: principal).requestsPerSecond else { return }
        while let wait = rates.take(principal.account, rate: rate, now: .now) {
            if let deadline, deadline.isPast { throw NeedletailError(.deadlineExceeded, "the deadline passed while the stream waited for its turn") }
            try await Task.sleep(for: wait)
        }
    }

    /// Uses of keys since the last time this was asked.
    public func takeUses() -> [String: UInt64] {
        used.withLock { used in
            defer { used = [:] }
            return used
        }
    }

    /// Reads files again that have changed.
    public func refresh() async throws { try await tokens?.reload() }
}
