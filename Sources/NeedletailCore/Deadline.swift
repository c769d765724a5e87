/// The moment by which an answer is wanted, on a clock that never jumps.
///
/// A deadline is made once, where a request enters, and handed down unchanged inside a process; between processes the time that is
/// left travels (gRPC `grpc-timeout`), since clocks of two machines do not agree.
public struct Deadline: Sendable, Hashable, Comparable {
    private let instant: ContinuousClock.Instant

    /// The deadline `duration` from now.
    public static func after(_ duration: Duration) -> Deadline { Deadline(instant: .now.advanced(by: duration)) }

    /// What is left; negative once the deadline is past.
    public var remaining: Duration { ContinuousClock.Instant.now.duration(to: instant) }

    public var isPast: Bool { ContinuousClock.Instant.now >= instant }

    /// Throws `deadlineExceeded` when the deadline is past, for a place where nothing has been done yet.
    public func check(before what: @autoclosure () -> String) throws(NeedletailError) {
        guard isPast else { return }
        throw NeedletailError(.deadlineExceeded, "the deadline passed before \(what()); nothing was done. Allow more time")
    }

    /// This deadline moved by `duration` (negative: earlier), for keeping a margin.
    public func moved(by duration: Duration) -> Deadline { Deadline(instant: instant.advanced(by: duration)) }

    public static func < (left: Deadline, right: Deadline) -> Bool { left.instant < right.instant }
}

extension Duration {
    /// The length in nanoseconds, saturating.
    public var nanoseconds: Int64 {
        let (seconds, attoseconds) = components
        let (whole, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        return overflow ? (seconds < 0 ? .min : .max) : whole &+ attoseconds / 1_000_000_000
    }

    /// The length in milliseconds, with fraction.
    public var milliseconds: Double { Double(nanoseconds) / 1e6 }
}
