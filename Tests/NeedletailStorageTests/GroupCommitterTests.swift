import Glibc
import NeedletailCore
import NeedletailStorage
import Synchronization
import Testing

struct GroupCommitterTests {
    let directory = ScratchDirectory()
    let plan = FaultPlan()

    private final class Outcomes: Sendable {
        let results = Mutex<[Result<UInt64, NeedletailError>]>([])
        func note(_ result: Result<UInt64, NeedletailError>) { results.withLock { $0.append(result) } }
        var sequences: [UInt64] { results.withLock { $0.compactMap { try? $0.get() } } }
        var failures: Int { results.withLock { $0.count { if case .failure = $0 { true } else { false } } } }
    }

    @Test func writersShareSyncsAndCompleteInOrder() async throws {
        let disk = plan.disk()
        let log = try ReplicaLog.open(directory: directory.path, disk: disk).log
        let committer = GroupCommitter(log: log)
        let outcomes = Outcomes()
        let before = disk.syncCount
        await withTaskGroup(of: Void.self) { group in
            for writer in 0..<8 {
                group.addTask {
                    for index in 0..<250 {
                        let payload = [UInt8(writer), UInt8(index)]
                        #expect(code { try committer.append(epoch: 1, payload: payload) { outcomes.note($0) } } == nil)
                    }
                }
            }
        }
        committer.drain()
        let syncs = disk.syncCount - before
        committer.close()
        print("2000 appends took \(syncs) syncs")
        #expect(syncs < 1000)
        #expect(outcomes.sequences == Array(1...2000))
        #expect(try contents(log).count == 2000)
        #expect(code { try committer.append(epoch: 1, payload: []) { _ in } } == .failedPrecondition)
    }

    @Test func aFailureFailsEverythingPendingAndWritingResumes() throws {
        let configuration = smallSegments(1 << 20)
        let log = try ReplicaLog.open(directory: directory.path, configuration: configuration, disk: plan.disk()).log
        let committer = GroupCommitter(log: log)
        let good = Outcomes()
        try committer.append(epoch: 1, payload: [1]) { good.note($0) }
        committer.drain()
        plan.setFree(0)
        plan.add(.write, .error(ENOSPC))
        let bad = Outcomes()
        var queued = 0
        for _ in 0..<50 where code({ try committer.append(epoch: 1, payload: [2]) { bad.note($0) } }) == nil { queued += 1 }
        committer.drain()
        #expect(queued > 0)
        #expect(bad.failures == queued)
        #expect(code { try committer.append(epoch: 1, payload: [3]) { _ in } } == .resourceExhausted)
        plan.setFree(1 << 30)
        let sequence = try committer.append(epoch: 1, payload: [4]) { good.note($0) }
        #expect(sequence == 2)
        committer.close()
        #expect(good.sequences == [1, 2])
        #expect(try contents(log).map(\.payload) == [[1], [4]])
    }

    @Test func theQueueIsBoundedAndEpochsAreChecked() throws {
        let gate = Mutex<Bool>(false)
        let disk = Disk { operation in
            // Holds the first commit until the queue behind it is full.
            while operation.kind == .write && !gate.withLock({ $0 }) { sched_yield() }
            return nil
        }
        let log = try ReplicaLog.open(directory: directory.path, disk: disk).log
        let committer = GroupCommitter(log: log, queueLimitBytes: 100)
        try committer.append(epoch: 2, payload: [0]) { _ in }
        #expect(code { try committer.append(epoch: 1, payload: []) { _ in } } == .failedPrecondition)
        var refused: NeedletailError.Code?
        for _ in 0..<5 where refused == nil {
            refused = code { try committer.append(epoch: 2, payload: [UInt8](repeating: 0, count: 60)) { _ in } }
        }
        #expect(refused == .resourceExhausted)
        gate.withLock { $0 = true }
        committer.drain()
        #expect(code { try committer.append(sequence: 99, epoch: 2, payload: []) { _ in } } == .failedPrecondition)
        committer.whileIdle { log in #expect(code { try log.reset(nextSequence: 99) } == nil) }
        try committer.append(sequence: 99, epoch: 1, payload: []) { _ in }
        committer.close()
        #expect(log.lastSequence == 99)
    }
}
