import NeedletailCore
import NeedletailMetadata
import NeedletailTestSupport
import Testing

@Suite struct EmbeddedMetadataStoreTests {
    @Test func changesOnlyWhatIsAsExpectedAndRemembers() async throws {
        let directory = TemporaryDirectory()
        do {
            let store = try EmbeddedMetadataStore(directory: directory.path)
            #expect(try await store.replace("a/1", expected: nil, with: [1]))
            #expect(try await !store.replace("a/1", expected: nil, with: [2]), "somebody was first")
            #expect(try await !store.replace("a/1", expected: [9], with: [2]))
            #expect(try await store.replace("a/1", expected: [1], with: [2]))
            #expect(try await store.replace("a/2", expected: nil, with: []))
            #expect(try await store.replace("b", expected: nil, with: [3]))
            #expect(throws: NeedletailError.self, "one process at a time") { try EmbeddedMetadataStore(directory: directory.path) }
        }
        let store = try EmbeddedMetadataStore(directory: directory.path)
        #expect(try await store.entries(prefix: "a/") == [.init(key: "a/1", value: [2]), .init(key: "a/2", value: [])])
        #expect(try await store.replace("a/1", expected: [2], with: nil))
        #expect(try await store.get("a/1") == nil)
        #expect(try await store.get("b") == [3])
    }
}
