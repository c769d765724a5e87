import Foundation
import Glibc
import NeedletailCore
import NeedletailStorage
import Synchronization
import Testing

/// Fills a slot with a pattern made of a version and the slot's number.
func paint(_ array: SlabArray, slot: Int, version: UInt64) {
    array.willWrite(slot: slot)
    let address = array.base + slot * array.strideBytes
    for offset in stride(from: 0, through: array.strideBytes - 8, by: 8) {
        address.storeBytes(of: version &* 0x9e37_79b9 &+ UInt64(slot * 64 + offset), toByteOffset: offset, as: UInt64.self)
    }
}

func bytes(_ array: SlabArray) -> [UInt8] {
    array.slotCount == 0 ? [] : Array(UnsafeRawBufferPointer(start: array.base, count: array.slotCount * array.strideBytes))
}

/// A plain answer: `#expect(a == b)` would look for the shortest difference of megabytes.
func same(_ left: [UInt8], _ right: [UInt8]) -> Bool { left == right }

struct CheckpointTests {
    let directory = ScratchDirectory()
    let plan = FaultPlan()

    private func loaded(_ path: String, like arrays: [SlabArray]) throws -> [SlabArray] {
        let copies = arrays.map { SlabArray(name: $0.name, strideBytes: $0.strideBytes, capacity: $0.capacity) }
        try CheckpointStore.open(directory: path).load(into: copies)
        return copies
    }

    private func save(_ store: CheckpointStore, _ sequence: UInt64, _ arrays: [SlabArray], _ body: () throws -> Void = {}) throws {
        for array in arrays { array.beginCheckpoint() }
        try store.write(
            sequence: sequence, epoch: 1, metadata: [UInt8(truncatingIfNeeded: sequence)], arrays: arrays, beforePublishing: body)
    }

