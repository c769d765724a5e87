import NeedletailCluster
import NeedletailCore

/// A client: one operation at a time, retried under its id until it is answered.
final class SimulatedClient {
    enum WriteResult { case done, failed }

    struct ReadResult {
        /// The operation whose value was found.
        var operation: Int?
        /// How far the replica's searches saw.
        var sequence: Int
    }

    private unowned let simulation: Simulation
    let index: Int
    private(set) var isIdle = true
    private var attempts = 0
    private var map: [UInt32: ShardPlace]

    init(_ simulation: Simulation, _ index: Int) {
        self.simulation = simulation
        self.index = index
        map = simulation.metadata.places
    }

    func start() { simulation.after(simulation.pick(1...300_000)) { [self] in next() } }

    private func next() {
        guard simulation.now < simulation.faults.end else { return }
        // A client whose write cannot be done on its side of a split reads nothing meanwhile, so every other one only reads.
        if index % 2 == 1 || simulation.chance(simulation.faults.reads) {
            read(simulation.pick(1...4))
        } else {
            isIdle = false
            let consistency: WriteConsistency =
                simulation.chance(simulation.faults.majorities) ? .majority : simulation.chance(0.1) ? .primary : .allInSync
            let operation = simulation.newOperation()
            write(Record(epoch: 0, operation: operation, key: simulation.pick(1...4)), consistency)
        }
    }

    private func pause() { simulation.after(simulation.pick(1_000...simulation.faults.thinkTime)) { [self] in next() } }

    private func write(_ record: Record, _ consistency: WriteConsistency) {
        attempts += 1
        let attempt = attempts
        func over(_ result: WriteResult) {
            guard attempt == attempts else { return }
            attempts += 1
            if result == .done {
                isIdle = true
                simulation.shard(of: record.key).oracle.answered(record, consistency)
                pause()
            } else {
                map = simulation.chance(0.8) ? simulation.metadata.places : map
                simulation.after(simulation.pick(5_000...150_000)) { [self] in write(record, consistency) }
            }
        }
        let place = place(of: record.key)
        let (worker, epoch) = (simulation.workers[Int(place.primary.value) - 1], place.epoch)
        simulation.network.send(from: .client(index), to: worker.endpoint) { [self] in
            worker.replicas[place.number]?.write(record, consistency, epoch: epoch) { [self] result in
                simulation.network.send(from: worker.endpoint, to: .client(index)) { over(result) }
            }
        }
        simulation.after(800_000) { over(.failed) }
    }

    /// By the map that it has.
    private func place(of key: Int) -> ShardPlace {
        map.values.first { simulation.shards[Int($0.number)].keys.contains(key) }!
    }

    private func read(_ key: Int) {
        if simulation.resharding != .none, simulation.chance(0.3) { return readAnywhere(key) }
        attempts += 1
        let attempt = attempts
        let (shard, floor) = (simulation.shard(of: key), simulation.shard(of: key).oracle.readFloor)
        func over() {
            guard attempt == attempts else { return }
            attempts += 1
            map = simulation.chance(0.8) ? simulation.metadata.places : map
            pause()
        }
        // Sometimes an older primary is asked on purpose, by the epoch that it knows.
        var target = place(of: key)
        if simulation.chance(0.4) { target = (isWhole ? former(key) : simulation.shard(of: key)).oracle.somePlace(simulation) }
        let worker = simulation.workers[Int(target.primary.value) - 1]
        simulation.network.send(from: .client(index), to: worker.endpoint) { [self] in
            guard let replica = worker.replicas[target.number] else { return }
            replica.read(key, epoch: target.epoch) { [self] result in
                simulation.network.send(from: worker.endpoint, to: .client(index)) { [self] in
                    guard attempt == attempts else { return }
                    if let result {
                        let after = replica.shard.oracle.floor(floor, of: shard)
                        replica.shard.oracle.reads(simulation, key: key, result, floor: after, from: replica)
                        let now = simulation.shard(of: key)
                        if now === replica.shard || simulation.resharding != .merge { now.oracle.isRead(through: result.sequence) }
                    }
                    over()
                }
            }
        }
        simulation.after(800_000, over)
    }

    /// Whether the shard is asked that there was before it was split or merged.
    private var isWhole: Bool {
        simulation.resharding == .none || simulation.metadata.places[SimulatedShard.merged] == nil && simulation.resharding == .merge
            || simulation.metadata.places[0] != nil || simulation.chance(0.5)
    }

    /// The shard of a key before there was another one.
    private func former(_ key: Int) -> SimulatedShard { simulation.shards[simulation.resharding == .merge ? (key <= 2 ? 1 : 2) : 0] }

    /// Reads from any replica in sync, by the map that it has: maybe one of long ago.
    private func readAnywhere(_ key: Int) {
        attempts += 1
        let attempt = attempts
        let (shard, floor) = (simulation.shard(of: key), simulation.shard(of: key).oracle.readFloor)
        func over() {
            guard attempt == attempts else { return }
            attempts += 1
            map = simulation.chance(simulation.bug == .forgetsSeals ? 0.05 : 0.3) ? simulation.metadata.places : map
            pause()
        }
        let place = place(of: key)
        let worker = simulation.workers[Int(place.inSync[simulation.pick(0...place.inSync.count - 1)].value) - 1]
        simulation.network.send(from: .client(index), to: worker.endpoint) { [self] in
            guard let replica = worker.replicas[place.number], let result = replica.readHere(key) else { return }
            simulation.network.send(from: worker.endpoint, to: .client(index)) { [self] in
                guard attempt == attempts else { return }
                replica.shard.oracle.readsHere(simulation, result, floor: floor, of: shard, from: replica)
                over()
            }
        }
        simulation.after(800_000, over)
    }
}
