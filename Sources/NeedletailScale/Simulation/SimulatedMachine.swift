internal import DequeModule

/// Some cores, and two lines of work that wait for one: an operating system lets threads that have slept go before those that walk, so requests
/// are read and answered between two walks.
struct SimulatedMachine {
    enum Work {
        /// An event loop has messages.
        case turn(loop: Int)
        /// A shard is searched for a request.
        case walk(part: Int)
    }

    let cores: Int
    /// How much longer everything takes than on a healthy machine.
    var slowness = 1.0
    var busyTime = 0.0
    private var busy = 0
    private var turns = Deque<Int>()
    private var walks = Deque<Int>()

    init(cores: Int) { self.cores = cores }

    /// Whether a core is idle, which then is taken; otherwise the work waits.
    mutating func admit(_ work: Work) -> Bool {
        guard busy < cores else {
            switch work {
            case .turn(let loop): turns.append(loop)
            case .walk(let part): walks.append(part)
            }
            return false
        }
        busy += 1
        return true
    }

    /// A core has ended what it did: what it does next, if anything waits.
    mutating func release() -> Work? {
        if let loop = turns.popFirst() { return .turn(loop: loop) }
        if let part = walks.popFirst() { return .walk(part: part) }
        busy -= 1
        return nil
    }
}

/// The event loop of a process: takes all messages that have come in one turn.
struct SimulatedLoop {
    struct Message {
        /// Microseconds of work for it.
        var cost: Double
        var then: SimulatedStep
    }

    var machine: Int
    private(set) var inbox: [Message] = []
    /// Waits for a core, or has one.
    private var isScheduled = false

    init(machine: Int) { self.machine = machine }

    /// Whether the loop was idle and wants a core.
    mutating func receive(_ message: Message) -> Bool {
        inbox.append(message)
        if isScheduled { return false }
        isScheduled = true
        return true
    }

    /// What there is when the turn begins.
    mutating func take() -> [Message] {
        defer { inbox = [] }
        return inbox
    }

    /// The turn has ended: whether there is more.
    mutating func end() -> Bool {
        isScheduled = !inbox.isEmpty
        return isScheduled
    }
}

/// What happens next to a search.
enum SimulatedStep {
    /// A client wants to send it.
    case begins(query: Int)
    /// It is on its way to the coordinator.
    case sent(query: Int)
    case arrives(query: Int)
    /// The coordinator has sent its requests.
    case scattered(query: Int)
    /// A request is at a worker.
    case reached(part: Int)
    /// The worker has read it.
    case opened(part: Int)
    /// The worker has written its answer.
    case answered(part: Int)
    /// The answer is at the coordinator.
    case returned(part: Int)
    /// The coordinator has read it.
    case gathered(part: Int)
    /// The time after which a second replica is asked.
    case isLate(part: Int)
    /// The answer is at the client.
    case comesBack(query: Int)
    case done(query: Int)
}
