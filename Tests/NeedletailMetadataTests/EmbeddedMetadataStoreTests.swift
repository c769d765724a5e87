import NeedletailCore
import NeedletailMetadata
import NeedletailStorage
import NeedletailTestSupport
import Testing

@Suite(.timeLimit(.minutes(1))) struct EmbeddedMetadataStoreTests {
    private let directory = TemporaryDirectory()

    private func open(historyLength: Int = 1000) throws -> EmbeddedMetadataStore {
        try EmbeddedMetadataStore(directory: directory.path, historyLength: historyLength)
    }

    @Test func remembersAndIsOneProcessAtATime() async throws {
        var revision: UInt64 = 0
        do {
            let store = try open()
            revision = try await store.put("a", [1])
            #expect(throws: NeedletailError.self) { try open() }
        }
        let store = try open()
        #expect(try await store.get("a") == MetadataEntry(key: "a", value: [1], revision: revision))
        #expect(try await store.put("a", [2]) == revision + 1)
    }

    @Test func takesOverWhatAnOlderVersionWrote() async throws {
        do {
            // Bare values, without a format.
            let old = try LMDBKeyValueStore(path: directory.path + "/metadata.lmdb")
            for (key, value) in [("a", [1]), ("collections/b", []), ("c", [0, 0, 0, 0, 0, 0, 0, 0, 9])] as [(String, [UInt8])] {
                _ = try old.update { try $0.put(Array(key.utf8), value) }
            }
        }
        for _ in 0..<2 {
            let store = try open()
            let snapshot = try await store.entries(prefix: "")
            #expect(snapshot.entries.map(\.key) == ["a", "c", "collections/b"])
            #expect(snapshot.entries.map(\.value) == [[1], [0, 0, 0, 0, 0, 0, 0, 0, 9], []])
            #expect(snapshot.revision == 4 && snapshot.entries.allSatisfy { $0.revision == 4 })
        }
    }

    @Test func refusesWhatANewerVersionWrote() throws {
        do {
            let new = try LMDBKeyValueStore(path: directory.path + "/metadata.lmdb")
            _ = try new.update { update in
                try update.setFormat(3)
                try update.put([1], [1])
            }
        }
        #expect { try open() } throws: { error in
            let error = error as? NeedletailError
            return error?.code == .failedPrecondition && error?.message.contains("upgrade") == true
        }
    }

    @Test func leasesEndWithTheProcess() async throws {
        do {
            let store = try open()
            let lease = try await store.grantLease(.seconds(3600))
            try await store.put("bound", [1], lease: lease)
            try await store.put("free", [1])
        }
        let store = try open()
        #expect(try await store.entries(prefix: "").entries.map(\.key) == ["free"])
    }

    @Test func aWatchFromBeforeTheHistoryIsToldSo() async throws {
        let store = try open(historyLength: 3)
        for value in 0..<10 { try await store.put("a", [UInt8(value)]) }
        #expect(try await store.watch(prefix: "", after: 1).first { _ in true } == .compacted)
        #expect(try await store.changes(3, after: 7).map(\.value) == [[7], [8], [9]])
        var steps = 0
        for try await _ in store.watch(prefix: "", after: 0) { steps += 1 }
        #expect(steps == 1, "nothing comes after it")
    }
}
