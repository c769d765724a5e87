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

    /// What coordinators and workers have in common.
    /// - Throws: `invalidArgument`.
    public static func check(logLevel: String, drainSeconds: Int, advertise: String?) throws(NeedletailError) {
        try Logs.check(logLevel)
        try check("--drain-seconds", drainSeconds, in: 0...86_400)
        if let advertise { _ = try Endpoint.parse(advertise) }
    }
}
