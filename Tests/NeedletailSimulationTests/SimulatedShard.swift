import NeedletailCluster
import NeedletailCore

/// A shard, or a part of one that may come to be: which keys it holds, and what is known of it to those who know everything.
final class SimulatedShard {
    let number: UInt32
    let keys: ClosedRange<Int>
    let oracle: Oracle

    /// What the two of a merge are merged into.
    static let merged: UInt32 = 3

    /// Two shards on the nodes of one.
    static func halves(of whole: ShardPlace) -> [ShardPlace] {
        let ranges = [HashRange(first: 0, last: .max / 2), HashRange(first: .max / 2 + 1, last: .max)]
        return zip(ranges, [whole.inSync.first, whole.inSync.last]).enumerated().map { index, half in
            ShardPlace(
                number: UInt32(index + 1), range: half.0, primary: half.1 ?? whole.primary, epoch: 1, replicas: whole.replicas, inSync: whole.inSync)
        }
    }

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
        if epoch < end { throw NeedletailError(.aborted, "the shard is being split or merged") }
    }
}

extension SimulatedShard {
    /// A parent's record in the log of a merged shard.
    static func taken(_ record: Record) -> Record { Record(epoch: 1, operation: record.operation, key: record.key) }
}
