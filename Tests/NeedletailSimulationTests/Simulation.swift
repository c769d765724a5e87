import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport

/// A shard with its replicas, coordinators, metadata store and clients, in one thread under one seed: what happens, and when, is drawn from
/// one generator, so a seed always tells the same story.
///
/// The product's machines decide; everything here is what they would find outside: disks, network, clocks, crashes. `Bug` breaks a rule of
/// that world, never of the machines, to see whether the oracle notices.
final class Simulation {
    typealias Microseconds = Int

    let seed: UInt64
    let bug: Bug?
    var random: SeededGenerator
    private(set) var now: Microseconds = 0
    private var queue = EventQueue()
    private var traceEnd: [String] = []
    let isTracing: Bool
    private(set) var failure: String?
    var counts = EventCounts()

    var faults: FaultPlan
    /// The one there is at first, then its two parts if it is split. Or first two parts, and then the last one, if they are merged.
    let shards = [
        SimulatedShard(0, keys: 1...4), SimulatedShard(1, keys: 1...2), SimulatedShard(2, keys: 3...4), SimulatedShard(SimulatedShard.merged, keys: 1...4),
    ]
    let resharding: Resharding

    enum Resharding { case none, split, merge }
    private var operations = 0
    private(set) var network: SimulatedNetwork!
    private(set) var metadata: SimulatedMetadata!
    private(set) var workers: [SimulatedWorker] = []
    private(set) var coordinators: [SimulatedCoordinator] = []
    private(set) var clients: [SimulatedClient] = []

    static let lease = Duration.seconds(2)
    private(set) var settings = ReplicationSettings(
        lag: .milliseconds(900), heartbeat: .milliseconds(300), silence: .milliseconds(1_200), retry: .milliseconds(120))
    var minInSync: Int

    /// - Parameter resharding: whether the shard is split on the way, or two merged. All else is drawn as if they were not.
    init(seed: UInt64, bug: Bug? = nil, resharding: Resharding = .none, isTracing: Bool = false) {
        self.seed = seed
        self.bug = bug
        self.isTracing = isTracing
        self.resharding = resharding
        random = SeededGenerator(seed: seed)
        faults = FaultPlan(&random, bug: bug)
        settings.windowBytes = [2, 4, 16].randomElement(using: &random) ?? 4
        minInSync = Int.random(in: 1...2, using: &random)
        network = SimulatedNetwork(self)
        let count = Int.random(in: 2...4, using: &random)
        let nodes = (1...count).map { NodeID(UInt64($0)) }
        let inSync = Array(nodes.prefix(Int.random(in: 1...count, using: &random)))
        let first = ShardPlace(number: 0, range: HashRange(first: 0, last: .max), primary: nodes[0], epoch: 1, replicas: nodes, inSync: inSync)
        metadata = SimulatedMetadata(self, places: resharding == .merge ? SimulatedShard.halves(of: first) : [first])
        workers = nodes.map { SimulatedWorker(self, $0) }
        coordinators = (0..<Int.random(in: 1...3, using: &random)).map { SimulatedCoordinator(self, $0) }
        clients = (0..<([2, 4, 9].randomElement(using: &random) ?? 4)).map { SimulatedClient(self, $0) }
    }

    /// Runs faults for a while, then heals everything and waits until all is well again.
    /// - Returns: what went wrong, or nil.
    func run() -> String? {
        workers.forEach { $0.start() }
        coordinators.forEach { $0.start() }
        clients.forEach { $0.start() }
        faults.begin(self)
        if resharding == .split { beginSplit() }
        if resharding == .merge { beginMerge() }
        advance(until: faults.end)
        if failure == nil {
            trace("--- heal")
            faults.calm()
            FaultPlan.heal(self)
            let limit = now + 30_000_000
            while failure == nil, now < limit {
                advance(until: now + 250_000)
                if unhealed == nil { break }
            }
            if failure == nil, let reason = unhealed { fail("did not heal: \(reason)") }
            for shard in living where failure == nil { shard.oracle.judgeEnd(self) }
        }
        // Events hold this object.
        queue = EventQueue()
        return failure
    }

    /// The shards there are now.
    var living: [SimulatedShard] { metadata.places.keys.sorted().map { shards[Int($0)] } }

    /// The shard that holds a key now.
    func shard(of key: Int) -> SimulatedShard { living.first { $0.keys.contains(key) } ?? shards[0] }

    /// Why not all is well again, or nil.
    private var unhealed: String? {
        if let split = metadata.split, !split.step.hasEnded { return "the split is at \(split.step): \(split.problem)" }
        if let merge = metadata.merge, !merge.step.hasEnded { return "the merge is at \(merge.step): \(merge.problem)" }
        return living.lazy.compactMap { $0.oracle.unhealed(self) }.first
    }

    func newOperation() -> Int {
        operations += 1
        return operations
    }

    private func advance(until end: Microseconds) {
        while failure == nil, let time = queue.nextTime, time <= end {
            let body = queue.pop()
            now = time
            body()
        }
        now = end
    }

    func after(_ delay: Microseconds, _ body: @escaping () -> Void) { queue.push(now + max(0, delay), body) }

    func fail(_ message: String) {
        trace("FAILED: \(message)")
        if failure == nil { failure = message }
    }

    /// The last events, when the run is traced.
    var story: String { traceEnd.suffix(250).joined(separator: "\n") }

    func trace(_ line: @autoclosure () -> String) {
        guard isTracing else { return }
        traceEnd.append("\(Double(now) / 1_000)ms \(line())")
        if traceEnd.count > 2_000 { traceEnd.removeFirst(1_000) }
    }

    // MARK: Chance

    func chance(_ probability: Double) -> Bool { probability > 0 && random.uniform() < probability }
    func pick(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }
}

/// A monotonic clock that runs at a rate of its own, from a beginning of its own.
struct SkewedClock {
    var rate: Double
    var offset: Int

    init(_ random: inout SeededGenerator) {
        rate = 0.95 + 0.1 * random.uniform()
        offset = Int.random(in: 1...3_600_000_000, using: &random)
    }

    func local(_ time: Simulation.Microseconds) -> Duration { .microseconds(offset + Int(Double(time) * rate)) }
}

/// Events by time; those of one time in the order in which they were made.
struct EventQueue {
    private struct Entry {
        var time: Int
        var serial: Int
        var body: () -> Void
    }

    private var heap: [Entry] = []
    private var serial = 0

    var nextTime: Int? { heap.first?.time }

    private func isBefore(_ left: Int, _ right: Int) -> Bool {
        heap[left].time != heap[right].time ? heap[left].time < heap[right].time : heap[left].serial < heap[right].serial
    }

    mutating func push(_ time: Int, _ body: @escaping () -> Void) {
        serial += 1
        heap.append(Entry(time: time, serial: serial, body: body))
        var child = heap.count - 1
        while child > 0, isBefore(child, (child - 1) / 2) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    mutating func pop() -> () -> Void {
        heap.swapAt(0, heap.count - 1)
        let body = heap.removeLast().body
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && isBefore(child, least) { least = child }
            if least == parent { return body }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}

/// How often what happened.
struct EventCounts {
    private(set) var byName: [String: Int] = [:]
    mutating func note(_ name: String, _ count: Int = 1) { byName[name, default: 0] += count }
    mutating func add(_ other: EventCounts) { for (name, count) in other.byName { note(name, count) } }
    subscript(name: String) -> Int { byName[name] ?? 0 }
    var description: String { byName.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ") }
}
