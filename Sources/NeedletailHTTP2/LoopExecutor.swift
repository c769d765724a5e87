public import NIOCore
import NIOPosix

/// Runs Swift tasks on a NIO event loop, and flushes connections once per turn of the loop.
///
/// A turn is: the loop hands over everything the sockets had; the jobs these reads made runnable run; then every connection that
/// got something to send writes it with one system call. So a hundred answers that became ready together cost one `write`.
///
/// There is one executor per event loop; `on(_:)` finds it. All state is confined to the loop.
public final class LoopExecutor: TaskExecutor, @unchecked Sendable {  // the event loop guards every `var`
    public let eventLoop: any EventLoop
    private var jobs: [UnownedJob] = []
    private var spare: [UnownedJob] = []
    private var dirty: [HTTP2Connection] = []
    private var isScheduled = false
    private var turn: (@Sendable () -> Void)!

    /// Jobs run in one turn before the sockets get a look again, so that tasks which wake each other cannot starve input.
    private static let jobsPerTurn = 1024
    private static let current = ThreadSpecificVariable<LoopExecutor>()

    private init(_ eventLoop: any EventLoop) {
        self.eventLoop = eventLoop
        self.turn = { [unowned self] in self.runTurn() }
        jobs.reserveCapacity(64)
        spare.reserveCapacity(64)
    }

    /// The executor of `eventLoop`; call it on that loop.
    public static func on(_ eventLoop: any EventLoop) -> LoopExecutor {
        eventLoop.preconditionInEventLoop()
        if let executor = current.currentValue, executor.eventLoop === eventLoop { return executor }
        let executor = LoopExecutor(eventLoop)
        current.currentValue = executor
        return executor
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if eventLoop.inEventLoop {
            jobs.append(job)
            scheduleTurn()
        } else {
            eventLoop.execute {
                self.jobs.append(job)
                self.scheduleTurn()
            }
        }
    }

    /// Asks for `connection` to be flushed at the end of this turn.
    func flushLater(_ connection: HTTP2Connection) {
        dirty.append(connection)
        scheduleTurn()
    }

    private func scheduleTurn() {
        guard !isScheduled else { return }
        isScheduled = true
        eventLoop.execute(turn)
    }

    private func runTurn() {
        var left = Self.jobsPerTurn
        while !jobs.isEmpty, left > 0 {
            swap(&jobs, &spare)
            // A job may enqueue others: they go to `jobs` while `spare` is walked.
            for index in spare.indices { spare[index].runSynchronously(on: asUnownedTaskExecutor()) }
            left -= spare.count
            spare.removeAll(keepingCapacity: true)
        }
        isScheduled = false
        if !jobs.isEmpty { scheduleTurn() }
        flushAll()
    }

    private func flushAll() {
        while !dirty.isEmpty {
            let connections = dirty
            dirty.removeAll(keepingCapacity: true)
            for connection in connections { connection.flushNow() }
        }
    }
}
