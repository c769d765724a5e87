import Foundation
import NeedletailCore
import NeedletailStorage
import Testing

/// Residents of the process in bytes, from the kernel's own count.
private func residentBytes() throws -> Int {
    let words = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
    return (Int(words[1]) ?? 0) * 4096
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
}
