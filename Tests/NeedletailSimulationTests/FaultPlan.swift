import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport

/// Rules that a world breaks on purpose.
enum Bug: String, CaseIterable {
    /// The disk says that records are durable before they are.
    case acknowledgesBeforeSync
    /// After a crash the promises about epochs are gone.
    case forgetsPromises
    /// A replica answers a fence and goes on following its old primary.
    case ignoresFences
    /// A worker believes that it always has its lease.
    case ignoresLeases
    /// A worker takes a lease for one on whatever epoch it believes to lead.
    case leasesWithoutEpochs
    /// A coordinator grants leases whether it leads or not.
    case grantsWithoutLeading
    /// The metadata store compares the epoch of a place, not its version.
    case ignoresVersions
    /// A proposal is made when the set it starts from is there again.
    case comparesSets
    /// The leader promotes a replica that is not in sync.
    case promotesOutsider
    /// The leader promotes the living member whose log is shortest.
    case promotesStale
    /// A primary says that it takes no more writes, and takes them.
    case sealsNothing
    /// Where the whole takes no more writes, and answers no more reads, is forgotten in a crash.
    case forgetsSeals
    /// Reads are answered after a replica said that it answers none.
    case answersAfterTheEnd
    /// A part begins with all that the whole's checkpoint has.
    case keepsOthersPoints
    /// A part takes records over before they are committed.
    case followsUncommitted
    /// The leader asks the primary only how far the parts are.
    case asksPrimariesOnly

    /// Replicas of a merged shard take the order in which records of the parents came for the same on all nodes.
    case sharesOwnOrder
    /// After a crash a merged replica takes records of its parents over again.
    case takesTwice
    /// One parent only is sealed.
    case sealsOneParent

    /// Where it shows.
    var reshardings: [Simulation.Resharding] {
        switch self {
        case .sealsNothing, .forgetsSeals, .answersAfterTheEnd, .followsUncommitted, .asksPrimariesOnly: [.split, .merge]
        case .keepsOthersPoints: [.split]
        case .sharesOwnOrder, .takesTwice, .sealsOneParent: [.merge]
        default: [.none]
        }
    }
}

/// What goes wrong in one run, and how often. Each seed has some kinds of faults and not others, since faults hide each other (Groce et al.,
/// "Swarm Testing", 2012).
struct FaultPlan {
    let end: Simulation.Microseconds
    private(set) var loss: Double
    private(set) var late: Double
    private(set) var lateOnStreams: Double
    /// How probably news of the shard's place reach a worker at once, or with a heartbeat.
    private(set) var telling: Double
    private(set) var thinkTime: Int
    /// Of all operations; and of the writes, those that a majority acknowledges.
    let reads: Double
    private(set) var majorities: Double
    private var kinds: [Kind]
    private var pause: Int
    private let isAimed: Bool

    private enum Kind: CaseIterable {
        case crash, crashPrimary, crashAll, coordinatorCrash, isolate, oneWay, pair, fromCoordinators, fromMetadata, split
        case slowDisk, fullDisk, checkpoint, replicas, deaf, handOver
        /// Strikes by itself: see `delaysChange`.
        case lateChange
    }

    /// - Parameter bug: one that shows in a narrow window only gets the aim that opens it, with every seed.
    init(_ random: inout SeededGenerator, bug: Bug?) {
        let aims: [Bug: [Kind]] = [.ignoresFences: [.fromCoordinators], .grantsWithoutLeading: [.split], .comparesSets: [.slowDisk, .pair]]
        let aim = bug.flatMap { aims[$0] }
        end = (aim == nil ? Int.random(in: 8...24, using: &random) : 40) * 1_000_000
        loss = [0, 0, 0.005, 0.05].randomElement(using: &random) ?? 0
        late = [0, 0.002, 0.02, 0.1].randomElement(using: &random) ?? 0
        lateOnStreams = late / 4
        telling = [1, 0.7, 0.2].randomElement(using: &random) ?? 1
        reads = [0.2, 0.4, 0.7].randomElement(using: &random) ?? 0.4
        majorities = [0.1, 0.3, 0.7].randomElement(using: &random) ?? 0.3
        thinkTime = [12_000, 60_000, 250_000].randomElement(using: &random) ?? 40_000
        kinds = []
        let share = [0.1, 0.25, 0.6].randomElement(using: &random) ?? 0.5
        for kind in Kind.allCases where random.uniform() < share { kinds.append(kind) }
        pause = [150_000, 500_000, 1_500_000].randomElement(using: &random) ?? 600_000
        // Some seeds do one thing only, far enough apart that one blow does not undo what another began.
        let single: [[Kind]] = [
            [.split], [.fromCoordinators], [.fromCoordinators], [.isolate, .deaf], [.fromCoordinators, .lateChange], [.slowDisk, .pair],
        ]
        isAimed = random.uniform() < 0.25 || aim != nil
        guard isAimed else { return }
        kinds = aim ?? single.randomElement(using: &random) ?? []
        if kinds == [.fromCoordinators] { (majorities, thinkTime, lateOnStreams) = (0.7, 12_000, 0.3) }
        if kinds.contains(.slowDisk) { late = 0.1 }
        pause = 3_000_000
    }

