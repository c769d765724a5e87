import Crypto
import CryptoExtras
import Foundation
import JWTKit
import NeedletailCore
import Testing

@testable import NeedletailSecurity

/// Tokens are made here by hand where a library would refuse to.
struct TokenTests {
    private static let secret = "a secret of more than thirty-two letters"
    private static let now = Date().timeIntervalSince1970

    private static func part(_ json: String) -> String { Base64URL.encode(Array(json.utf8)) }

    private static func claims(_ changes: [String: String?] = [:]) -> String {
        var claims: [String: String?] = [
            "sub": "\"me\"", "iss": "\"them\"", "aud": "\"search\"", "exp": "\(now + 600)", "needletail": "{\"grants\":[\"read:books\"]}",
        ]
        for (key, value) in changes { claims[key] = .some(value) }
        return "{" + claims.compactMap { key, value in value.map { "\"\(key)\":\($0)" } }.joined(separator: ",") + "}"
    }

    private static func hmac(_ text: String, _ secret: [UInt8]) -> String {
        let code = HMAC<SHA256>.authenticationCode(for: Array(text.utf8), using: SymmetricKey(data: secret))
        return "\(text).\(Base64URL.encode(Array(code)))"
    }

    private static func signed(_ changes: [String: String?] = [:], header: String = "{\"alg\":\"HS256\"}", secret: String = secret) -> String {
        hmac("\(part(header)).\(part(claims(changes)))", Array(secret.utf8))
    }

    private func authenticator(_ tokens: TokenConfiguration) async throws -> Authenticator {
        var configuration = AccessConfiguration()
        configuration.tokens = tokens
        return try await Authenticator(configuration) { _ in nil }
    }

    private func refusal(_ authenticator: Authenticator, _ token: String) async -> String? {
        do {
            _ = try await authenticator.authenticate("Bearer \(token)")
            return nil
        } catch {
            #expect(error.code == .unauthenticated)
            #expect(!error.description.contains(token))
            return error.message
        }
    }

