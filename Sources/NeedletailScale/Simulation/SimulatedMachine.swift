internal import DequeModule

/// Some cores, and threads that want one: those that are ready run in the order in which they became so, each until it has nothing to do, or its
/// slice is over and another one waits (as Linux's scheduler has it since 6.6, where a thread that wakes does not interrupt one within its slice).
struct SimulatedMachine {
    let cores: Int
    /// How much longer everything takes than on a healthy machine.
    var slowness = 1.0
    var busyTime = 0.0
    /// Of each core that is idle, since when.
    private var idle: [Double]
    private var ready = Deque<Int>()

    init(cores: Int) {
        self.cores = cores
        idle = Array(repeating: 0, count: cores)
    }

    var hasReadyThreads: Bool { !ready.isEmpty }

    /// Microseconds that a thread runs before others go first: Linux's `base_slice`, 0.7 ms × (1 + ⌊log₂ cores⌋), of eight cores at most.
    var slice: Double { 700 * Double(Int.bitWidth - min(cores, 8).leadingZeroBitCount) }

    /// How long the core was idle that the thread gets; nil when none is, and it waits.
    mutating func admit(_ thread: Int, now: Double) -> Double? {
        if let since = idle.popLast() { return now - since }
        ready.append(thread)
        return nil
    }

    /// A thread gives up its core: who gets it, if anybody waits.
    mutating func release(now: Double) -> Int? {
        if let next = ready.popFirst() { return next }
        idle.append(now)
        return nil
    }
}

/// A thread: an event loop, which takes all messages that have come in one turn, or one that walks for its node.
struct SimulatedThread {
    struct Message {
        /// Microseconds of work for it.
        var cost: Double
        var then: SimulatedStep
    }

    let machine: Int
    /// Nil: an event loop.
    let walksFor: Int?
    var inbox: [Message] = []
    /// Waits for a core, or has one.
    var isAwake = false
    /// When it got its core.
    var since = 0.0
    var turns = 0
    /// Times that it got a core which was idle, and how deeply asleep those were, each 0 to 1.
    var wakes = 0
    var depth = 0.0

    /// What there is when the turn begins.
    mutating func take() -> [Message] {
        defer { inbox = [] }
        return inbox
    }
}

/// What of a node waits for one of its threads.
struct SimulatedPool {
    /// Some walks, one after the other.
    struct Job {
        var call: Int
        var walks: Int
    }

    let threads: Range<Int>
    var waiting = Deque<Job>()
    var underWay = 0
    /// When a request last came.
    var latest = -Double.infinity
}

/// What happens next to a search.
enum SimulatedStep {
    /// Its time has come, on the schedule of the load generator.
    case paced(query: Int)
    /// A client wants to send it.
    case begins(query: Int)
    /// It is on its way to the coordinator.
    case sent(query: Int)
    case arrives(query: Int)
    /// The coordinator has sent its requests.
    case scattered(query: Int)
    /// A call is at a worker.
    case reached(call: Int)
    /// The worker has read it.
    case opened(call: Int)
    /// The worker has written its answer.
    case answered(call: Int)
    /// The answer is at the coordinator.
    case returned(call: Int)
    /// The coordinator has read it.
    case gathered(call: Int)
    /// The time after which a second replica is asked.
    case isLate(part: Int)
    /// The answer is at the client.
    case comesBack(query: Int)
    case done(query: Int)
}
