import NeedletailCore
import Testing

@testable import NeedletailSecurity

struct AccessKeyTests {
    private static let caller = CallerInfo(name: "reader", grants: [try! Grant(.read, on: .collections("books"))])

    private func authenticator(_ keys: [AccessKey], adminKey: String? = "an administrator's key of many letters") async throws -> Authenticator {
        var configuration = AccessConfiguration()
        configuration.adminKey = adminKey
        return try await Authenticator(configuration) { id in keys.first { $0.id == id } }
    }

    private func refuses(_ authenticator: Authenticator, _ authorization: String?) async -> NeedletailError? {
        do {
            _ = try await authenticator.authenticate(authorization)
            return nil
        } catch {
            return error
        }
    }

    @Test func aKeyIsWhatItsHolderSendsAndItsHashWhatIsKept() async throws {
        let made = AccessKey.make(Self.caller)
        #expect(made.text.hasPrefix("ndl_\(made.key.id)_"))
        // 256 bits are 43 letters of six.
        #expect(made.text.utf8.count == 60)
        #expect(!made.key.encoded.contains(Array(made.text.utf8.suffix(43))))
        let authenticator = try await authenticator([made.key])
        let principal = try await authenticator.authenticate("Bearer \(made.text)")
        #expect(principal.kind == .key(made.key.id) && principal.info == Self.caller)
        #expect(try await authenticator.authenticate("bearer \(made.text)").info == Self.caller)
        #expect(AccessKey.make(Self.caller).text != made.text)
    }

    @Test func everythingThatIsNotThatKeyIsRefusedInTheSameWords() async throws {
        let made = AccessKey.make(Self.caller)
        let authenticator = try await authenticator([made.key])
        let other = AccessKey.make(Self.caller).text
        var answers: Set<String> = []
        for wrong in [
            "Bearer \(made.text)x", "Bearer \(made.text.dropLast())", "Bearer \(other)", "Bearer ndl_\(made.key.id)_", "Bearer x", "Bearer ",
            "Basic \(made.text)", made.text, "Bearer \(made.text.uppercased())", "Bearer a.b.c",
        ] {
            let error = try #require(await refuses(authenticator, wrong), "\(wrong.count) characters")
            #expect(error.code == .unauthenticated)
            #expect(!error.description.contains(made.text) && !error.description.contains(other))
            answers.insert(error.message)
        }
        #expect(answers.count == 1)
        #expect(await refuses(authenticator, nil)?.code == .unauthenticated)
    }

    @Test func anExpiredKeyIsRefusedAndTheAdministratorIsNot() async throws {
        var caller = Self.caller
        caller.expiresMilliseconds = 1
        let made = AccessKey.make(caller)
        let authenticator = try await authenticator([made.key])
        #expect(await refuses(authenticator, "Bearer \(made.text)")?.message.contains("expired") == true)
        let principal = try await authenticator.authenticate("Bearer an administrator's key of many letters")
        #expect(principal.kind == .administrator && principal.info.hasOnCluster(.admin))
        #expect(await refuses(authenticator, "Bearer an administrator's key of many letterz") != nil)
    }

    @Test func anAdministratorsKeyMayLookLikeAnyOther() async throws {
        let text = AccessKey.make(Self.caller).text
        #expect(try await authenticator([], adminKey: text).authenticate("Bearer \(text)").kind == .administrator)
    }

    @Test func namesOfWritesAreEachCallersOwn() async throws {
        let keys = [AccessKey.make(Self.caller), AccessKey.make(Self.caller)]
        let authenticator = try await authenticator(keys.map(\.key))
        let name = OperationID(high: 1, low: 2)
        var names: Set<OperationID> = [Principal.anyone.own(name), Principal.administrator.own(name)]
        #expect(names == [name], "older coordinators know the same name")
        for key in keys {
            let principal = try await authenticator.authenticate("Bearer \(key.text)")
            #expect(principal.own(name) == principal.own(name))
            names.formUnion([principal.own(name), principal.own(OperationID(high: 2, low: 1))])
        }
        #expect(names.count == 5)
    }

    @Test func withoutAKeyToAskForEverybodyIsAnyone() async throws {
        let authenticator = try await authenticator([], adminKey: nil)
        #expect(try await authenticator.authenticate(nil).kind == .anyone)
    }

