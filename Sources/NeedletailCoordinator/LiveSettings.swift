public import NeedletailCluster
internal import Synchronization

/// What of a coordinator's configuration may change while it runs.
public final class LiveSettings: Sendable {
    public struct Values: Sendable {
        /// When and how much the cluster moves replicas by itself.
        public var moves: MovePolicy
        /// Queries that take longer are logged; nil: none.
        public var slowQuery: Duration?
        /// Share of the requests that are traced without their caller's wish.
        public var traceSample: Double

        public init(moves: MovePolicy = MovePolicy(), slowQuery: Duration? = nil, traceSample: Double = 0) {
            self.moves = moves
            self.slowQuery = slowQuery
            self.traceSample = traceSample
        }
    }

    private let values: Mutex<Values>

    public init(_ values: Values = Values()) { self.values = Mutex(values) }

    public var current: Values { values.withLock { $0 } }

    public func change(to values: Values) { self.values.withLock { $0 = values } }
}
