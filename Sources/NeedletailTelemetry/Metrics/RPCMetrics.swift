internal import CoreMetrics
internal import Synchronization

/// What a gRPC server tells of the calls that it answers.
public final class RPCMetrics: Sendable {
    /// Of one method.
    private struct Instruments {
        let duration: Recorder
        var handled: [String: Counter] = [:]
        var underWay = 0
    }

    private let registry: MetricsRegistry
    private let methods = Mutex<[String: Instruments]>([:])

    public init(_ registry: MetricsRegistry) {
        self.registry = registry
        registry.onCollect { [weak self] report in
            for (path, count) in self?.methods.withLock({ $0.mapValues(\.underWay) }) ?? [:] { report.add(.rpcsUnderWay, Self.labels(path), count) }
        }
    }

    /// - Parameter path: `/service/method`; only such as the server has, so that they are not too many.
    public func began(_ path: String) {
        methods.withLock { $0[path, default: instruments(path)].underWay += 1 }
    }

    /// - Parameter code: as the wire names it: "OK", "UNAVAILABLE".
    public func ended(_ path: String, code: String, took: Duration) {
        let (duration, handled) = methods.withLock { methods in
            var method = methods[path] ?? instruments(path)
            method.underWay = max(0, method.underWay - 1)
            let handled = method.handled[code] ?? registry.counter(.rpcsHandled, Self.labels(path) + [code])
            method.handled[code] = handled
            methods[path] = method
            return (method.duration, handled)
        }
        duration.record(took / .seconds(1))
        handled.increment()
    }

    private func instruments(_ path: String) -> Instruments { Instruments(duration: registry.histogram(.rpcDuration, Self.labels(path))) }

    private static func labels(_ path: String) -> [String] {
        let parts = path.split(separator: "/", maxSplits: 1).map(String.init)
        return parts.count == 2 ? parts : [path, ""]
    }
}