    func begin(_ simulation: Simulation) {
        guard !kinds.isEmpty else { return }
        simulation.after(simulation.pick(pause / 4...2 * pause)) {
            guard simulation.now < end else { return }
            strike(simulation)
            begin(simulation)
        }
    }

    private func strike(_ simulation: Simulation) {
        let kind = kinds[simulation.pick(0...kinds.count - 1)]
        let worker = simulation.workers[simulation.pick(0...simulation.workers.count - 1)]
        let other = simulation.workers[simulation.pick(0...simulation.workers.count - 1)]
        let coordinator = simulation.coordinators[simulation.pick(0...simulation.coordinators.count - 1)]
        // A blink, about a lease, or long enough for another to take over.
        let times = [20_000...800_000, 500_000...4_000_000, 3_500_000...9_000_000]
        let time = simulation.pick(times[isAimed ? 2 : simulation.pick(0...2)])
        let primary = simulation.workers[Int(simulation.metadata.place.primary.value) - 1]
        let target = simulation.chance(0.5) ? primary : worker
        switch kind {
        case .crash: crash(simulation, worker, time)
        case .crashPrimary: crash(simulation, primary, time)
        case .crashAll: for worker in simulation.workers { crash(simulation, worker, simulation.pick(10_000...time)) }
        case .coordinatorCrash:
            coordinator.crash()
            simulation.after(time) { if !coordinator.isUp { coordinator.start() } }
        case .isolate: cut(simulation, target.endpoint, from: everybody(simulation), time)
        case .oneWay: cut(simulation, target.endpoint, from: everybody(simulation), time, direction: simulation.pick(1...2))
        case .pair: cut(simulation, target.endpoint, from: [other.endpoint], time, direction: simulation.pick(0...2))
        case .fromCoordinators:
            cut(simulation, primary.endpoint, from: simulation.coordinators.map { .coordinator($0.index) }, time, direction: simulation.pick(0...2))
            // What was admitted before its lease ends is then still on its way when it is replaced.
            if simulation.chance(0.5) { for worker in simulation.workers where worker !== primary { slow(simulation, worker, time) } }
            for worker in simulation.workers where simulation.chance(0.5) { deafen(simulation, worker, time + 2_000_000) }
        case .deaf: deafen(simulation, target, time)
        case .fromMetadata: cut(simulation, .coordinator(coordinator.index), from: [.metadata], time, direction: simulation.pick(0...2))
        case .split: split(simulation, time)
        case .lateChange: break
        case .replicas: simulation.metadata.toggleReplica(worker.id, of: simulation.metadata.place)
        case .slowDisk:
            slow(simulation, target, time)
        case .fullDisk:
            worker.health.isFull = true
            simulation.after(time) { worker.health.isFull = false }
        case .handOver: coordinator.handOver(to: other.id)
        case .checkpoint: for replica in worker.hosted where replica.isUp { replica.disk.checkpoint(applied: replica.applied) }
        }
    }

    private func slow(_ simulation: Simulation, _ worker: SimulatedWorker, _ time: Int) {
        worker.health.isSlow = true
        simulation.after(time) { worker.health.isSlow = false }
    }

