import Foundation
import NeedletailCore
import NeedletailStorage
import NeedletailTestSupport
import Synchronization
import Testing

/// Residents of the process in bytes, from the kernel's own count.
private func residentBytes() throws -> Int {
    let words = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
    return (Int(words[1]) ?? 0) * 4096
}

/// Bytes of this process's memory that lie in files of the folder, by the kernel's own list.
private func mappedBytes(_ folder: TemporaryDirectory) throws -> Int {
    try String(contentsOfFile: "/proc/self/maps", encoding: .utf8).split(separator: "\n").filter { $0.contains(folder.path + "/") }.reduce(0) { sum, line in
        let bounds = line.prefix { $0 != " " }.split(separator: "-").compactMap { Int($0, radix: 16) }
        return sum + bounds[1] - bounds[0]
    }
}

struct SlabArrayTests {
    @Test func slotsNeverMoveAndReadAsZeros() throws {
        let array = SlabArray(name: "vectors", strideBytes: 3072, capacity: 1_000_000)
        #expect(array.slotCount == 0)
        #expect(array.committedBytes == 0)
        try array.ensureCapacity(slots: 1)
        let base = array.base
        #expect(UInt(bitPattern: base) % UInt(2 << 20) == 0)
        for slots in [10, 400, 5000, 20_000] {
            try array.ensureCapacity(slots: slots)
            #expect(array.base == base)
            #expect(array.slotCount == slots)
            let last = base + (slots - 1) * 3072
            #expect(last.load(as: UInt64.self) == 0)
            array.willWrite(slot: slots - 1)
            last.storeBytes(of: 7, as: UInt64.self)
        }
        #expect((base + 9 * 3072).load(as: UInt64.self) == 7)
        try array.ensureCapacity(slots: 5)
        #expect(array.slotCount == 20_000)
    }

    @Test func capacityIsALimit() throws {
        let array = SlabArray(name: "a", strideBytes: 100, capacity: 50)
        try array.ensureCapacity(slots: 50)
        #expect(code { try array.ensureCapacity(slots: 51) } == .resourceExhausted)
        let impossible = SlabArray(name: "b", strideBytes: 1 << 17, capacity: 1 << 43)
        #expect(code { try impossible.ensureCapacity(slots: 1) } == .resourceExhausted)
    }

    @Test func emptyArraysCostNothing() throws {
        let before = try residentBytes()
        let arrays = (0..<2000).map { SlabArray(name: "\($0)", strideBytes: 4096, capacity: 100_000_000) }
        let after = try residentBytes()
        #expect(arrays.count == 2000)
        #expect(after - before < 2000 * 4096)
    }

    /// Slots in a file: the same array, in memory that the system can take back.
    @Test func slotsMayLieInAFile() throws {
        let folder = TemporaryDirectory()
        let array = SlabArray(name: "rows", strideBytes: 4096, capacity: 100_000, folder: SlabFolder(path: folder.path, disk: .real))
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
        var filled = 0
        for slots in [1, 40, 3_000, 12_000] {
            try array.ensureCapacity(slots: slots)
            for slot in filled..<slots {
                #expect((array.base + slot * 4096).load(as: UInt64.self) == 0)
                array.willWrite(slot: slot)
                (array.base + slot * 4096).initializeMemory(as: UInt8.self, repeating: UInt8(slot % 251), count: 4096)
            }
            filled = slots
            for slot in 0..<slots { #expect((array.base + slot * 4096 + 4095).load(as: UInt8.self) == UInt8(slot % 251)) }
        }
        #expect(try mappedBytes(folder) == array.committedBytes && array.committedBytes >= 12_000 * 4096)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }

    @Test func aFullDiskIsToldBeforeSlotsAreUsed() throws {
        let folder = TemporaryDirectory()
        let isFull = Mutex(false)
        let disk = Disk { $0.kind == .write && isFull.withLock { $0 } ? .error(ENOSPC) : nil }
        let array = SlabArray(name: "rows", strideBytes: 4096, capacity: 100_000, folder: SlabFolder(path: folder.path, disk: disk))
        try array.ensureCapacity(slots: 32)
        isFull.withLock { $0 = true }
        #expect(code { try array.ensureCapacity(slots: 33) } == .resourceExhausted)
        #expect(array.slotCount == 32)
        isFull.withLock { $0 = false }
        try array.ensureCapacity(slots: 33)
        array.willWrite(slot: 32)
        (array.base + 32 * 4096).storeBytes(of: 5, as: UInt64.self)
        let nowhere = SlabArray(name: "rows", strideBytes: 4096, capacity: 10, folder: SlabFolder(path: folder.path + "/none", disk: .real))
        #expect(throws: NeedletailError.self) { try nowhere.ensureCapacity(slots: 1) }
    }
}
