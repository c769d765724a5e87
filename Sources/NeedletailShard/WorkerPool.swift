public import NeedletailCore
public import NeedletailIndex
public import NeedletailStorage
internal import Synchronization

/// A fixed number of threads with a scratch space each, for work that would hold up an event loop: searching, building, decoding.
///
/// Jobs run in the order of their submission. The queue is bounded, by requests, of which a job may be several, and a job that would not begin before its
/// deadline is refused at once: under an overload those who can still be answered are, instead of everybody too late.
public final class WorkerPool: @unchecked Sendable {
    // Sendable: `queue`, `head`, the figures and `isClosed` are guarded by `monitor`; `threads` is written in `init` and read in `close`.
    public typealias Job = @Sendable (inout SearchScratch) -> Void

    public let threadCount: Int
    public let queueLimit: Int
    let readers: ReaderEpochs
    private let monitor = Monitor()
    private var queue: [Queued] = []
    private var head = 0
    /// Requests in the queue.
    private var waiting = 0
    private var isClosed = false
    /// Jobs that a thread is at.
    private var running = 0
    /// When a job last came.
    private var latest = ContinuousClock.now
    /// For jobs that run on their caller's thread, one at a time.
    private let guest = Mutex(SearchScratch())
    /// Moving average of what a request takes, in nanoseconds.
    private var averageTime = 0.0
    private var jobCount: UInt64 = 0
    private var busyTime = Duration.zero
    private var threads: [DedicatedThread] = []

    private struct Queued {
        let job: Job
        let requests: Int
    }

    public init(threads count: Int, queueLimit: Int = 4096, precedence: DedicatedThread.Precedence = .ordinary) {
        precondition(count > 0, "a pool has at least one thread")
        threadCount = count
        self.queueLimit = queueLimit
        // One more for the guest.
        readers = ReaderEpochs(count: count + 1)
        threads = (0..<count).map { index in DedicatedThread { [self] in work(index, precedence) } }
    }

    private func work(_ index: Int, _ precedence: DedicatedThread.Precedence) {
        DedicatedThread.setPrecedence(precedence)
        var scratch = SearchScratch()
        var last: (took: Duration, requests: Int)?
        while let next = next(after: last) {
            let began = ContinuousClock.now
            readers.enter(index)
            next.job(&scratch)
            readers.leave(index)
            last = (began.duration(to: .now), next.requests)
        }
    }

    /// - Parameter last: what the thread's last job took.
    private func next(after last: (took: Duration, requests: Int)?) -> Queued? {
        monitor.locked {
            if let last {
                running -= 1
                count(last.took, requests: last.requests)
            }
            while head == queue.count && !isClosed { monitor.wait() }
            guard head < queue.count else { return nil }
            let next = queue[head]
            head += 1
            running += 1
            waiting -= next.requests
            // Amortised: the consumed front is dropped when it is half of the array.
            if head * 2 >= queue.count {
                queue.removeFirst(head)
                head = 0
            }
            return next
        }
    }

    private func count(_ took: Duration, requests: Int) {
        jobCount += 1
        busyTime += took
        averageTime += Self.timeWeight * (Double(took.nanoseconds) / Double(requests) - averageTime)
    }

    /// Runs a job on the calling thread if it is alone and likely short: to wake a thread, and to be woken by it, would take longer. False: it
    /// did not run, and is to be submitted.
    ///
    /// Where jobs come close together they are for the threads, so that callers, who are event loops, go on taking them.
    func runHere(_ job: (inout SearchScratch) -> Void) -> Bool {
        let now = ContinuousClock.now
        let isAlone = monitor.locked {
            defer { latest = now }
            return !isClosed && running == 0 && head == queue.count && jobCount > 0 && averageTime < Self.shortTime
                && latest.duration(to: now) > Self.quietTime
        }
        guard isAlone else { return false }
        return guest.withLockIfAvailable { scratch in
            readers.enter(threadCount)
            job(&scratch)
            readers.leave(threadCount)
            let took = now.duration(to: .now)
            monitor.locked { count(took, requests: 1) }
            return true
        } ?? false
    }

    /// A job that the caller can be held up for, in nanoseconds.
    private static let shortTime = 100_000.0
    /// Without another job for so long one is alone.
    private static let quietTime = Duration.microseconds(150)

    /// Requests that wait, jobs done, and the time that all threads have spent on them.
    var load: (waiting: Int, jobs: UInt64, busy: Duration) { monitor.locked { (waiting, jobCount, busyTime) } }

    /// Share of a new time in the average.
    private static let timeWeight = 0.05

