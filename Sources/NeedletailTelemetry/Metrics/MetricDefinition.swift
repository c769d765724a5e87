/// A metric as it is documented: what is told of it under `# HELP` and `# TYPE`, and in the reference.
///
/// Names follow the Prometheus conventions: the unit in the name, `_total` for counters, seconds and bytes as units.
public struct MetricDefinition: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        /// Grows only.
        case counter
        case gauge
        /// With the upper bounds of its buckets, ascending; the last one, +Inf, goes without saying.
        case histogram([Double])

        var name: String {
            switch self {
            case .counter: "counter"
            case .gauge: "gauge"
            case .histogram: "histogram"
            }
        }
    }

    public var name: String
    public var kind: Kind
    public var help: String
    /// Names of its labels, in the order in which values are given.
    public var labels: [String]

    public init(_ name: String, _ kind: Kind, labels: [String] = [], _ help: String) {
        self.name = name
        self.kind = kind
        self.help = help
        self.labels = labels
    }

    /// From 100 µs to 30 s, three to a factor of ten: what a request may take.
    public static let secondsOfRequests: [Double] = [
        0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30,
    ]
    /// From ten to ten million.
    public static let counts: [Double] = [10, 30, 100, 300, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 1e7]
}
