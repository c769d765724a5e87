import Foundation
import Glibc
import NeedletailCore
import NeedletailStorage
import Testing

struct LogRecordValue: Equatable {
    let sequence: UInt64
    let epoch: UInt64
    let payload: [UInt8]
}

func contents(_ log: ReplicaLog, from sequence: UInt64? = nil) throws -> [LogRecordValue] {
    var records: [LogRecordValue] = []
    try log.replay(from: sequence ?? log.firstSequence) { records.append(.init(sequence: $0, epoch: $1, payload: $2)) }
    return records
}

/// Appends `count` records of random sizes, committing in batches of `batch`.
func fill(_ log: ReplicaLog, count: Int, batch: Int = 3, sizes: Range<Int> = 0..<200, _ random: inout SeededRandom) throws
    -> [LogRecordValue]
{
    var records: [LogRecordValue] = []
    for index in 0..<count {
        let record = LogRecordValue(
            sequence: (log.nextSequence ?? 1), epoch: UInt64(1 + index / 10), payload: random.bytes(sizes))
        try log.append(sequence: record.sequence, epoch: record.epoch, payload: record.payload)
        records.append(record)
        if index % batch == batch - 1 { try log.commit() }
    }
    try log.commit()
    return records
}

func smallSegments(_ bytes: Int = 1000) -> LogConfiguration {
    var configuration = LogConfiguration()
    configuration.segmentBytes = bytes
    configuration.retryInterval = .zero
    configuration.resumeFreeBytes = 1000
    return configuration
}

struct ReplicaLogTests {
    let directory = ScratchDirectory()
    var random = SeededRandom(seed: testSeed("ReplicaLogTests"))

    @Test mutating func whatWasCommittedReturns() throws {
        let (log, recovery) = try ReplicaLog.open(directory: directory.path, configuration: smallSegments())
        #expect(recovery.recordCount == 0 && recovery.cut == nil)
        #expect(log.lastSequence == 0)
        #expect(log.nextSequence == nil)
        let records = try fill(log, count: 100, &random)
        #expect(try contents(log) == records)
        let (again, found) = try ReplicaLog.open(directory: directory.path, configuration: smallSegments())
        #expect(found.cut == nil)
        #expect(found.recordCount == 100)
        #expect(found.segmentCount > 3)
        #expect(try contents(again) == records)
        #expect(try contents(again, from: 57) == Array(records[56...]))
        #expect(try contents(again, from: 101).isEmpty)
        #expect(again.lastEpoch == 10)
        #expect(again.sizeBytes == log.sizeBytes)
    }

    @Test mutating func replayStartsAtMarksInLargeSegments() throws {
        let (log, _) = try ReplicaLog.open(directory: directory.path)
        let records = try fill(log, count: 300, batch: 7, sizes: 0..<30_000, &random)
        for sequence in stride(from: UInt64(1), through: 300, by: 13) {
            var first: LogRecordValue?
            try log.replay(from: sequence, through: sequence) { first = .init(sequence: $0, epoch: $1, payload: $2) }
            #expect(first == records[Int(sequence) - 1])
        }
    }

    @Test func wrongSequencesAndEpochsAreRefused() throws {
        let (log, _) = try ReplicaLog.open(directory: directory.path)
        try log.append(sequence: 41, epoch: 3, payload: [])
        #expect(code { try log.append(sequence: 41, epoch: 3, payload: []) } == .failedPrecondition)
        #expect(code { try log.append(sequence: 42, epoch: 2, payload: []) } == .failedPrecondition)
        try log.commit()
        #expect(log.firstSequence == 41)
        #expect(code { try log.replay(from: 40) { _, _, _ in } } == .outOfRange)
    }

    @Test func sequencesBeginAtOneAndEndBeforeTheLastNumber() throws {
        let log = try ReplicaLog.open(directory: directory.path).log
        try log.reset(nextSequence: .max - 1)
        try log.append(sequence: .max - 1, epoch: 1, payload: [1])
        try log.commit()
        #expect(code { try log.append(sequence: .max, epoch: 1, payload: [2]) } == .failedPrecondition)
        // No log begins at 0: such a file is no segment, and a sign is no digit.
        for name in ["00000000000000000000.log", "+0000000000000000001.log", "18446744073709551615.log"] {
            try Data().write(to: URL(fileURLWithPath: directory.path + "/" + name))
        }
        let (again, recovery) = try ReplicaLog.open(directory: directory.path)
        #expect(again.lastSequence == .max - 1 && recovery.segmentCount == 1 && recovery.cut == nil)
    }

    @Test mutating func aTornTailIsCutAtEveryByte() throws {
        let (log, _) = try ReplicaLog.open(directory: directory.path)
        let records = try fill(log, count: 6, batch: 1, &random)
        let name = try #require(try directory.names().first)
        let whole = try readFile(directory.path + "/" + name)
        let lastBytes = 32 + records[5].payload.count
        let boundary = whole.count - lastBytes
        for size in boundary..<whole.count {
            let other = ScratchDirectory()
            try writeFile(other.path + "/" + name, Array(whole[..<size]))
            let (torn, recovery) = try ReplicaLog.open(directory: other.path)
            #expect(try contents(torn) == Array(records[..<5]))
            #expect(recovery.cut?.bytesCut == (size == boundary ? nil : size - boundary), "size \(size)")
            #expect(recovery.cut?.offset == (size == boundary ? nil : boundary))
            try torn.append(sequence: 6, epoch: 9, payload: [1])
            try torn.commit()
            #expect(try ReplicaLog.open(directory: other.path).log.lastSequence == 6)
        }
    }