    /// - Parameter requests: how many the job answers.
    /// - Throws: `resourceExhausted`, with the time after which to try again, when the queue is full, or so long that the deadline would
    ///   pass in it; `unavailable` after `close`.
    public func submit(requests: Int = 1, deadline: Deadline? = nil, _ job: @escaping Job) throws(NeedletailError) {
        let refusal: NeedletailError? = monitor.locked {
            if isClosed { return NeedletailError(.unavailable, "the node is shutting down; ask another one") }
            let wait = Duration.nanoseconds(Int64(averageTime * Double(waiting) / Double(threadCount)))
            // However many a job is, there is a queue that takes it: an empty one.
            if waiting > 0, waiting + requests > queueLimit {
                return NeedletailError(.resourceExhausted, "\(waiting) requests wait for a thread already; send fewer, or add nodes", retryAfter: wait)
            }
            // A single job may have taken long for reasons of its own; with more than one a thread there is a line.
            if let deadline, waiting > threadCount, wait > deadline.remaining {
                return NeedletailError(
                    .resourceExhausted,
                    "\(waiting) requests wait for a thread already, about \(wait.milliseconds) ms of work, and the deadline is earlier; send fewer, "
                        + "or add nodes", retryAfter: wait)
            }
            queue.append(Queued(job: job, requests: requests))
            waiting += requests
            monitor.wakeOne()
            return nil
        }
        if let refusal { throw refusal }
    }

    /// Runs `body` on one of the threads and returns its value.
    public func run<Value: Sendable>(
        deadline: Deadline? = nil, _ body: @escaping @Sendable (inout SearchScratch) throws -> Value
    ) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            do {
                try submit(deadline: deadline) { scratch in continuation.resume(with: Result { try body(&scratch) }) }
            } catch {
                continuation.resume(throwing: error)
            }
        }
    }

    /// Calls `body` for 0 ..< `count` from the calling job and from whichever other threads are free, and returns when all are done.
    ///
    /// Cannot deadlock: the caller takes every index that nobody else has taken, and waits only for those that are being worked on.
    func parallel(_ count: Int, scratch: inout SearchScratch, _ body: @escaping @Sendable (Int, inout SearchScratch) -> Void) {
        let work = ParallelWork(count: count, body: body)
        for _ in 0..<min(threadCount - 1, count - 1) { try? submit { scratch in work.help(&scratch) } }
        work.help(&scratch)
        work.waitUntilDone()
    }

    /// Finishes what is queued and ends the threads.
    public func close() {
        monitor.locked {
            isClosed = true
            monitor.wakeAll()
        }
        guest.withLock { _ in }
        for thread in threads { thread.join() }
        threads = []
    }
}

/// Indices handed out one by one, and a count of those finished.
private final class ParallelWork: Sendable {
    private let count: Int
    private let body: @Sendable (Int, inout SearchScratch) -> Void
    private let next = Atomic<Int>(0)
    private let finished = Atomic<Int>(0)
    private let monitor = Monitor()

    init(count: Int, body: @escaping @Sendable (Int, inout SearchScratch) -> Void) {
        self.count = count
        self.body = body
    }

    func help(_ scratch: inout SearchScratch) {
        while true {
            let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard index < count else { return }
            body(index, &scratch)
            if finished.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue == count { monitor.locked { monitor.wakeAll() } }
        }
    }

    func waitUntilDone() {
        monitor.locked { while finished.load(ordering: .acquiring) < count { monitor.wait() } }
    }
}

/// Tells when every job that might still hold something has ended: epoch-based reclamation with one word a thread.
final class ReaderEpochs: @unchecked Sendable {
    // Sendable: atomics behind a pointer that never changes.
    private let global = Atomic<UInt64>(1)
    /// The epoch in which each thread's job began; 0 between jobs. One cache line apart, so that threads do not share one.
    private let active: UnsafeMutablePointer<Atomic<UInt64>>
    private let count: Int
    private static let spacing = 8

    init(count: Int) {
        self.count = count
        active = .allocate(capacity: count * Self.spacing)
        for index in 0..<count * Self.spacing { (active + index).initialize(to: Atomic(0)) }
    }

    deinit { active.deallocate() }

    func enter(_ thread: Int) {
        active[thread * Self.spacing].store(global.load(ordering: .sequentiallyConsistent), ordering: .sequentiallyConsistent)
    }

    func leave(_ thread: Int) { active[thread * Self.spacing].store(0, ordering: .releasing) }

    /// A mark for `havePassed`: taken after something became unreachable.
    func mark() -> UInt64 { global.wrappingAdd(1, ordering: .sequentiallyConsistent).newValue }

    /// Whether every job that began before the mark has ended.
    func havePassed(_ mark: UInt64) -> Bool {
        (0..<count).allSatisfy { thread in
            let epoch = active[thread * Self.spacing].load(ordering: .sequentiallyConsistent)
            return epoch == 0 || epoch >= mark
        }
    }
}
