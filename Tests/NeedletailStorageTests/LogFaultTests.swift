import Glibc
import NeedletailCore
import NeedletailStorage
import Testing

struct LogFaultTests {
    let directory = ScratchDirectory()
    let plan = FaultPlan()

    private func open(_ mode: LogConfiguration.SyncMode = .everyCommit, segmentBytes: Int = 1 << 20) throws -> ReplicaLog {
        var configuration = smallSegments(segmentBytes)
        configuration.syncMode = mode
        return try ReplicaLog.open(directory: directory.path, configuration: configuration, disk: plan.disk()).log
    }

    private func put(_ log: ReplicaLog, _ sequence: UInt64) throws {
        try log.append(sequence: sequence, epoch: 1, payload: [UInt8](repeating: UInt8(sequence), count: 50))
        try log.commit()
    }

    @Test(arguments: [DiskOperation.Kind.write, .sync], [ENOSPC, EDQUOT])
    func aFullDiskMakesTheLogReadOnlyUntilThereIsRoom(kind: DiskOperation.Kind, errno: Int32) throws {
        let log = try open()
        for sequence in UInt64(1)...3 { try put(log, sequence) }
        let size = log.sizeBytes
        plan.setFree(0)
        if kind == .write { plan.add(.write, .short(20)) }
        plan.add(kind, .error(errno))
        #expect(code { try put(log, 4) } == .resourceExhausted)
        #expect(log.isReadOnly)
        #expect(log.lastSequence == 3)
        #expect(log.nextSequence == 4)
        #expect(try readFile(directory.path + "/" + directory.names()[0]).count == size)
        #expect(code { try put(log, 4) } == .resourceExhausted)
        #expect(log.readOnlyReason?.message.contains("free space") == true)
        // Room again, but the tail cannot be cut yet: still refused.
        plan.setFree(1 << 30)
        plan.add(.sync, .error(ENOSPC))
        #expect(code { try put(log, 4) } == .resourceExhausted)
        try put(log, 4)
        #expect(!log.isReadOnly)
        #expect(try contents(log).map(\.sequence) == [1, 2, 3, 4])
        let (again, recovery) = try ReplicaLog.open(directory: directory.path)
        #expect(recovery.cut == nil)
        #expect(again.lastSequence == 4)
    }

    @Test(arguments: [DiskOperation.Kind.write, .sync])
    func anInputOutputErrorStopsTheLogUntilRestart(kind: DiskOperation.Kind) throws {
        let log = try open()
        for sequence in UInt64(1)...3 { try put(log, sequence) }
        plan.add(kind, .error(EIO))
        #expect(code { try put(log, 4) } == .dataLoss)
        for _ in 0..<3 { #expect(code { try put(log, 4) } == .dataLoss) }
        #expect(try contents(log).count == 3)
        let (again, _) = try ReplicaLog.open(directory: directory.path)
        #expect(again.lastSequence == 3)
    }

    @Test func aFullDiskWhileASegmentIsBegunIsSurvived() throws {
        for skip in 0..<3 {
            plan.clear()
            let log = try open(segmentBytes: 100)
            let next = log.lastSequence + 1
            try put(log, next)
            try put(log, next + 1)
            plan.add(.sync, skip: skip, .error(ENOSPC))
            #expect(code { try put(log, next + 2) } == .resourceExhausted)
            plan.setFree(1 << 30)
            try put(log, next + 2)
            #expect(try contents(log).map(\.sequence) == Array(1...next + 2))
            #expect(try ReplicaLog.open(directory: directory.path).recovery.cut == nil)
        }
    }

    @Test func intervalModeSyncsOnlyWhenAsked() throws {
        let disk = plan.disk()
        var configuration = smallSegments(1 << 20)
        configuration.syncMode = .interval(.seconds(1))
        let log = try ReplicaLog.open(directory: directory.path, configuration: configuration, disk: disk).log
        try put(log, 1)
        let before = disk.syncCount
        for sequence in UInt64(2)...50 { try put(log, sequence) }
        #expect(disk.syncCount == before)
        #expect(log.durableSequence < 50)
        try log.sync()
        #expect(disk.syncCount == before + 1)
        #expect(log.durableSequence == 50)
        try put(log, 51)
        plan.add(.sync, .error(ENOSPC))
        #expect(code { try log.sync() } == .dataLoss)
        plan.setFree(1 << 30)
        #expect(code { try put(log, 52) } == .dataLoss)
    }
}
