internal import DequeModule

/// Some cores, and two lines of work that wait for one: an operating system lets threads that have slept go before those that walk, so
/// requests are read and answered between two walks. Times are microseconds.
struct SimulatedMachine {
    struct Burst {
        var length: Double
        var isWalk = false
        /// What goes on when it has ended.
        var then: SimulatedStep
    }

    let cores: Int
    /// How much longer everything takes than on a healthy machine.
    var slowness = 1.0
    private var busy = 0
    private var urgent = Deque<Burst>()
    private var walks = Deque<Burst>()
    private(set) var busyTime = 0.0

    init(cores: Int) { self.cores = cores }

    /// What begins to run now, if a core is free; otherwise it waits.
    mutating func submit(_ burst: Burst) -> (takes: Double, then: SimulatedStep)? {
        guard busy < cores else {
            if burst.isWalk { walks.append(burst) } else { urgent.append(burst) }
            return nil
        }
        return begin(burst)
    }

    /// A burst has ended: what begins in its place.
    mutating func release() -> (takes: Double, then: SimulatedStep)? {
        busy -= 1
        return (urgent.popFirst() ?? walks.popFirst()).map { begin($0) }
    }

    private mutating func begin(_ burst: Burst) -> (takes: Double, then: SimulatedStep) {
        busy += 1
        let takes = burst.length * slowness
        busyTime += takes
        return (takes, burst.then)
    }
}

/// What happens next to a search.
enum SimulatedStep {
    /// The client has sent it; a coordinator begins.
    case arrives(query: Int)
    /// The coordinator has sent its requests.
    case scattered(query: Int)
    /// A request is at a worker's machine.
    case reached(part: Int)
    /// The worker has read it, and walks.
    case opened(part: Int)
    /// One of its walks has ended.
    case walked(part: Int)
    /// The worker has written its answer.
    case answered(part: Int)
    /// The coordinator has read it.
    case gathered(part: Int)
    /// The time after which a second replica is asked.
    case isLate(part: Int)
    /// The coordinator has merged and sent the answer.
    case merged(query: Int)
    /// The client has it.
    case done(query: Int)
}
