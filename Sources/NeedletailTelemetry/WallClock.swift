internal import Glibc

/// The time of day, which goes on between processes and may step; for durations there is `ContinuousClock`.
public enum WallClock {
    /// Since 1970.
    public static func microseconds() -> Int64 { nanoseconds() / 1_000 }

    /// Since 1970.
    public static func nanoseconds() -> Int64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
