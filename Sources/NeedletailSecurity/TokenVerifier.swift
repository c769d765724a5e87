internal import Crypto
internal import Foundation
internal import JWTKit
internal import NeedletailCore
internal import NeedletailJSON
internal import NeedletailTelemetry
internal import Synchronization

/// Checks tokens (JWT, RFC 7519) as RFC 8725 advises: the key says which algorithm it is for, and the token's header has to agree; it never chooses.
/// So a token without signature (`none`), or one whose HMAC was made with an RSA key that everybody knows, finds no key.
final class TokenVerifier: Sendable {
    /// A key and the one algorithm it is for.
    private struct Key: Sendable {
        let algorithm: String
        /// Has this key only.
        let collection: JWTKeyCollection
    }

    private struct KeySet: Sendable {
        var byID: [String: Key] = [:]
        /// Keys without an id, by algorithm.
        var unnamed: [String: Key] = [:]
        var file: FileState?
        /// How often it was read.
        var readings = 0
    }

    private struct FileState: Equatable {
        var modified: Date
        var size: Int
        var node: Int
    }

    struct Verified: Sendable {
        var caller: CallerInfo
        /// For limits: who it is, however many tokens they have.
        var subject: String
    }

    /// Clocks differ.
    static let leewaySeconds = 30.0
    private static let cached = 4_096
    /// A header of more would not arrive anyway.
    private static let longest = 16 << 10

    private let configuration: TokenConfiguration
    private let hmac: Key?
    private let keys = Mutex(KeySet())
    private let cache = Mutex<[[UInt8]: Verified]>([:])

