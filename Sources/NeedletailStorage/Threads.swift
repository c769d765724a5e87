private import Glibc

/// A mutex with a condition variable, for the module's own threads (`Synchronization.Mutex` has nothing to wait on).
public final class Monitor: @unchecked Sendable {
    // Guarded by being a mutex and a condition; the addresses are stable because they are allocated once.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    public init() {
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    public func locked<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body()
    }

    /// Only inside `locked`: gives the mutex up until woken; may wake for no reason, so callers loop on their condition.
    public func wait() { pthread_cond_wait(condition, mutex) }
    public func wakeAll() { pthread_cond_broadcast(condition) }
    public func wakeOne() { pthread_cond_signal(condition) }
}

/// A thread of our own: storage blocks in fsync, which must not hold a thread of the cooperative pool.
public final class DedicatedThread: @unchecked Sendable {
    // Written once in `init`, read by `join`.
    private var handle = pthread_t()

    private final class Start {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }

    public init(_ body: @escaping @Sendable () -> Void) {
        let start = Unmanaged.passRetained(Start(body))
        let result = pthread_create(
            &handle, nil,
            { argument in
                // The one retain made above is taken over here.
                Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue().body()
                return nil
            }, start.toOpaque())
        precondition(result == 0, "a thread cannot be created (errno \(result)): raise the process's thread limit")
    }

    /// Waits for the body to return; call it once.
    public func join() { pthread_join(handle, nil) }

    /// Runs `body` on `count` threads at once, the caller's included, and returns when all have finished.
    public static func concurrently(_ count: Int, _ body: @escaping @Sendable () -> Void) {
        let others = (1..<max(1, count)).map { _ in DedicatedThread(body) }
        body()
        for thread in others { thread.join() }
    }

    /// How far a thread stands behind others when processors are scarce.
    public enum Precedence: Sendable {
        case ordinary
        /// A nice value, 1 … 19: a smaller share, but a thread that wakes may still have to wait for the end of this one's turn.
        case niceness(Int32)
        /// Runs where nobody else wants to and gives way at once. Beside threads that never rest it comes nearly to a standstill.
        case idle
    }

    /// SCHED_IDLE of <sched.h>, which that hides from programs that do not ask for GNU extensions.
    private static let idlePolicy: Int32 = 5

    /// Sets the calling thread's precedence. There is no way back for a process without privileges.
    public static func setPrecedence(_ precedence: Precedence) {
        // On Linux both calls are per thread for id 0. Refused by no system for giving way; a failure would only cost latency.
        switch precedence {
        case .ordinary: break
        case .niceness(let value): _ = setpriority(__priority_which_t(PRIO_PROCESS.rawValue), 0, value)
        case .idle:
            var parameters = sched_param(sched_priority: 0)
            _ = sched_setscheduler(0, idlePolicy, &parameters)
        }
    }

    public static func sleep(_ duration: Duration) {
        let nanoseconds = max(0, duration.components.seconds * 1_000_000_000 + duration.components.attoseconds / 1_000_000_000)
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        nanosleep(&time, nil)
    }
}

/// Many at once, or one alone.
final class ReadWriteLock: @unchecked Sendable {
    // Guarded by being a lock; allocated once, so its address is stable.
    private let lock = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)

    init() { pthread_rwlock_init(lock, nil) }

    deinit {
        pthread_rwlock_destroy(lock)
        lock.deallocate()
    }

    func shared<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_rwlock_rdlock(lock)
        defer { pthread_rwlock_unlock(lock) }
        return try body()
    }

    func exclusive<Result>(_ body: () throws -> Result) rethrows -> Result {
        pthread_rwlock_wrlock(lock)
        defer { pthread_rwlock_unlock(lock) }
        return try body()
    }
}
