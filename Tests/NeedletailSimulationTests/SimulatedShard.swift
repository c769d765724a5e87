import NeedletailCluster
import NeedletailCore

/// A shard, or a part of one that may come to be: which keys it holds, and what is known of it to those who know everything.
final class SimulatedShard {
    let number: UInt32
    let keys: ClosedRange<Int>
    let oracle: Oracle

    init(_ number: UInt32, keys: ClosedRange<Int>) {
        (self.number, self.keys) = (number, keys)
        oracle = Oracle(number)
    }

    var id: ShardID { ShardID(incarnation: Incarnation(1), number: number) }

    /// What of a record of the whole concerns this part of it.
    func part(_ record: Record) -> Record { keys.contains(record.key) ? record : Record(epoch: record.epoch, operation: 0, key: 0) }
}

/// From which epochs on a replica takes writes and answers reads, in memory and on its disk.
struct SimulatedSeal {
    private(set) var writes: UInt64 = 0
    private(set) var reads: UInt64 = 0
    private(set) var storedWrites: UInt64 = 0
    private(set) var storedReads: UInt64 = 0

    mutating func raise(writes epoch: UInt64) { writes = max(writes, epoch) }
    mutating func raise(reads epoch: UInt64) { reads = max(reads, epoch) }
    mutating func stored(writes epoch: UInt64) { storedWrites = max(storedWrites, epoch) }
    mutating func stored(reads epoch: UInt64) { storedReads = max(storedReads, epoch) }

    mutating func crash(_ simulation: Simulation) {
        if simulation.bug == .forgetsSeals { (storedWrites, storedReads) = (0, 0) }
        (writes, reads) = (storedWrites, storedReads)
    }

    func checkWrites(_ epoch: UInt64) throws(NeedletailError) { try check(epoch, writes) }

    func checkReads(_ epoch: UInt64, _ simulation: Simulation) throws(NeedletailError) {
        if simulation.bug != .answersAfterTheEnd { try check(epoch, reads) }
    }

    private func check(_ epoch: UInt64, _ end: UInt64) throws(NeedletailError) {
        if epoch < end { throw NeedletailError(.aborted, "the shard is being split") }
    }
}
