public import NeedletailCore

/// A shard worker's own view of its lease, from the heartbeats that were answered.
///
/// The lease counts from the moment the heartbeat was *sent*, the leader counts from the moment it *received* it, so that the worker's
/// ends first; a tenth is taken off for clocks that run at different rates (Gray and Cheriton, "Leases: An Efficient Fault-Tolerant
/// Mechanism for Distributed File Cache Consistency", 1989, section 5).
///
/// It is a lease on epochs: a node that was away, whose shard has another primary by now, has a lease again with its first heartbeat,
/// maybe before it learns of the new epoch.
public struct NodeLease: Sendable {
    private struct Term: Sendable {
        var epoch: UInt64
        var end: Duration
    }

    public let length: Duration
    private var number: UInt64 = 0
    private var sent: [UInt64: Duration] = [:]
    private var terms: [ShardID: Term] = [:]

    /// - Parameter length: as the leader counts it.
    public init(length: Duration) { self.length = length }

    /// A heartbeat goes out now; the answer must name the number that is returned.
    public mutating func send(now: Duration) -> UInt64 {
        sent = sent.filter { $0.value + length > now }
        terms = terms.filter { now < $0.value.end }
        number += 1
        sent[number] = now
        return number
    }

    /// The leader answered, and granted the lease on these epochs of shards whose primary is here.
    public mutating func granted(_ number: UInt64, epochs: [ShardID: UInt64]) {
        guard let moment = sent.removeValue(forKey: number) else { return }
        let end = moment + length * 9 / 10
        for (shard, epoch) in epochs {
            guard let term = terms[shard], term.epoch >= epoch else {
                terms[shard] = Term(epoch: epoch, end: end)
                continue
            }
            if term.epoch == epoch { terms[shard]?.end = max(term.end, end) }
        }
    }

    public func isHeld(_ shard: ShardID, epoch: UInt64, now: Duration) -> Bool {
        terms[shard].map { $0.epoch == epoch && now < $0.end } ?? false
    }
}