    init(_ configuration: TokenConfiguration) async throws {
        self.configuration = configuration
        if let secret = configuration.secret {
            let collection = JWTKeyCollection()
            await collection.add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256)
            hmac = Key(algorithm: "HS256", collection: collection)
        } else {
            hmac = nil
        }
        if configuration.keySetFile != nil { try await reload() }
    }

    // MARK: Tokens

    func verify(_ token: String) async throws(NeedletailError) -> Verified {
        let digest = AccessKey.hash(of: token)
        let now = Double(WallClock.microseconds()) / 1e6
        if let known = cache.withLock({ $0[digest] }), Self.isCurrent(known, now) { return known }
        let readings = keys.withLock { $0.readings }
        guard token.utf8.count <= Self.longest, let key = key(for: token) else { throw Self.refused }
        let claims: Claims
        do { claims = try await key.collection.verify(token, as: Claims.self) } catch { throw Self.refused }
        // Whoever made this had the key, and may be told what is wrong.
        let verified = try check(claims, of: token, now, digest)
        cache.withLock { cache in
            // The key may have gone while the signature was looked at: then whoever reads the set empties this, or has done so.
            guard readings == keys.withLock({ $0.readings }) else { return }
            // Callers are few beside requests; when they are not, all begin anew.
            if cache.count >= Self.cached { cache = cache.filter { Self.isCurrent($0.value, now) } }
            if cache.count >= Self.cached { cache.removeAll() }
            cache[digest] = verified
        }
        return verified
    }

    private static let refused = Authenticator.refused

    private static func isCurrent(_ verified: Verified, _ now: Double) -> Bool {
        Double(verified.caller.expiresMilliseconds ?? 0) / 1e3 + leewaySeconds > now
    }

    private struct Header: Decodable {
        var alg: String
        var kid: String?
        var crit: [String]?
    }

    private func key(for token: String) -> Key? {
        guard let part = token.split(separator: ".", omittingEmptySubsequences: false).first, let bytes = Base64URL.decode(part),
            let header = try? JSONDecoder().decode(Header.self, from: Data(bytes)),
            // Extensions that must be understood, and are not.
            header.crit == nil
        else { return nil }
        if header.alg == hmac?.algorithm { return hmac }
        return keys.withLock { set in
            let found = header.kid.map { set.byID[$0] } ?? set.unnamed[header.alg]
            return found?.algorithm == header.alg ? found : nil
        }
    }

    private func check(_ claims: Claims, of token: String, _ now: Double, _ digest: [UInt8]) throws(NeedletailError) -> Verified {
        func refuse(_ why: String) -> NeedletailError { NeedletailError(.unauthenticated, "the token \(why)") }
        guard let expires = claims.exp, expires.isFinite else { throw refuse("has no \"exp\"; tokens that never expire are not taken") }
        guard expires + Self.leewaySeconds > now else { throw refuse("has expired; get a new one") }
        guard claims.nbf.map({ $0 - Self.leewaySeconds <= now }) ?? true else { throw refuse("is not valid yet (\"nbf\")") }
        if let issuer = configuration.issuer, claims.iss != issuer { throw refuse("is of another issuer than \"\(issuer)\"") }
        if let audience = configuration.audience, !(claims.aud?.values.contains(audience) ?? false) { throw refuse("is not for \"\(audience)\" (\"aud\")") }
        guard let access = claims.needletail else { throw refuse("has no claim \"needletail\", which says what its holder may do") }
        if let problem = access.problem ?? access.limits?.problem { throw refuse("has a claim \"needletail\" that cannot be taken: \(problem)") }
        do throws(NeedletailError) {
            let caller = CallerInfo(
                name: claims.sub ?? "token", grants: try access.grants.map { text throws(NeedletailError) in try Grant(text: text) },
                filter: try Self.filter(in: token),
                limits: try access.limits?.limits.checked() ?? RequestLimits(), expiresMilliseconds: UInt64(clamping: Int(min(max(0, expires), 1e15) * 1e3)))
            let subject = claims.sub.map { "\(claims.iss ?? "")\u{0}\($0)" } ?? String(decoding: digest.map { $0 & 0x7f }, as: UTF8.self)
            return Verified(caller: caller, subject: subject)
        } catch {
            throw refuse("has a claim \"needletail\" that cannot be taken: \(error.message)")
        }
    }

    /// Read from the token's own text: a dictionary of Swift's has one place for names that differ in their bytes and mean the same characters, and none
    /// for one that comes twice; what it leaves out would be a condition.
    private static func filter(in token: String) throws(NeedletailError) -> PayloadFilter? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let bytes = Base64URL.decode(parts[1]) else { throw refused }
        var filters: [PayloadFilter] = []
        var reader = JSONReader(bytes)
        try reader.object { name, reader throws(NeedletailError) in
            guard name == "needletail" else { return _ = try reader.value() }
            try reader.object { name, reader throws(NeedletailError) in
                if name == "filter" { filters.append(try PayloadFilter(from: &reader)) } else { _ = try reader.value() }
            }
        }
        guard filters.count < 2 else { throw NeedletailError(.invalidArgument, "\"filter\" is there twice") }
        return filters.first
    }

    // MARK: The key set

    /// Reads the file with keys again if it has changed.
    /// - Throws: `invalidArgument` when it cannot be used; what was read before stays.
    func reload() async throws {
        guard let path = configuration.keySetFile else { return }
        guard let found = try? FileManager.default.attributesOfItem(atPath: path), let data = FileManager.default.contents(atPath: path) else {
            throw NeedletailError(.invalidArgument, "the file with the key set cannot be read: \(path)")
        }
        let state = FileState(
            modified: found[.modificationDate] as? Date ?? .distantPast, size: (found[.size] as? NSNumber)?.intValue ?? 0,
            node: (found[.systemFileNumber] as? NSNumber)?.intValue ?? 0)
        if keys.withLock({ $0.file }) == state { return }
        var read = KeySet(file: state)
        let listed: Listed
        do { listed = try JSONDecoder().decode(Listed.self, from: data) } catch {
            throw NeedletailError(.invalidArgument, "\(path) is no JSON web key set, {\"keys\": [...]}")
        }
        for entry in listed.keys where entry.use == nil || entry.use == "sig" {
            guard let key = try await Self.key(entry, path) else { continue }
            if let id = entry.kid { read.byID[id] = key } else { read.unnamed[key.algorithm] = key }
        }
        guard !read.byID.isEmpty || !read.unnamed.isEmpty else {
            throw NeedletailError(.invalidArgument, "\(path) has no key for RS256 or ES256")
        }
        keys.withLock { set in
            read.readings = set.readings + 1
            set = read
        }
        // What keys that are gone have signed is good no longer.
        cache.withLock { $0.removeAll() }
    }

    private struct Listed: Decodable {
        struct Entry: Decodable {
            var kty: String
            var kid: String?
            var alg: String?
            var use: String?
            var n: String?
            var e: String?
            var crv: String?
            var x: String?
            var y: String?
        }

        var keys: [Entry]
    }

    /// nil for a key of another kind.
    private static func key(_ entry: Listed.Entry, _ path: String) async throws -> Key? {
        let collection = JWTKeyCollection()
        do {
            switch (entry.kty, entry.alg ?? (entry.kty == "RSA" ? "RS256" : "ES256")) {
            case ("RSA", "RS256"):
                guard let modulus = entry.n, let exponent = entry.e else { return nil }
                await collection.add(rsa: try Insecure.RSA.PublicKey(modulus: modulus, exponent: exponent), digestAlgorithm: .sha256)
                return Key(algorithm: "RS256", collection: collection)
            case ("EC", "ES256") where entry.crv == "P-256":
                guard let x = entry.x, let y = entry.y else { return nil }
                await collection.add(ecdsa: try ES256PublicKey(parameters: (x: x, y: y)))
                return Key(algorithm: "ES256", collection: collection)
            default: return nil
            }
        } catch {
            throw NeedletailError(.invalidArgument, "\(path): the key \(entry.kid ?? "without id") cannot be used; RSA keys have at least 2,048 bits")
        }
    }
}

