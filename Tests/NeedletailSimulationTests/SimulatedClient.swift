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
    private var place: ShardPlace

    init(_ simulation: Simulation, _ index: Int) {
        self.simulation = simulation
        self.index = index
        place = simulation.metadata.place
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
            let operation = simulation.oracle.newOperation()
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
                simulation.oracle.answered(record, consistency)
                pause()
            } else {
                place = simulation.chance(0.8) ? simulation.metadata.place : place
                simulation.after(simulation.pick(5_000...150_000)) { [self] in write(record, consistency) }
            }
        }
        let (worker, epoch) = (simulation.workers[Int(place.primary.value) - 1], place.epoch)
        simulation.network.send(from: .client(index), to: worker.endpoint) { [self] in
            worker.write(record, consistency, epoch: epoch) { [self] result in
                simulation.network.send(from: worker.endpoint, to: .client(index)) { over(result) }
            }
        }
        simulation.after(800_000) { over(.failed) }
    }

    private func read(_ key: Int) {
        attempts += 1
        let attempt = attempts
        let floor = simulation.oracle.readFloor
        func over() {
            guard attempt == attempts else { return }
            attempts += 1
            place = simulation.chance(0.8) ? simulation.metadata.place : place
            pause()
        }
        // Sometimes an older primary is asked on purpose, by the epoch that it knows.
        let target = simulation.chance(0.4) ? simulation.oracle.somePlace(simulation) : place
        let worker = simulation.workers[Int(target.primary.value) - 1]
        simulation.network.send(from: .client(index), to: worker.endpoint) { [self] in
            worker.read(key, epoch: target.epoch) { [self] result in
                simulation.network.send(from: worker.endpoint, to: .client(index)) { [self] in
                    guard attempt == attempts else { return }
                    if let result { simulation.oracle.reads(simulation, key: key, result, floor: floor, from: worker) }
                    over()
                }
            }
        }
        simulation.after(800_000, over)
    }
}