    @Test mutating func aTornHeaderOfTheLastSegmentIsRewritten() throws {
        let (log, _) = try ReplicaLog.open(directory: directory.path, configuration: smallSegments())
        _ = try fill(log, count: 5, &random)
        for size in 0...32 {
            let name = directory.path + "/00000000000000000006.log"
            try writeFile(name, [UInt8](repeating: 0, count: size))
            let (again, recovery) = try ReplicaLog.open(directory: directory.path, configuration: smallSegments())
            #expect(again.lastSequence == 5)
            #expect(recovery.cut?.path == name)
        }
    }

    @Test mutating func everyFlippedBitIsCutOrRefusedAndNeverReturned() throws {
        let (log, _) = try ReplicaLog.open(directory: directory.path, configuration: smallSegments(3000))
        // One commit a record: everything before the last one is proven durable by its successor.
        let records = try fill(log, count: 60, batch: 1, &random)
        let names = try directory.names()
        for _ in 0..<400 {
            let other = ScratchDirectory()
            try directory.copy(to: other)
            let name = names.randomElement(using: &random)!
            var bytes = try readFile(other.path + "/" + name)
            let offset = Int.random(in: 0..<bytes.count, using: &random)
            bytes[offset] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            try writeFile(other.path + "/" + name, bytes)
            do {
                let (cut, recovery) = try ReplicaLog.open(directory: other.path, configuration: smallSegments(3000))
                // Only the last record of the last segment may be taken for a torn write.
                #expect(name == names.last && recovery.cut != nil, "\(name):\(offset)")
                #expect(try contents(cut) == Array(records.dropLast()))
            } catch let error as NeedletailError {
                #expect(error.code == .dataLoss || error.code == .failedPrecondition)
                #expect(error.location?.contains(name) == true, "\(error)")
            }
        }
    }

    /// A crash may leave the end of a batch on disk and not its middle: that is no damage, nothing of it was acknowledged.
    @Test mutating func holesInTheLastBatchAreCut() throws {
        let (log, _) = try ReplicaLog.open(directory: directory.path)
        let durable = try fill(log, count: 4, batch: 4, &random)
        _ = try fill(log, count: 8, batch: 8, sizes: 100..<200, &random)
        let path = directory.path + "/" + (try #require(try directory.names().first))
        var bytes = try readFile(path)
        let boundary = 32 + durable.reduce(0) { $0 + 32 + $1.payload.count }
        for index in boundary + 20..<boundary + 60 { bytes[index] = 0 }
        try writeFile(path, bytes)
        let (again, recovery) = try ReplicaLog.open(directory: directory.path)
        #expect(recovery.cut?.offset == boundary)
        #expect(try contents(again) == durable)
    }

    @Test mutating func missingSegmentsAreRefused() throws {
        let (log, _) = try ReplicaLog.open(directory: directory.path, configuration: smallSegments())
        _ = try fill(log, count: 50, &random)
        let names = try directory.names()
        try #require(names.count > 3)
        unlink(directory.path + "/" + names[1])
        #expect(code { _ = try ReplicaLog.open(directory: directory.path) } == .dataLoss)
    }

    @Test mutating func repairCutsAtTheDamageAndKeepsTheRest() throws {
        let (log, _) = try ReplicaLog.open(directory: directory.path, configuration: smallSegments())
        let records = try fill(log, count: 60, &random)
        #expect(try ReplicaLog.repair(directory: directory.path).cutPath == nil)
        let names = try directory.names()
        let path = directory.path + "/" + names[1]
        var bytes = try readFile(path)
        bytes[40] ^= 0xff
        try writeFile(path, bytes)
        let error = #expect(throws: NeedletailError.self) { _ = try ReplicaLog.open(directory: directory.path) }
        #expect(error?.code == .dataLoss)
        #expect(error?.location == "\(path):32")
        #expect(error?.message.contains("needletail-shard repair --replica") == true)
        let report = try ReplicaLog.repair(directory: directory.path)
        #expect(report.cutPath == path && report.cutOffset == 32)
        #expect(report.damagedPaths.count == names.count - 1)
        let (again, recovery) = try ReplicaLog.open(directory: directory.path)
        #expect(recovery.cut == nil)
        #expect(again.lastSequence == report.lastSequence)
        #expect(try contents(again) == Array(records[..<Int(report.lastSequence)]))
        #expect(try readFile(path + ".damaged") == Array(bytes[32...]))
    }

    @Test mutating func prefixSuffixAndResetMoveTheEnds() throws {
        let (log, _) = try ReplicaLog.open(directory: directory.path, configuration: smallSegments())
        let records = try fill(log, count: 80, &random)
        try log.truncatePrefix(upTo: 40)
        #expect(log.firstSequence > 1 && log.firstSequence <= 41)
        #expect(try contents(log, from: 41) == Array(records[40...]))
        for last in [UInt64(70), 55, 54] {
            try log.truncateSuffix(after: last)
            #expect(log.lastSequence == last)
            let (again, recovery) = try ReplicaLog.open(directory: directory.path, configuration: smallSegments())
            #expect(recovery.cut == nil)
            #expect(try contents(again, from: 41) == Array(records[40..<Int(last)]))
            #expect(again.lastEpoch == log.lastEpoch)
        }
        #expect(code { try log.truncateSuffix(after: 1) } == .outOfRange)
        try log.append(sequence: 55, epoch: 100, payload: [5])
        try log.commit()
        #expect(try contents(log, from: 55).map(\.payload) == [[5]])
        try log.reset(nextSequence: 1000)
        #expect(try ReplicaLog.open(directory: directory.path).log.nextSequence == 1000)
        try log.append(sequence: 1000, epoch: 1, payload: [])
        try log.commit()
        try log.truncatePrefix(upTo: 2000)
        #expect(log.lastSequence == 1000)
    }
}
