/// A shard worker's own view of its lease, from the heartbeats that were answered.
///
/// The lease counts from the moment the heartbeat was *sent*, the leader counts from the moment it *received* it, so that the worker's
/// ends first; a tenth is taken off for clocks that run at different rates (Gray and Cheriton, "Leases: An Efficient Fault-Tolerant
/// Mechanism for Distributed File Cache Consistency", 1989, section 5).
public struct NodeLease: Sendable {
    public let length: Duration
    private var number: UInt64 = 0
    private var sent: [UInt64: Duration] = [:]
    private var end: Duration?

    /// - Parameter length: as the leader counts it.
    public init(length: Duration) { self.length = length }

    /// A heartbeat goes out now; the answer must name the number that is returned.
    public mutating func send(now: Duration) -> UInt64 {
        sent = sent.filter { $0.value + length > now }
        number += 1
        sent[number] = now
        return number
    }

    /// The leader answered, and granted the lease.
    public mutating func granted(_ number: UInt64) {
        guard let moment = sent.removeValue(forKey: number) else { return }
        end = max(end ?? .zero, moment + length * 9 / 10)
    }

    public func isHeld(now: Duration) -> Bool { end.map { now < $0 } ?? false }
}
