import NeedletailCore
public import NeedletailGRPC
import Synchronization

/// The health of a server's services, for load balancers and whoever waits for a start: `grpc.health.v1.Health`.
///
/// A server begins with no service known and itself ("") not serving.
public final class HealthService: Sendable {
    public static let service = "grpc.health.v1.Health"
    public static let check = GRPCMethod(service: service, name: "Check")
    public static let watch = GRPCMethod(service: service, name: "Watch")

    private struct State {
        var statuses: [String: ServingStatus] = ["": .notServing]
        var watchers: [UInt64: (service: String, changes: AsyncStream<ServingStatus>.Continuation)] = [:]
        var nextWatcher: UInt64 = 0
        var isShutDown = false
    }

    private let state = Mutex(State())

    public init() {}

    /// Sets a service's status and tells its watchers; "" is the server as a whole. Does nothing after `shutDown`.
    public func set(_ status: ServingStatus, for service: String = "") {
        state.withLock { state in
            guard !state.isShutDown, state.statuses[service] != status else { return }
            state.statuses[service] = status
            Self.tell(status, service, state)
        }
    }

    /// Says of every service that it does not serve, once and for all: the server is about to stop.
    public func shutDown() {
        state.withLock { state in
            state.isShutDown = true
            for service in state.statuses.keys {
                state.statuses[service] = .notServing
                Self.tell(.notServing, service, state)
            }
        }
    }

    private static func tell(_ status: ServingStatus, _ service: String, _ state: borrowing State) {
        for watcher in state.watchers.values where watcher.service == service { watcher.changes.yield(status) }
    }

    /// nil: there is no such service.
    public func status(of service: String) -> ServingStatus? { state.withLock { $0.statuses[service] } }

    /// The status now and after each change. A watcher that does not keep up misses states in between, never the last.
    func changes(of service: String) -> AsyncStream<ServingStatus> {
        let (stream, continuation) = AsyncStream.makeStream(of: ServingStatus.self, bufferingPolicy: .bufferingNewest(1))
        let number = state.withLock { state in
            state.nextWatcher += 1
            state.watchers[state.nextWatcher] = (service, continuation)
            continuation.yield(state.statuses[service] ?? .serviceUnknown)
            return state.nextWatcher
        }
        continuation.onTermination = { [weak self] _ in self?.state.withLock { $0.watchers[number] = nil } }
        return stream
    }
}

extension GRPCRouter {
    /// Serves `grpc.health.v1.Health`.
    public mutating func registerHealth(_ health: HealthService) {
        unary(HealthService.check) { message, _ in
            let service = try HealthMessages.check.decode(message)
            guard let status = health.status(of: service) else {
                throw NeedletailError(
                    .notFound, "this server has no service \"\(service)\"; ask for \"\" for the server as a whole")
            }
            return try HealthMessages.status.encode(status)
        }
        serverStreaming(HealthService.watch) { message, writer, _ in
            var last: ServingStatus?
            for await status in health.changes(of: try HealthMessages.check.decode(message)) where status != last {
                last = status
                try await writer.write(try HealthMessages.status.encode(status))
            }
        }
    }
}
