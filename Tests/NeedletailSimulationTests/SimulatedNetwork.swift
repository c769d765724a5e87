import NeedletailCluster
import NeedletailCore

/// Who talks: a worker's or coordinator's index, the metadata store, a client.
enum Endpoint: Hashable {
    case worker(Int)
    case coordinator(Int)
    case metadata
    case client(Int)
}

/// Calls that are delayed, lost or late, in any order; streams that keep their order or break.
final class SimulatedNetwork {
    private unowned let simulation: Simulation
    /// One-way, from → to.
    private var blocked: Set<[Endpoint]> = []

    init(_ simulation: Simulation) { self.simulation = simulation }

    func block(from: Endpoint, to: Endpoint) { blocked.insert([from, to]) }
    func unblock(_ one: Endpoint) { blocked = blocked.filter { !$0.contains(one) } }
    func unblock(from: Endpoint, to: Endpoint) { blocked.remove([from, to]) }
    func healAll() { blocked = [] }
    func isBlocked(from: Endpoint, to: Endpoint) -> Bool { !blocked.isEmpty && blocked.contains([from, to]) }

    /// One message of a call. A late one may arrive after the caller has given up, and after others that were sent later.
    func send(from: Endpoint, to: Endpoint, _ deliver: @escaping () -> Void) {
        guard !isBlocked(from: from, to: to), !simulation.chance(simulation.faults.loss) else { return }
        simulation.after(delay(), deliver)
    }

    func delay() -> Int {
        simulation.chance(simulation.faults.late) ? simulation.pick(50_000...6_000_000) : simulation.pick(100...4_000)
    }

    /// Sends on a stream, behind what was sent before. A message that cannot pass breaks the stream, which each end learns on its own.
    func send(_ stream: SimulatedStream, from: Endpoint, _ deliver: @escaping () -> Void) {
        guard !stream.isBroken else { return }
        let to = from == stream.backup ? stream.primary : stream.backup
        if isBlocked(from: from, to: to) || simulation.chance(simulation.faults.loss / 4) { return breakOff(stream) }
        let pause = simulation.chance(simulation.faults.lateOnStreams) ? simulation.pick(50_000...900_000) : simulation.pick(100...3_000)
        let time = max(simulation.now + pause, stream.nextDelivery[from == stream.backup ? 0 : 1] + 1)
        stream.nextDelivery[from == stream.backup ? 0 : 1] = time
        simulation.after(time - simulation.now) { if !stream.isBroken { deliver() } }
    }

    func breakOff(_ stream: SimulatedStream) {
        guard !stream.isBroken else { return }
        stream.isBroken = true
        simulation.counts.note("broken stream")
        for (end, life) in [(stream.backup, stream.backupLife), (stream.primary, stream.primaryLife)] {
            guard case .worker(let index) = end else { continue }
            let pause = simulation.chance(0.5) ? simulation.pick(100...20_000) : simulation.pick(20_000...2_500_000)
            simulation.after(pause) { [simulation] in
                let worker = simulation.workers[index]
                if worker.life == life, worker.isUp { worker.replicas[stream.shard]?.streamEnded(stream.id) }
            }
        }
    }
}

final class SimulatedStream {
    let id: StreamID
    let shard: UInt32
    let backup: Endpoint
    let backupLife: Int
    let primary: Endpoint
    var primaryLife: Int
    var isBroken = false
    /// Towards the primary, towards the backup.
    var nextDelivery = [0, 0]

    init(id: StreamID, shard: UInt32, backup: Endpoint, backupLife: Int, primary: Endpoint, primaryLife: Int) {
        self.id = id
        self.shard = shard
        self.backup = backup
        self.backupLife = backupLife
        self.primary = primary
        self.primaryLife = primaryLife
    }
}
