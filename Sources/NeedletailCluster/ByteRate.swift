/// Says when bytes may go so that no more than so many go in a second; pure. What was not used is not saved up, but for a moment's worth.
public struct ByteRate: Sendable {
    /// 0: as many as there are.
    public let bytesPerSecond: UInt64
    /// When all that was allowed has been paid for.
    private var paidAt: Duration?

    private static let moment = Duration.milliseconds(100)

    public init(bytesPerSecond: UInt64) { self.bytesPerSecond = bytesPerSecond }

    /// - Parameter now: by a clock that never goes back.
    /// - Returns: how long these bytes have to wait.
    public mutating func take(_ bytes: Int, now: Duration) -> Duration {
        guard bytesPerSecond > 0 else { return .zero }
        let start = max(paidAt ?? now, now - Self.moment)
        paidAt = start + .seconds(Double(bytes) / Double(bytesPerSecond))
        return max(.zero, start - now)
    }
}
