import NeedletailCore
import NeedletailMetadata
import NeedletailSecurity
import NeedletailTestSupport
import Testing

@testable import NeedletailAPI
@testable import NeedletailCoordinator

struct AccessTests {
    /// From the descriptors of Proto/needletail/v1, and not from what a coordinator happens to serve.
    @Test func everyMethodOfThePublicAPIHasARule() {
        let declared = Set(MessageSchema.shared.methods.keys.filter { $0.hasPrefix("/needletail.v1.") })
        #expect(declared.count >= 42)
        #expect(declared == Set(AccessRule.all.keys))
    }

    @Test func whatChangesAnythingIsNoReadersRight() {
        for (path, rule) in AccessRule.all {
            let reads = ["Get", "List", "Scroll", "Count", "Search", "SearchBatch", "Status", "Nodes", "Shards", "Plan", "Operations", "Events", "WhoAmI"]
            let name = String(path.split(separator: "/")[1])
            if !reads.contains(name) { #expect(rule.role > .read, "\(path)") }
            if rule.scope == .cluster { #expect(!rule.isFilterable, "\(path)") }
            if rule.role == .admin { #expect(!rule.isFilterable, "\(path)") }
        }
    }

    /// Whatever forgets to ask for its caller fails instead of answering everybody.
    @Test func withoutACallerNothingIsAnswered() async throws {
        let authenticator = try await Authenticator(AccessConfiguration()) { _ in nil }
        let directory = TemporaryDirectory()
        let coordinator = try await Coordinator.open(metadata: EmbeddedMetadataStore(directory: directory.path)) { _ in
            throw NeedletailError(.unavailable, "there is no worker")
        }
        let cluster = AuthorizedCluster(cluster: coordinator, authenticator: authenticator)
        await #expect(throws: NeedletailError.self) { try await cluster.get(PointsGet(collection: "a", ids: [])) }
        await #expect(throws: NeedletailError.self) { try await cluster.search(PointsSearch(collection: "a", queries: [])) }
        await #expect(throws: NeedletailError.self) { try await cluster.write(PointsWrite(collection: "a", operations: [])) }
        await #expect(throws: NeedletailError.self) { try await cluster.count("a", within: nil, read: ReadOptions(), deadline: nil) }
        let error = await #expect(throws: NeedletailError.self) { try await cluster.collections(deadline: nil) }
        #expect(error?.code == .internal)
        await coordinator.close()
    }
}