// MARK: - Claims

private struct Claims: JWTPayload {
    var iss: String?
    var sub: String?
    var aud: OneOrMany?
    var exp: Double?
    var nbf: Double?
    var needletail: Access?

    struct Access: Decodable, Sendable {
        var grants: [String]
        var limits: TokenLimits?
        /// What is wrong with the names in it; nil: nothing.
        var problem: String?

        enum CodingKeys: String, CodingKey, CaseIterable { case grants, filter, limits }

        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            grants = try container.decode([String].self, forKey: .grants)
            limits = try container.decodeIfPresent(TokenLimits.self, forKey: .limits)
            problem = try MemberName.problem(in: decoder, CodingKeys.self)
        }
    }

    /// `JWTPayload` asks for it; tokens are made elsewhere.
    func encode(to encoder: any Encoder) throws { throw NeedletailError(.unimplemented, "tokens are read here, and not made") }

    /// Checked by `TokenVerifier`, which knows the configuration.
    func verify(using algorithm: some JWTAlgorithm) async throws {}
}

private struct OneOrMany: Decodable, Sendable {
    var values: [String]

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        values = try (try? [container.decode(String.self)]) ?? container.decode([String].self)
    }
}

private struct TokenLimits: Decodable, Sendable {
    var requestsPerSecond: Double?
    var requestBytes: Int?
    var batch: Int?
    var ef: Int?
    var limit: Int?
    /// What is wrong with the names in it; nil: nothing.
    var problem: String?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case requestsPerSecond = "requests_per_second"
        case requestBytes = "request_bytes"
        case batch, ef, limit
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        requestsPerSecond = try container.decodeIfPresent(Double.self, forKey: .requestsPerSecond)
        requestBytes = try container.decodeIfPresent(Int.self, forKey: .requestBytes)
        batch = try container.decodeIfPresent(Int.self, forKey: .batch)
        ef = try container.decodeIfPresent(Int.self, forKey: .ef)
        limit = try container.decodeIfPresent(Int.self, forKey: .limit)
        problem = try MemberName.problem(in: decoder, CodingKeys.self)
    }

    var limits: RequestLimits { RequestLimits(requestsPerSecond: requestsPerSecond, requestBytes: requestBytes, batch: batch, ef: ef, limit: limit) }
}

/// A name in an object, whatever it is. What the claim says beside its grants takes something away, so a name that is passed over because it was
/// misspelt, or is of a newer version, and a restriction that is null would give its holder more than was meant.
private struct MemberName: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }

    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }

    /// What is wrong with the names in an object; nil: all are known and have a value.
    static func problem<Known: CodingKey & CaseIterable>(in decoder: any Decoder, _ known: Known.Type) throws -> String? {
        let container = try decoder.container(keyedBy: MemberName.self)
        let names = known.allCases.map(\.stringValue)
        for member in container.allKeys.sorted(by: { $0.stringValue < $1.stringValue }) {
            let name = member.stringValue
            guard names.contains(name) else {
                return "\"\(name)\" means nothing there" + (NearestName.of(name, among: names).map { "; did you mean \"\($0)\"?" } ?? "")
            }
            if try container.decodeNil(forKey: member) { return "\"\(name)\" is null; leave it out, or give it a value" }
        }
        return nil
    }
}