    @Test func keysComeBackFromTheMetadataAsTheyWere() throws {
        let filter = try PayloadFilter([.init(key: "tenant", values: [.string("a"), .integer(7), .bool(true)])])
        let caller = CallerInfo(
            name: "x", grants: [try Grant(text: "write:tenant-*"), try Grant(text: "cluster:read")], filter: filter,
            limits: RequestLimits(requestsPerSecond: 1.5, requestBytes: 2, batch: 3, ef: 4, limit: 5), expiresMilliseconds: 6)
        let key = AccessKey.make(caller).key
        #expect(try AccessKey(encoded: key.encoded) == key)
        for count in 0..<key.encoded.count { #expect(throws: NeedletailError.self) { try AccessKey(encoded: Array(key.encoded.prefix(count))) } }
    }

    @Test func bytesInBase64() {
        #expect(Base64URL.encode([]) == "")
        #expect(Base64URL.encode([0xfb, 0xff]) == "-_8")
        #expect(Base64URL.encode([1, 2, 3]) == "AQID")
        for count in 0..<40 {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 97 &+ count) }
            #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
        }
        for wrong in ["a", "a=", "a+b/"] { #expect(Base64URL.decode(wrong) == nil) }
    }

    @Test func comparison() {
        #expect(isEqualInConstantTime([1, 2], [1, 2]) && !isEqualInConstantTime([1, 2], [1, 3]) && !isEqualInConstantTime([1, 2], [1]))
    }
}

struct GrantTests {
    @Test func patternsCoverNames() throws {
        let cases: [(String, String, Bool)] = [
            ("read:books", "books", true), ("read:books", "books2", false), ("read:*", "anything", true), ("write:tenant-*", "tenant-1", true),
            ("write:tenant-*", "tenant", false), ("write:tenant-*", "xtenant-1", false),
        ]
        for (text, name, isCovered) in cases { #expect(try Grant(text: text).covers(collection: name) == isCovered, "\(text) \(name)") }
        #expect(try !Grant(text: "cluster:read").covers(collection: "cluster"))
        #expect(try Grant(text: "read:cluster").covers(collection: "cluster"))
        for wrong in ["", "read", "read:", "read:a*b", "read:**", "write:*a", "cluster:write", "cluster:", "owner:x", "READ:x"] {
            #expect(throws: NeedletailError.self, "\(wrong)") { try Grant(text: wrong) }
        }
        for role in Role.allCases { for text in ["\(role.text):a", "\(role.text):a*"] { #expect(try Grant(text: text).text == text) } }
    }

    @Test func greaterRolesIncludeLesserOnes() throws {
        let writer = CallerInfo(name: "w", grants: [try Grant(text: "write:a*")])
        #expect(writer.has(.read, onCollection: "ab") && writer.has(.write, onCollection: "a") && !writer.has(.admin, onCollection: "a"))
        #expect(!writer.has(.read, onCollection: "b") && !writer.hasOnCluster(.read))
        let admin = CallerInfo(name: "a", grants: [try Grant(text: "cluster:admin")])
        #expect(admin.has(.admin, onCollection: "any") && admin.hasOnCluster(.read))
        let viewer = CallerInfo(name: "v", grants: [try Grant(text: "cluster:read")])
        #expect(!viewer.has(.read, onCollection: "any") && viewer.hasOnCluster(.read) && !viewer.hasOnCluster(.admin))
    }
}

struct TokenBucketTests {
    @Test func aBucketHoldsASecondsWorthAndFillsByTheRate() {
        let start = ContinuousClock.now
        var bucket = TokenBucket(rate: 10, at: start)
        for _ in 0..<10 { #expect(bucket.take(rate: 10, now: start) == nil) }
        #expect(bucket.take(rate: 10, now: start) == .milliseconds(100))
        #expect(bucket.take(rate: 10, now: start + .milliseconds(99)) != nil)
        #expect(bucket.take(rate: 10, now: start + .milliseconds(101)) == nil)
        #expect(bucket.take(rate: 10, now: start + .milliseconds(101)) != nil)
        for _ in 0..<10 { #expect(bucket.take(rate: 10, now: start + .seconds(100)) == nil) }
        #expect(bucket.take(rate: 10, now: start + .seconds(100)) != nil)
    }

    @Test func aRateBelowOneStillAllowsOne() {
        let start = ContinuousClock.now
        var bucket = TokenBucket(rate: 0.5, at: start)
        #expect(bucket.take(rate: 0.5, now: start) == nil)
        #expect(bucket.take(rate: 0.5, now: start) == .milliseconds(2_000))
    }

    @Test func callersDoNotShare() {
        let limiter = RateLimiter()
        let now = ContinuousClock.now
        #expect(limiter.take("a", rate: 1, now: now) == nil)
        #expect(limiter.take("a", rate: 1, now: now) != nil)
        #expect(limiter.take("b", rate: 1, now: now) == nil)
    }
}