    /// News of the shard's place do not reach a worker, though all else does.
    private func deafen(_ simulation: Simulation, _ worker: SimulatedWorker, _ time: Int) {
        worker.isDeaf = true
        simulation.after(time) { worker.isDeaf = false }
    }

    /// Whether a leader's promotion is to be on its way for long while the leader dies and the old primary comes back: its successor may
    /// then see no reason for it. Returns for how long.
    func delaysChange(_ simulation: Simulation, of coordinator: SimulatedCoordinator) -> Int? {
        guard kinds.contains(.lateChange), simulation.now < end, simulation.chance(0.4) else { return nil }
        let primary = simulation.workers[Int(simulation.metadata.place.primary.value) - 1]
        let time = simulation.pick(100_000...6_000_000)
        simulation.after(1) {
            coordinator.crash()
            simulation.network.unblock(primary.endpoint)
            primary.start()
            deafen(simulation, primary, time + 2_000_000)
            let others = simulation.workers.filter { $0 !== primary }
            if simulation.chance(0.5) { cut(simulation, primary.endpoint, from: others.map(\.endpoint), time + 2_000_000) }
        }
        simulation.after(simulation.pick(100_000...5_000_000)) { if !coordinator.isUp { coordinator.start() } }
        return time
    }

    private func crash(_ simulation: Simulation, _ worker: SimulatedWorker, _ time: Int) {
        worker.crash()
        simulation.after(time) { worker.start() }
    }

    private func everybody(_ simulation: Simulation) -> [Endpoint] {
        simulation.workers.map(\.endpoint) + simulation.coordinators.map { .coordinator($0.index) }
    }

    /// - Parameter direction: 0 both, 1 what it sends, 2 what it is sent.
    private func cut(_ simulation: Simulation, _ one: Endpoint, from others: [Endpoint], _ time: Int, direction: Int = 0) {
        simulation.counts.note(direction == 0 ? "partition" : "one-way partition")
        simulation.trace("\(one) cut off from \(others.count), direction \(direction)")
        for other in others where other != one {
            if direction != 2 { simulation.network.block(from: one, to: other) }
            if direction != 1 { simulation.network.block(from: other, to: one) }
        }
        unblock(simulation, others.map { (one, $0) }, after: time)
    }

    /// Everything on two sides that do not see each other.
    private func split(_ simulation: Simulation, _ time: Int) {
        simulation.counts.note("partition")
        let all = everybody(simulation) + [.metadata] + simulation.clients.map { .client($0.index) }
        var left = all.filter { _ in simulation.chance(0.5) }
        if simulation.chance(0.5), let leader = simulation.coordinators.first(where: \.isLeading) {
            // The primary with the leader, away from the metadata: both have to notice by their clocks.
            left = [.worker(Int(simulation.metadata.place.primary.value) - 1), .coordinator(leader.index)]
            left += simulation.clients.map { .client($0.index) }.filter { _ in simulation.chance(0.5) }
        }
        let right = all.filter { !left.contains($0) }
        simulation.trace("split: \(left)")
        let pairs = left.flatMap { one in right.map { (one, $0) } }
        for (one, other) in pairs {
            simulation.network.block(from: one, to: other)
            simulation.network.block(from: other, to: one)
        }
        unblock(simulation, pairs, after: time)
    }

    private func unblock(_ simulation: Simulation, _ pairs: [(Endpoint, Endpoint)], after time: Int) {
        simulation.after(time) {
            for (one, other) in pairs {
                simulation.network.unblock(from: one, to: other)
                simulation.network.unblock(from: other, to: one)
            }
        }
    }

    mutating func calm() { (loss, late, lateOnStreams, telling) = (0, 0, 0, 1) }

    /// Ends what is still wrong.
    static func heal(_ simulation: Simulation) {
        simulation.network.healAll()
        for worker in simulation.workers {
            (worker.health.isSlow, worker.health.isFull, worker.isDeaf) = (false, false, false)
            worker.start()
        }
        for coordinator in simulation.coordinators where !coordinator.isUp { coordinator.start() }
        for shard in simulation.living {
            for worker in simulation.workers {
                guard let place = simulation.metadata.places[shard.number], !place.replicas.contains(worker.id) else { continue }
                simulation.metadata.toggleReplica(worker.id, of: place)
            }
        }
    }
}
