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
