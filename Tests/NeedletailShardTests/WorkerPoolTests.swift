import NeedletailCore
@testable import NeedletailShard
import NeedletailTestSupport
import Synchronization
import Testing

@Suite(.watchedForHangs) struct WorkerPoolTests {
    /// Runs `body` while the pool's one thread is at work until `body` has returned.
    private static func whileBusy(_ pool: WorkerPool, _ body: () throws -> Void) throws {
        let gate = Mutex(true)
        let isRunning = Atomic(false)
        try pool.submit { _ in
            isRunning.store(true, ordering: .releasing)
            while gate.withLock({ $0 }) {}
        }
        while !isRunning.load(ordering: .acquiring) {}
        defer { gate.withLock { $0 = false } }
        try body()
    }

    private static func refusal(_ body: () throws(NeedletailError) -> Void) -> NeedletailError? {
        do { try body() } catch { return error }
        return nil
    }

    @Test func refusesWhatDoesNotFit() throws {
        let pool = WorkerPool(threads: 1, queueLimit: 3)
        defer { pool.close() }
        let done = Atomic(0)
        try Self.whileBusy(pool) {
            for _ in 0..<3 { try pool.submit { _ in done.add(1, ordering: .relaxed) } }
            let refused = Self.refusal { () throws(NeedletailError) in try pool.submit { _ in done.add(100, ordering: .relaxed) } }
            #expect(refused?.code == .resourceExhausted && refused?.retryAfter != nil)
        }
        pool.close()
        #expect(done.load(ordering: .relaxed) == 3)
    }

    /// A job of many requests takes as much room as they would, but for an empty queue.
    @Test func requestsAreCounted() throws {
        let pool = WorkerPool(threads: 1, queueLimit: 10)
        defer { pool.close() }
        try Self.whileBusy(pool) {
            try pool.submit(requests: 8) { _ in }
            #expect(pool.load.waiting == 8)
            #expect(Self.refusal { () throws(NeedletailError) in try pool.submit(requests: 3) { _ in } }?.code == .resourceExhausted)
            try pool.submit(requests: 2) { _ in }
            #expect(Self.refusal { () throws(NeedletailError) in try pool.submit { _ in } }?.code == .resourceExhausted)
        }
        while pool.load.waiting > 0 {}
        try Self.whileBusy(pool) {
            try pool.submit(requests: 32) { _ in }
            #expect(pool.load.waiting == 32)
        }
    }

    @Test func aLoneShortJobRunsWhereItComesFrom() throws {
        let pool = WorkerPool(threads: 1)
        defer { pool.close() }
        #expect(!pool.runHere { _ in }, "nothing is known of jobs yet")
        let done = Atomic(false)
        try pool.submit { _ in done.store(true, ordering: .releasing) }
        while !done.load(ordering: .acquiring) {}
        // Once the pool has been quiet for a moment; more short jobs, should the first have been interrupted for long.
        var ran = 0
        while ran == 0 {
            try pool.submit { _ in }
            let quiet = ContinuousClock.now + .milliseconds(1)
            while ContinuousClock.now < quiet {}
            let isDone = pool.runHere { _ in ran += 1 }
            #expect(isDone == (ran == 1))
        }
        try Self.whileBusy(pool) {
            for _ in 0..<1_000 { #expect(!pool.runHere { _ in }) }
        }
        pool.close()
        #expect(!pool.runHere { _ in })
    }

    @Test func refusesWhatWouldBeginTooLate() throws {
        let pool = WorkerPool(threads: 1)
        defer { pool.close() }
        // So that the pool knows what a job takes: a hundredth of a second at least.
        for _ in 0..<100 {
            try pool.submit { _ in
                let end = ContinuousClock.now + .milliseconds(10)
                while ContinuousClock.now < end {}
            }
        }
        let settled = Atomic(false)
        try pool.submit { _ in settled.store(true, ordering: .releasing) }
        while !settled.load(ordering: .acquiring) {}
        try Self.whileBusy(pool) {
            for _ in 0..<1_000 { try pool.submit { _ in } }
            let refused = Self.refusal { () throws(NeedletailError) in try pool.submit(deadline: .after(.seconds(1))) { _ in } }
            #expect(refused?.code == .resourceExhausted)
            #expect(try #require(refused?.retryAfter) > .seconds(1))
            try pool.submit(deadline: .after(.seconds(3_600))) { _ in }
        }
    }
}
