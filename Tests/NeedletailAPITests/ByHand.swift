import Foundation
import NIOPosix
import NeedletailAPI
import NeedletailCore
import NeedletailGRPC
import Testing

/// Serves the fake cluster for other programs: `NEEDLETAIL_SERVE_PORT=7460 swift test -c release --skip-build --filter ByHand`.
@Suite struct ByHand {
    @Test(.enabled(if: ProcessInfo.processInfo.environment["NEEDLETAIL_SERVE_PORT"] != nil)) func serve() async throws {
        var router = GRPCRouter()
        router.registerCluster(FakeCluster())
        let health = HealthService()
        health.set(.serving)
        router.registerHealth(health)
        router.registerReflection()
        var configuration = GRPCServerConfiguration()
        configuration.port = Int(ProcessInfo.processInfo.environment["NEEDLETAIL_SERVE_PORT"] ?? "") ?? 0
        let server = GRPCServer(configuration: configuration, router: router, group: MultiThreadedEventLoopGroup.singleton)
        print("listens on \(try await server.start())")
        try await Task.sleep(for: .seconds(Int(ProcessInfo.processInfo.environment["NEEDLETAIL_SERVE_SECONDS"] ?? "") ?? 60))
        await server.shutdown(grace: .zero)
    }
}

extension ByHand {
    /// What the messages of the hot paths cost: `NEEDLETAIL_MEASURE=1 swift test -c release --skip-build --filter ByHand`.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["NEEDLETAIL_MEASURE"] != nil)) func measure() throws {
        func time<Value>(_ name: String, _ rounds: Int, _ items: Int, _ body: () throws -> Value) rethrows {
            _ = try body()
            let start = ContinuousClock.now
            for _ in 0..<rounds { _ = try body() }
            let nanoseconds = Double(start.duration(to: .now).nanoseconds) / Double(rounds)
            print("\(name): \(Int(nanoseconds)) ns, \(Int(nanoseconds) / items) ns an item")
        }
        let vector = DenseVector((0..<128).map { Float($0) })
        let payload = PayloadCoding.encode(["title": .string("a title of some length"), "year": .integer(1999), "score": .double(0.5)])
        let operations = (0..<1000).map { id in
            NamedOperation.upsert(id: .number(UInt64(id)), vectors: [NamedVector(field: "text", vector: vector)], payload: payload)
        }
        let write = PointsWrite(collection: "c", operations: operations)
        let upsert = try PublicMessages.upsert.encode(write)
        try time("encode upsert of 1000", 200, 1000) { try PublicMessages.upsert.encode(write) }
        try time("decode upsert of 1000", 200, 1000) { try PublicMessages.upsert.decode(upsert) }

        let search = PointsSearch(collection: "c", queries: [NamedQuery(field: "text", vector: vector)])
        let request = try PublicMessages.search.encode(search)
        try time("encode search", 20_000, 1) { try PublicMessages.search.encode(search) }
        try time("decode search", 20_000, 1) { try PublicMessages.search.decode(request) }

        let points = (0..<10).map { NamedScoredPoint(id: .number(UInt64($0)), score: 1, distance: 2, payload: payload) }
        let answer = SearchAnswer(results: [points], coverage: Coverage(shards: []), work: SearchWork())
        let found = try PublicMessages.found.encode(answer)
        try time("encode answer of 10 with payload", 20_000, 10) { try PublicMessages.found.encode(answer) }
        try time("decode answer of 10 with payload", 20_000, 10) { try PublicMessages.found.decode(found) }
    }
}
