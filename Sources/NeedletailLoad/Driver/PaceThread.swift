import Foundation
import Synchronization

/// A thread of our own for the task that keeps the schedule: it may sleep to the moment without taking a thread from others.
final class PaceThread: TaskExecutor {
    private let jobs = Mutex<[UnownedJob]>([])
    private let wake = DispatchSemaphore(value: 0)
    private let isEnding = Atomic<Bool>(false)

    init() {
        Thread.detachNewThread { [self] in
            // Linux may wake a sleeper up to 50 µs late to save power; not this one. Where that cannot be set, lateness is measured all the same.
            try? "1".write(toFile: "/proc/thread-self/timerslack_ns", atomically: false, encoding: .utf8)
            while !isEnding.load(ordering: .acquiring) {
                wake.wait()
                let taken = jobs.withLock { jobs in
                    defer { jobs = [] }
                    return jobs
                }
                for job in taken { job.runSynchronously(on: asUnownedTaskExecutor()) }
            }
        }
    }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
        wake.signal()
    }

    /// Ends the thread once its jobs have ended; none may come later.
    func end() {
        isEnding.store(true, ordering: .releasing)
        wake.signal()
    }

    /// Blocks until `instant`, or until `isStopped` says so. To be called on this thread.
    /// - Returns: false when stopped.
    static func sleep(until instant: ContinuousClock.Instant, unless isStopped: () -> Bool) -> Bool {
        while !isStopped() {
            let left = ContinuousClock.Instant.now.duration(to: instant)
            guard left > .zero else { return true }
            let nanoseconds = min(left, .milliseconds(50)).components.attoseconds / 1_000_000_000
            var time = timespec(tv_sec: 0, tv_nsec: Int(nanoseconds))
            nanosleep(&time, nil)
        }
        return false
    }
}

/// Places for requests under way.
final class Outstanding: Sendable {
    private let places: DispatchSemaphore
    private let taken = Atomic<Int>(0)

    init(limit: Int) { places = DispatchSemaphore(value: limit) }

    var count: Int { taken.load(ordering: .acquiring) }

    /// Blocks while all places are taken, or until `isStopped` says so.
    /// - Returns: whether it had to wait; nil when stopped.
    func take(unless isStopped: () -> Bool) -> Bool? {
        taken.wrappingAdd(1, ordering: .acquiringAndReleasing)
        if places.wait(timeout: .now()) == .success { return false }
        while !isStopped() {
            if places.wait(timeout: .now() + .milliseconds(20)) == .success { return true }
        }
        taken.wrappingSubtract(1, ordering: .acquiringAndReleasing)
        return nil
    }

    func leave() {
        taken.wrappingSubtract(1, ordering: .acquiringAndReleasing)
        places.signal()
    }
}
