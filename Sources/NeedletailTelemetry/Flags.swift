public import NeedletailCore

/// Checks of command-line flags that both servers have.
public enum Flags {
    /// - Throws: `invalidArgument` that names the flag and its range.
    @discardableResult
    public static func check(_ name: String, _ value: Int, in range: ClosedRange<Int>) throws(NeedletailError) -> Int {
        guard range.contains(value) else {
            throw NeedletailError(.invalidArgument, "\(name) must be \(range.lowerBound) to \(range.upperBound), not \(value)")
        }
        return value
    }

    /// "100ms", "2s", "1.5s".
    /// - Throws: `invalidArgument` that names the flag.
    public static func duration(_ name: String, _ text: String) throws(NeedletailError) -> Duration {
        for (unit, seconds) in [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)] where text.hasSuffix(unit) {
            guard let value = Double(text.dropLast(unit.count)), value >= 0, value * seconds < 1e6 else { break }
            return .nanoseconds(Int64(value * seconds * 1e9))
        }
        throw NeedletailError(.invalidArgument, "\(name) must be a time such as 100ms or 2s, not \(text)")
    }

    /// What coordinators and workers have in common.
    /// - Throws: `invalidArgument`.
    public static func check(logLevel: String, drainSeconds: Int, advertise: String?) throws(NeedletailError) {
        try Logs.check(logLevel)
        try check("--drain-seconds", drainSeconds, in: 0...86_400)
        if let advertise { _ = try Endpoint.parse(advertise) }
    }
}
