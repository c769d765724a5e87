public import NIOCore
internal import NIOPosix

/// The event-loop threads of a process, for owners that have no other business with SwiftNIO.
public final class TransportThreads: Sendable {
    public let group: any EventLoopGroup

    public init(count: Int) { group = MultiThreadedEventLoopGroup(numberOfThreads: count) }

    /// Ends the threads; every server and client on them must be closed before.
    public func shutdown() async { try? await group.shutdownGracefully() }
}

extension GRPCServer {
    /// `start`, for owners that only want to know the port.
    public func listen() async throws -> Int { try await start().port ?? 0 }
}