    @Test func aTokenSaysWhatItsHolderMayDo() async throws {
        let authenticator = try await authenticator(TokenConfiguration(secret: Self.secret, issuer: "them", audience: "search"))
        let access = """
            {"grants":["write:a*","read:b"],"filter":{"tenant":"x","level":[1,2],"open":true},"limits":{"requests_per_second":2.5,"batch":3}}
            """
        let principal = try await authenticator.authenticate("Bearer \(Self.signed(["needletail": access, "aud": "[\"other\",\"search\"]"]))")
        #expect(principal.kind == .token && principal.info.name == "me")
        #expect(principal.info.grants.map(\.text) == ["write:a*", "read:b"])
        #expect(
            principal.info.filter == (try PayloadFilter([
                .init(key: "tenant", values: [.string("x")]), .init(key: "level", values: [.integer(1), .integer(2)]), .init(key: "open", values: [.bool(true)]),
            ])))
        #expect(principal.info.limits == RequestLimits(requestsPerSecond: 2.5, batch: 3))
    }

    @Test func whatIsWrongWithClaimsIsRefused() async throws {
        let authenticator = try await authenticator(TokenConfiguration(secret: Self.secret, issuer: "them", audience: "search"))
        let cases: [([String: String?], String)] = [
            (["exp": "\(Self.now - 60)"], "expired"), (["exp": nil], "exp"), (["nbf": "\(Self.now + 60)"], "not valid yet"), (["iss": "\"others\""], "issuer"),
            (["iss": nil], "issuer"), (["aud": "\"others\""], "aud"), (["aud": nil], "aud"), (["aud": "[\"others\"]"], "aud"), (["needletail": nil], "claim"),
            (["needletail": "{\"grants\":[\"everything\"]}"], "a grant is written"), (["needletail": "{\"grants\":[],\"filter\":{}}"], "filter"),
            (["needletail": "{\"grants\":[],\"limits\":{\"batch\":0}}"], "limit"),
        ]
        for (changes, word) in cases { #expect(await refusal(authenticator, Self.signed(changes))?.contains(word) == true, "\(changes)") }
        // Clocks differ a little.
        #expect(await refusal(authenticator, Self.signed(["exp": "\(Self.now - 10)", "nbf": "\(Self.now + 10)"])) == nil)
        // A filter that means nothing, and a value that none can have, refuse the token instead of dropping the filter.
        for filter in ["{\"tenant\":null}", "{\"tenant\":[]}", "{\"tenant\":1.5}", "[]", "\"x\""] {
            #expect(await refusal(authenticator, Self.signed(["needletail": "{\"grants\":[],\"filter\":\(filter)}"])) != nil, "\(filter)")
        }
    }

    /// Two keys for everybody but a dictionary of Swift's texts.
    @Test func keysOfAFilterAreToldApartByTheirBytes() async throws {
        let authenticator = try await authenticator(TokenConfiguration(secret: Self.secret))
        let access = "{\"grants\":[\"read:b\"],\"filter\":{\"caf\u{e9}\":1,\"cafe\u{301}\":2}}"
        let principal = try await authenticator.authenticate("Bearer \(Self.signed(["needletail": access]))")
        #expect(
            principal.info.filter == (try PayloadFilter([
                .init(key: "caf\u{e9}", values: [.integer(1)]), .init(key: "cafe\u{301}", values: [.integer(2)]),
            ])))
    }

    @Test func aClaimOfWhichAPartWouldBePassedOverIsRefused() async throws {
        let authenticator = try await authenticator(TokenConfiguration(secret: Self.secret))
        for (part, words) in [
            ("\"filters\":{\"tenant\":\"x\"}", "did you mean \"filter\"?"), ("\"filter\":null", "\"filter\" is null"),
            ("\"filter\":{\"tenant\":\"x\",\"tenant\":\"y\"}", "named twice"), ("\"filter\":{\"a\":1},\"filter\":{\"b\":1}", "twice"),
            ("\"limits\":{\"bach\":1}", "did you mean \"batch\"?"), ("\"limits\":{\"batch\":null}", "\"batch\" is null"),
        ] {
            let said = await refusal(authenticator, Self.signed(["needletail": "{\"grants\":[\"read:books\"],\(part)}"]))
            #expect(said?.contains(words) == true, "\(part): \(said ?? "taken")")
        }
    }

    @Test func signaturesThatAreNoneAreRefused() async throws {
        let authenticator = try await authenticator(TokenConfiguration(secret: Self.secret))
        let whole = Self.signed()
        let unsigned = whole.split(separator: ".").prefix(2).joined(separator: ".")
        for algorithm in ["none", "None", "NONE", "nOnE", ""] {
            let text = "\(Self.part("{\"alg\":\"\(algorithm)\"}")).\(Self.part(Self.claims()))"
            for token in ["\(text).", text, Self.hmac(text, Array(Self.secret.utf8))] { #expect(await refusal(authenticator, token) != nil, "\(algorithm)") }
        }
        for wrong in [
            "\(unsigned).", unsigned, Self.signed(secret: Self.secret + "x"), whole + "A", String(whole.dropLast()), Self.signed(header: "{\"alg\":\"HS512\"}"),
            Self.signed(header: "{\"alg\":\"RS256\"}"), Self.signed(header: "{\"alg\":\"HS256\",\"crit\":[\"x\"]}"), "..", "a.b.c", "",
            Self.hmac("\(Self.part("{\"alg\":\"HS256\"}")).\(Self.part(Self.claims()))", []),
        ] { #expect(await refusal(authenticator, wrong) != nil) }
        #expect(await refusal(authenticator, whole) == nil)
    }

    @Test func aKeySetSaysWhichAlgorithmItsKeysAreFor() async throws {
        let rsa = try Insecure.RSA.PrivateKey(pem: _RSA.Signing.PrivateKey(keySize: .bits2048).pemRepresentation)
        let ec = ES256PrivateKey()
        let (modulus, exponent) = try #require(try? rsa.publicKey.getKeyPrimitives())
        let point = try #require(ec.parameters)
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("needletail-keys-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("jwks.json")
        func url(_ bytes: some Sequence<UInt8>) -> String { Base64URL.encode(Array(bytes)) }
        func url64(_ text: String) -> String { text.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "") }
        let rsaEntry = "{\"kty\":\"RSA\",\"kid\":\"r\",\"n\":\"\(url(modulus))\",\"e\":\"\(url(exponent))\"}"
        let ecEntry = "{\"kty\":\"EC\",\"kid\":\"e\",\"crv\":\"P-256\",\"alg\":\"ES256\",\"x\":\"\(url64(point.x))\",\"y\":\"\(url64(point.y))\"}"
        try "{\"keys\":[\(rsaEntry),{\"kty\":\"OKP\",\"kid\":\"o\",\"crv\":\"Ed25519\",\"x\":\"AA\"}]}".write(to: file, atomically: true, encoding: .utf8)
        let authenticator = try await authenticator(TokenConfiguration(keySetFile: file.path))

        struct Claims: JWTPayload {
            var exp = ExpirationClaim(value: Date(timeIntervalSinceNow: 600))
            var needletail = ["grants": ["read:books"]]
            func verify(using algorithm: some JWTAlgorithm) async throws {}
        }
        let signers = JWTKeyCollection()
        await signers.add(rsa: rsa, digestAlgorithm: .sha256, kid: "r")
        await signers.add(ecdsa: ec, kid: "e")
        let byRSA = try await signers.sign(Claims(), kid: "r")
        let byEC = try await signers.sign(Claims(), kid: "e")
        #expect(await refusal(authenticator, byRSA) == nil)
        #expect(await refusal(authenticator, byEC) != nil, "its key is not in the set")

        // What everybody knows, taken for the secret of an HMAC; under every header that could lead there.
        let publicPEM = Array(rsa.publicKey.pemRepresentation.utf8)
        for header in ["{\"alg\":\"HS256\",\"kid\":\"r\"}", "{\"alg\":\"HS256\"}", "{\"alg\":\"RS256\",\"kid\":\"r\"}", "{\"alg\":\"none\",\"kid\":\"r\"}"] {
            for key in [publicPEM, Array(modulus)] {
                #expect(await refusal(authenticator, Self.hmac("\(Self.part(header)).\(Self.part(Self.claims()))", key)) != nil, "\(header)")
            }
        }
        let parts = byRSA.split(separator: ".")
        for header in ["{\"alg\":\"RS256\",\"kid\":\"x\"}", "{\"alg\":\"ES256\",\"kid\":\"r\"}", "{\"alg\":\"RS512\",\"kid\":\"r\"}", "{\"alg\":\"RS256\"}"] {
            #expect(await refusal(authenticator, "\(Self.part(header)).\(parts[1]).\(parts[2])") != nil, "\(header)")
        }

        // Another set in the file's place: the other key counts, and the former one no longer, although its token was taken a moment ago.
        try "{\"keys\":[\(ecEntry)]}".write(to: file, atomically: true, encoding: .utf8)
        try await authenticator.refresh()
        #expect(await refusal(authenticator, byEC) == nil)
        #expect(await refusal(authenticator, byRSA) != nil)
        // A file that cannot be used changes nothing.
        try "{".write(to: file, atomically: true, encoding: .utf8)
        await #expect(throws: NeedletailError.self) { try await authenticator.refresh() }
        #expect(await refusal(authenticator, byEC) == nil)
    }
}
