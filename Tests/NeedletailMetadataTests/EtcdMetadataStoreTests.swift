import NIOCore
import NeedletailCore
import NeedletailEtcd
import NeedletailGRPC
import NeedletailMetadata
import NeedletailTestSupport
import Testing

@Suite(.serialized, .timeLimit(.minutes(2))) struct EtcdMetadataStoreTests {
    @Test func readsAddresses() throws {
        let address = try EtcdAddress("etcd://me@a:1,[::1]:2,c/where/we")
        #expect(address.endpoints.map { "\($0.host) \($0.port)" } == ["a 1", "::1 2", "c 2379"])
        #expect(address.user == "me" && address.prefix == "where/we/")
        #expect(try EtcdAddress("etcd://a:1").prefix == "needletail/" && EtcdAddress("etcd://a:1/").user == nil)
        for wrong in ["http://a:1", "etcd://", "etcd://a:b", "etcd://me:secret@a:1", "etcd://@a:1", "etcd://a:1,,b:1"] {
            #expect(throws: NeedletailError.self, "\(wrong)") { try EtcdAddress(wrong) }
        }
    }

    @Test func clustersWithDifferentPrefixesDoNotMeet() async throws {
        let etcd = try EtcdProcesses()
        var other = etcd.address
        other.prefix = "needletail2/"
        try await withEtcdStore(etcd.address) { left in
            try await withEtcdStore(other) { right in
                let start = try await left.put("a", [1])
                try await right.put("a", [2])
                try await left.put("b", [3])
                #expect(try await left.entries(prefix: "").entries.map(\.value) == [[1], [3]])
                #expect(try await right.entries(prefix: "").entries.map(\.value) == [[2]])
                #expect(try await left.changes(1, after: start).map(\.key) == ["b"])
            }
        }
    }

    @Test func aWatchGoesOnWhenEtcdIsKilledAndComesBack() async throws {
        let etcd = try EtcdProcesses()
        try await withEtcdStore(etcd.address, timeout: .seconds(1)) { store in
            let start = try await store.put("k", [0])
            async let seen = store.changes(20, after: start)
            for value in 1...20 {
                if value % 8 == 0 {
                    etcd.kill(0)
                    #expect(await code { _ = try await store.get("k") } == .unavailable)
                    try etcd.start(0)
                }
                // Whether a change was made that got no answer is not known: these are put again only if they were not.
                try await eventually {
                    do {
                        try await store.put("k", [UInt8(value)])
                        return true
                    } catch let error as NeedletailError where [.unavailable, .unknown].contains(error.code) {
                        guard error.code == .unknown else { return false }
                        let found = try? await store.get("k")
                        return found?.value == [UInt8(value)]
                    }
                }
            }
            let changes = try await seen
            #expect(changes.map(\.value) == (1...20).map { [UInt8($0)] })
            #expect(changes.map(\.revision) == (1...20).map { start + UInt64($0) })
        }
    }

    @Test func aWatchFromBeforeACompactionIsToldSo() async throws {
        let etcd = try EtcdProcesses()
        try await withEtcdStore(etcd.address) { store in
            for value in 0..<10 { try await store.put("a", [UInt8(value)]) }
            let revision = try await store.entries(prefix: "").revision
            // CompactionRequest { int64 revision = 1; }
            try await ask(etcd.address, "etcdserverpb.KV", "Compact", [0x08, UInt8(revision - 2)])
            #expect(try await store.watch(prefix: "", after: 1).first { _ in true } == .compacted)
            #expect(try await store.changes(2, after: revision - 2).map(\.value) == [[8], [9]])
        }
    }

    @Test func saysWhatToDoAboutAValueThatIsTooLarge() async throws {
        let etcd = try EtcdProcesses()
        try await withEtcdStore(etcd.address) { store in
            // Above etcd's own limit (1.5 MiB), and above that of its transport.
            for bytes in [7 << 18, 5 << 20] {
                await #expect {
                    try await store.put("k", [UInt8](repeating: 1, count: bytes))
                } throws: { error in
                    let error = error as? NeedletailError
                    return error?.code == .resourceExhausted && error?.message.contains("--max-request-bytes") == true
                }
            }
            try await store.put("k", [UInt8](repeating: 1, count: 1 << 20))
            #expect(try await store.get("k")?.value.count == 1 << 20)
        }
    }

    @Test func aMajorityIsEnough() async throws {
        let etcd = try EtcdProcesses(members: 3)
        try await withEtcdStore(etcd.address) { store in
            let start = try await store.put("k", [0])
            let lease = try await store.grantLease(.seconds(60))
            async let seen = store.changes(6, after: start)
            for victim in 0..<3 {
                try await eventually { await code { try await store.put("k", [UInt8(victim)], lease: lease) } == nil }
                // Dead or silent: either way another answers.
                if victim == 1 { etcd.pause(victim) } else { etcd.kill(victim) }
                try await eventually { await code { try await store.put("l", [UInt8(victim)]) } == nil }
                try await store.keepAlive(lease)
                if victim == 1 { etcd.resume(victim) } else { try etcd.start(victim) }
            }
            let changes = try await seen
            #expect(changes.map(\.revision) == changes.map(\.revision).sorted())
            #expect(Set(changes.map(\.revision)).count == changes.count)
        }
    }

    @Test func withoutAMajorityCallsFailInTime() async throws {
        let etcd = try EtcdProcesses(members: 3)
        try await withEtcdStore(etcd.address, timeout: .seconds(1)) { store in
            try await eventually { await code { try await store.put("k", [0]) } == nil }
            etcd.kill(0)
            etcd.pause(1)
            #expect(await code { _ = try await store.get("k") } == .unavailable)
            #expect([.unavailable, .unknown].contains(await code { try await store.put("k", [1]) }))
            #expect(await code { _ = try await store.grantLease(.seconds(2)) } == .unavailable)
        }
    }

    @Test func aChangeThatGotNoAnswerIsNotRepeated() async throws {
        let etcd = try EtcdProcesses()
        try await withEtcdStore(etcd.address, timeout: .milliseconds(500)) { store in
            let revision = try await store.put("k", [0])
            etcd.pause(0)
            #expect(await code { try await store.put("k", [1]) } == .unknown)
            etcd.resume(0)
            try await eventually { await code { _ = try await store.get("k") } == nil }
            #expect(try await [revision, revision + 1].contains(store.entries(prefix: "").revision))
        }
    }

    @Test func saysWhoItIs() async throws {
        let etcd = try EtcdProcesses()
        try await withEtcdStore(etcd.address) { store in try await store.put("k", [1]) }
        try await enableUsers(etcd.address)
        try await withEtcdStore(etcd.address) { store in
            #expect(await code { _ = try await store.get("k") } == .unauthenticated, "nobody in particular")
        }
        var address = etcd.address
        (address.user, address.password) = ("root", "wrong")
        try await withEtcdStore(address) { store in #expect(await code { _ = try await store.get("k") } == .permissionDenied) }
        address.password = "secret"
        try await withEtcdStore(address) { store in
            #expect(try await store.get("k")?.value == [1])
            let start = try await store.put("k", [2])
            // A restarted etcd knows none of the tokens it gave.
            etcd.kill(0)
            try etcd.start(0)
            async let seen = store.changes(1, after: start)
            try await eventually { await code { try await store.put("k", [3]) } == nil }
            let first = try await seen.first
            #expect(first?.value == [3])
            try await store.keepAlive(try await store.grantLease(.seconds(5)))
        }
    }

    /// A user root with the password "secret", and nobody without one any more.
    private func enableUsers(_ address: EtcdAddress) async throws {
        func field(_ number: UInt8, _ text: String) -> [UInt8] { [number << 3 | 2, UInt8(text.utf8.count)] + Array(text.utf8) }
        try await ask(address, "etcdserverpb.Auth", "RoleAdd", field(1, "root"))
        try await ask(address, "etcdserverpb.Auth", "UserAdd", field(1, "root") + field(2, "secret"))
        try await ask(address, "etcdserverpb.Auth", "UserGrantRole", field(1, "root") + field(2, "root"))
        try await ask(address, "etcdserverpb.Auth", "AuthEnable", [])
    }

    /// Calls a method that the store has no use for, with a message made by hand.
    private func ask(_ address: EtcdAddress, _ service: String, _ method: String, _ message: [UInt8]) async throws {
        let threads = TransportThreads(count: 1)
        let client = GRPCClient(host: address.endpoints[0].host, port: address.endpoints[0].port, group: threads.group)
        let answer = await Result { _ = try await client.unary(GRPCMethod(service: service, name: method), ByteBuffer(bytes: message)) }
        await client.close()
        await threads.shutdown()
        try answer.get()
    }
}

extension Result where Failure == any Error {
    fileprivate init(_ body: () async throws -> Success) async {
        do { self = .success(try await body()) } catch { self = .failure(error) }
    }
}
