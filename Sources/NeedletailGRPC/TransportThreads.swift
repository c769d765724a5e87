public import NIOCore
internal import NIOPosix
public import NeedletailTelemetry

/// The event-loop threads of a process, for owners that have no other business with SwiftNIO.
public final class TransportThreads: Sendable {
    public let group: any EventLoopGroup

    public init(count: Int) { group = MultiThreadedEventLoopGroup(numberOfThreads: count) }

    /// Until cancelled: finds out how long tasks wait for each loop.
    public func watchDelay(_ registry: MetricsRegistry) async {
        let metrics = LoopMetrics(registry)
        while !Task.isCancelled {
            let asked = ContinuousClock.now
            for loop in group.makeIterator() { loop.execute { metrics.waited(asked.duration(to: .now)) } }
            try? await Task.sleep(for: .milliseconds(250))
        }
    }

    /// Ends the threads; every server and client on them must be closed before.
    public func shutdown() async { try? await group.shutdownGracefully() }
}

extension GRPCServer {
    /// `start`, for owners that only want to know the port.
    public func listen() async throws -> Int { try await start().port ?? 0 }
}