    @Test func whatWasSavedLoads() throws {
        var random = SeededRandom(seed: testSeed())
        let arrays = [
            SlabArray(name: "vectors", strideBytes: 1544, capacity: 100_000),
            SlabArray(name: "links", strideBytes: 264, capacity: 100_000), SlabArray(name: "empty", strideBytes: 8, capacity: 10),
        ]
        let store = try CheckpointStore.open(directory: directory.path)
        #expect(store.manifest == nil)
        for sequence in UInt64(1)...8 {
            for array in arrays.dropLast() {
                try array.ensureCapacity(slots: Int(sequence) * 900)
                for _ in 0..<200 { paint(array, slot: Int.random(in: 0..<array.slotCount, using: &random), version: sequence) }
            }
            try save(store, sequence, arrays)
            let copies = try loaded(directory.path, like: arrays)
            for (array, copy) in zip(arrays, copies) { #expect(same(bytes(array), bytes(copy))) }
            let manifest = try CheckpointStore.open(directory: directory.path).manifest
            #expect(manifest == store.manifest)
            #expect(manifest?.sequence == sequence && manifest?.metadata == [UInt8(sequence)])
        }
    }

    /// Writers paint slots while checkpoints run; a reader-writer lock stands for the barrier of the index layer.
    @Test(arguments: [4096, 1000, 65_576])
    func checkpointsSeeTheBarrierExactly(stride: Int) throws {
        let seed = testSeed()
        let slots = 6_000_000 / stride
        let array = SlabArray(name: "slots", strideBytes: stride, capacity: slots)
        try array.ensureCapacity(slots: slots)
        let store = try CheckpointStore.open(directory: directory.path)
        let barrier = Barrier()
        let stop = Atomic<Bool>(false)
        let group = DispatchGroup()
        for writer in 0..<3 {
            DispatchQueue.global().async(group: group) {
                var random = SeededRandom(seed: seed &+ UInt64(writer))
                var round: UInt64 = 0
                while !stop.load(ordering: .relaxed) {
                    round += 1
                    // Each writer has slots of its own, as the index has a lock for each.
                    let slot = Int.random(in: 0..<slots / 3, using: &random) * 3 + writer
                    barrier.write { paint(array, slot: slot, version: round) }
                }
            }
        }
        for sequence in UInt64(1)...12 {
            var expected: [UInt8] = []
            barrier.stopTheWorld {
                expected = bytes(array)
                array.beginCheckpoint()
            }
            try store.write(sequence: sequence, epoch: 1, metadata: [], arrays: [array])
            let copy = try loaded(directory.path, like: [array])[0]
            #expect(same(bytes(copy), expected), "seed \(seed), checkpoint \(sequence)")
        }
        stop.store(true, ordering: .relaxed)
        group.wait()
        try save(store, 99, [array])
        let last = try loaded(directory.path, like: [array])[0]
        #expect(same(bytes(last), bytes(array)))
    }

    @Test func aFailedCheckpointLeavesTheOldOneAndLosesNothing() throws {
        let array = SlabArray(name: "slots", strideBytes: 1000, capacity: 10_000)
        try array.ensureCapacity(slots: 5000)
        let store = try CheckpointStore.open(directory: directory.path, disk: plan.disk())
        for slot in 0..<5000 { paint(array, slot: slot, version: 1) }
        try save(store, 1, [array])
        let first = bytes(array)
        let faults: [(DiskOperation.Kind, Int)] = [
            (.open, 0), (.write, 0), (.write, 2), (.sync, 0), (.sync, 1), (.open, 1), (.sync, 2), (.rename, 0),
        ]
        for (kind, skip) in faults {
            paint(array, slot: 10 + skip, version: 2)
            paint(array, slot: 4000 + skip, version: 2)
            plan.add(kind, skip: skip, .error(ENOSPC))
            #expect(code { try save(store, 2, [array]) } == .resourceExhausted)
            plan.clear()
            #expect(store.manifest?.sequence == 1)
            #expect(same(bytes(try loaded(directory.path, like: [array])[0]), first), "\(kind) \(skip)")
        }
        #expect(code { try save(store, 2, [array]) { throw NeedletailError(.aborted, "no") } } == .aborted)
        #expect(same(bytes(try loaded(directory.path, like: [array])[0]), first))
        try save(store, 3, [array])
        #expect(same(bytes(try loaded(directory.path, like: [array])[0]), bytes(array)))
    }

    @Test func aCrashBeforeTheRenameKeepsTheOldCheckpoint() throws {
        let array = SlabArray(name: "slots", strideBytes: 1000, capacity: 10_000)
        try array.ensureCapacity(slots: 2000)
        let store = try CheckpointStore.open(directory: directory.path)
        for slot in 0..<2000 { paint(array, slot: slot, version: 1) }
        try save(store, 1, [array])
        let first = bytes(array)
        for slot in 0..<2000 { paint(array, slot: slot, version: 2) }
        let crashed = ScratchDirectory()
        try save(store, 2, [array]) {
            try directory.copy(to: crashed)
            try writeFile(crashed.path + "/MANIFEST.tmp", [1, 2, 3])
        }
        #expect(try crashed.names().count == 4)
        #expect(same(bytes(try loaded(crashed.path, like: [array])[0]), first))
        #expect(try crashed.names() == ["MANIFEST", "slabs-1.dat"])
    }

    @Test func filesStayWithinTwiceTheDataAndLinksSurvive() throws {
        var random = SeededRandom(seed: testSeed())
        let array = SlabArray(name: "slots", strideBytes: 4096, capacity: 10_000)
        try array.ensureCapacity(slots: 3000)
        let store = try CheckpointStore.open(directory: directory.path)
        for slot in 0..<3000 { paint(array, slot: slot, version: 1) }
        try save(store, 1, [array])
        let kept = bytes(array)
        let link = directory.path + "/kept"
        try store.link(to: link)
        for sequence in UInt64(2)...40 {
            for _ in 0..<2 { paint(array, slot: Int.random(in: 0..<3000, using: &random), version: sequence) }
            try save(store, sequence, [array])
            let files = try directory.names().filter { $0.hasSuffix(".dat") }
            let size = try files.reduce(0) { try $0 + readFile(directory.path + "/" + $1).count }
            #expect(size <= 2 * 3000 * 4096 + 64 * files.count)
        }
        #expect(same(bytes(try loaded(directory.path, like: [array])[0]), bytes(array)))
        #expect(same(bytes(try loaded(link, like: [array])[0]), kept))
    }

    @Test func damagedFilesAreRefused() throws {
        var random = SeededRandom(seed: testSeed())
        let array = SlabArray(name: "slots", strideBytes: 96, capacity: 10_000)
        try array.ensureCapacity(slots: 300)
        let store = try CheckpointStore.open(directory: directory.path)
        for slot in 0..<300 { paint(array, slot: slot, version: 1) }
        try save(store, 1, [array])
        let whole = ScratchDirectory()
        try directory.copy(to: whole)
        for name in try whole.names() {
            let good = try readFile(whole.path + "/" + name)
            let all =
                good.count < 400
                ? Array(good.indices) : Array(0..<40) + (0..<200).map { _ in Int.random(in: 0..<good.count, using: &random) }
            for offset in all {
                var bad = good
                bad[offset] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                try writeFile(directory.path + "/" + name, bad)
                #expect(code { _ = try loaded(directory.path, like: [array]) } == .dataLoss, "\(name):\(offset)")
            }
            for size in [0, 1, 20, 40, good.count / 2, good.count - 1] {
                try writeFile(directory.path + "/" + name, Array(good[..<size]))
                #expect(code { _ = try loaded(directory.path, like: [array]) } == .dataLoss, "\(name) cut to \(size)")
            }
            try writeFile(directory.path + "/" + name, good)
        }
        unlink(directory.path + "/slabs-1.dat")
        #expect(code { _ = try loaded(directory.path, like: [array]) } == .dataLoss)
    }

    @Test func otherArraysAndVersionsAreRefused() throws {
        let array = SlabArray(name: "slots", strideBytes: 96, capacity: 100)
        try array.ensureCapacity(slots: 3)
        try save(try CheckpointStore.open(directory: directory.path), 1, [array])
        let store = try CheckpointStore.open(directory: directory.path)
        #expect(code { try store.load(into: []) } == .failedPrecondition)
        #expect(code { try store.load(into: [SlabArray(name: "slots", strideBytes: 97, capacity: 100)]) } == .failedPrecondition)
        #expect(code { try store.load(into: [SlabArray(name: "slots", strideBytes: 96, capacity: 2)]) } == .resourceExhausted)
    }

    @Test func loadingIsFast() throws {
        let array = SlabArray(name: "slots", strideBytes: 4096, capacity: 100_000)
        try array.ensureCapacity(slots: 51_200)
        for slot in 0..<51_200 { paint(array, slot: slot, version: 3) }
        let clock = ContinuousClock()
        let store = try CheckpointStore.open(directory: directory.path)
        let saving = try clock.measure { try save(store, 1, [array]) }
        let copy = SlabArray(name: "slots", strideBytes: 4096, capacity: 100_000)
        let loading = try clock.measure { try store.load(into: [copy]) }
        print("200 MiB saved in \(saving), loaded in \(loading)")
        #expect(same(bytes(copy), bytes(array)))
    }
}

/// Many writers or one who stops them all.
final class Barrier: @unchecked Sendable {
    // Guarded by being a lock; allocated once, so its address is stable.
    private let lock = UnsafeMutablePointer<pthread_rwlock_t>.allocate(capacity: 1)
    private let wanted = Atomic<Bool>(false)
    init() {
        pthread_rwlock_init(lock, nil)
    }
    deinit {
        pthread_rwlock_destroy(lock)
        lock.deallocate()
    }
    func write(_ body: () -> Void) {
        // Glibc prefers readers: without this the barrier would starve.
        while wanted.load(ordering: .acquiring) { sched_yield() }
        pthread_rwlock_rdlock(lock)
        body()
        pthread_rwlock_unlock(lock)
    }
    func stopTheWorld(_ body: () -> Void) {
        wanted.store(true, ordering: .releasing)
        pthread_rwlock_wrlock(lock)
        wanted.store(false, ordering: .releasing)
        body()
        pthread_rwlock_unlock(lock)
    }
}
