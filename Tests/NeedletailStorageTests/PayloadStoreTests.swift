import Foundation
import Glibc
import NeedletailCore
import NeedletailStorage
import Synchronization
import Testing

private func key(_ number: Int) -> [UInt8] { [1] + (0..<8).map { UInt8(truncatingIfNeeded: number >> (56 - 8 * $0)) } }

private func change(_ number: Int, _ value: [UInt8]?) -> (key: [UInt8], value: [UInt8]?) { (key(number), value) }

struct PayloadStoreTests {
    let directory = ScratchDirectory()
    var path: String { directory.path + "/payload.mdb" }

    private func all(_ store: PayloadStore) throws -> [[UInt8]: [UInt8]] {
        var entries: [[UInt8]: [UInt8]] = [:]
        try store.scan(after: nil, limit: .max) { entries[$0] = $1 }
        return entries
    }

    @Test func nothingIsMadeBeforeTheFirstCommit() throws {
        let store = PayloadStore(path: path)
        #expect(try store.get(key(1)) == nil)
        #expect(try store.get([key(1), key(2)]).count == 2)
        #expect(try store.sequence() == nil)
        #expect(try store.count() == 0)
        #expect(try store.sizeBytes() == 0)
        #expect(try directory.names().isEmpty)
    }

    @Test func commitsReturnAndTheMapGrows() throws {
        var random = SeededRandom(seed: testSeed())
        var model: [[UInt8]: [UInt8]] = [:]
        do {
            let store = PayloadStore(path: path, initialMapBytes: 1 << 17)
            for sequence in UInt64(1)...20 {
                var changes: [[UInt8]: [UInt8]?] = [:]
                for _ in 0..<300 {
                    let name = key(Int.random(in: 0..<1500, using: &random))
                    changes[name] = Bool.random(using: &random) ? .some(random.bytes(0..<3000)) : .some(nil)
                }
                try store.commit(sequence: sequence, changes: changes.map { (key: $0.key, value: $0.value) })
                for (key, value) in changes { model[key] = value }
                #expect(try store.sequence() == sequence)
                #expect(try store.count() == model.count)
            }
            #expect(try store.sizeBytes() > 1 << 17)
            #expect(try all(store) == model)
        }
        let again = PayloadStore(path: path, initialMapBytes: 1 << 17)
        #expect(try again.sequence() == 20)
        #expect(try all(again) == model)
        let keys = (0..<1500).map(key)
        #expect(try again.get(keys) == keys.map { model[$0] })
        var page: [[UInt8]] = []
        try again.scan(after: key(700), limit: 10) { name, _ in page.append(name) }
        #expect(
            page
                == Array(
                    model.keys.filter { key(700).lexicographicallyPrecedes($0) }.sorted { $0.lexicographicallyPrecedes($1) }.prefix(
                        10)))
        try again.copy(to: directory.path + "/copy.mdb")
        let copy = PayloadStore(path: directory.path + "/copy.mdb")
        #expect(try all(copy) == model)
        #expect(try copy.sequence() == 20)
    }

    @Test func readersRunBesideGrowingCommits() async throws {
        let store = PayloadStore(path: path, initialMapBytes: 1 << 17)
        try store.commit(sequence: 1, changes: [change(1, [1])])
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<2000 { #expect(code { _ = try store.get([key(1), key(5)]) } == nil) }
                }
            }
            group.addTask {
                for sequence in 2...40 {
                    let changes = (0..<20).map { change(sequence * 100 + $0, [UInt8](repeating: 7, count: 2000)) }
                    #expect(code { try store.commit(sequence: UInt64(sequence), changes: changes) } == nil)
                }
            }
        }
        #expect(try store.count() == 1 + 39 * 20)
    }

    /// Overwriting the same entries must reuse pages although reset readers exist.
    @Test func idleReadersPinNoPages() throws {
        let store = PayloadStore(path: path)
        var sizes: [Int] = []
        for sequence in UInt64(1)...60 {
            try store.commit(
                sequence: sequence, changes: (0..<100).map { change($0, [UInt8](repeating: UInt8(sequence), count: 1000)) })
            _ = try store.get(key(5))
            sizes.append(try store.sizeBytes())
        }
        #expect(sizes[59] <= sizes[10])
    }

    @Test func aFailedCommitChangesNothing() throws {
        let plan = FaultPlan()
        let store = PayloadStore(path: path, disk: plan.disk())
        try store.commit(sequence: 1, changes: [change(1, [1])])
        plan.add(.sync, .error(ENOSPC))
        #expect(code { try store.commit(sequence: 2, changes: [change(1, [2]), change(2, [2])]) } == .resourceExhausted)
        #expect(try store.sequence() == 1)
        #expect(try all(store) == [key(1): [1]])
        #expect(code { try store.commit(sequence: 2, changes: [(key: [], value: [2])]) } == .invalidArgument)
        try store.commit(sequence: 2, changes: [change(1, nil)])
        #expect(try all(store).isEmpty)
    }

    @Test func damagedFilesAreRefused() throws {
        do {
            let store = PayloadStore(path: path)
            try store.commit(sequence: 1, changes: (0..<2000).map { change($0, [UInt8](repeating: 1, count: 200)) })
        }
        let good = try readFile(path)
        for size in [100, 5000, 8192, 20_000] {
            let cut = directory.path + "/cut-\(size).mdb"
            try writeFile(cut, Array(good[..<size]))
            let error = #expect(throws: NeedletailError.self) { _ = try all(PayloadStore(path: cut)) }
            #expect(error?.code == .dataLoss, "cut to \(size): \(String(describing: error))")
        }
        let garbage = directory.path + "/garbage.mdb"
        try writeFile(garbage, [UInt8](repeating: 0x5a, count: 50_000))
        #expect(code { _ = try all(PayloadStore(path: garbage)) } == .dataLoss)
    }
}

struct PayloadOverlayTests {
    let directory = ScratchDirectory()

    @Test func overlayAndStoreLookLikeOneMap() throws {
        var random = SeededRandom(seed: testSeed())
        let overlay = PayloadOverlay(store: PayloadStore(path: directory.path + "/payload.mdb"))
        var model: [[UInt8]: [UInt8]] = [:]
        var isFrozen = false
        for step in 0..<6000 {
            let name = key(Int.random(in: 0..<900, using: &random))
            switch Int.random(in: 0..<400, using: &random) {
            case 0 where !isFrozen:
                overlay.freeze()
                isFrozen = true
            case 1...4 where isFrozen:
                isFrozen = false
                if Bool.random(using: &random) {
                    overlay.thaw()
                } else {
                    try overlay.store.commit(sequence: UInt64(step), changes: overlay.frozenChanges())
                    overlay.dropFrozen()
                }
            case 5...10: try checkScans(overlay, model, &random)
            case 11...180:
                overlay.delete(name)
                model[name] = nil
            default:
                let value = random.bytes(0..<20)
                overlay.put(name, value)
                model[name] = value
            }
            #expect(try overlay.get(name) == model[name])
        }
        let keys = (0..<900).map(key)
        #expect(try overlay.get(keys) == keys.map { model[$0] })
        if !isFrozen { overlay.freeze() }
        try overlay.store.commit(sequence: 1, changes: overlay.frozenChanges())
        overlay.dropFrozen()
        if isFrozen {
            overlay.freeze()
            try overlay.store.commit(sequence: 2, changes: overlay.frozenChanges())
            overlay.dropFrozen()
        }
        #expect(overlay.sizeBytes == 0 && overlay.count == 0)
        #expect(try overlay.store.count() == model.count)
    }

    private func checkScans(_ overlay: PayloadOverlay, _ model: [[UInt8]: [UInt8]], _ random: inout SeededRandom) throws {
        let sorted = model.keys.sorted { $0.lexicographicallyPrecedes($1) }
        for limit in [1, 7, 600, Int.max] {
            let after = Bool.random(using: &random) ? key(Int.random(in: 0..<900, using: &random)) : nil
            var found: [[UInt8]] = []
            try overlay.scan(after: after, limit: limit) { name, value in
                found.append(name)
                #expect(value == model[name])
            }
            let expected = sorted.filter { name in after.map { $0.lexicographicallyPrecedes(name) } ?? true }.prefix(limit)
            #expect(found == Array(expected))
        }
    }
}

struct LMDBKeyValueStoreTests {
    let directory = ScratchDirectory()

    @Test func updatesAreWholeAndCounted() throws {
        let path = directory.path + "/a/meta.mdb"
        let store = try LMDBKeyValueStore(path: path)
        let first = try store.update { update -> UInt64? in
            for (key, value) in [([1, 1], [1]), ([1, 2], [2]), ([2], [])] as [([UInt8], [UInt8])] { try update.put(key, value) }
            return update.revision
        }
        #expect(first == 1)
        #expect(try store.update { _ in nil as Bool? } == nil)
        #expect(code { _ = try store.update { update -> Bool? in try update.delete([1, 1]); throw NeedletailError(.aborted, "no") } } == .aborted)
        #expect(try store.get([1, 1]) == [1])
        let second = try store.update { update -> UInt64? in
            try update.delete([1, 1])
            return update.revision
        }
        #expect(second == 2)
        #expect(try store.get([1, 1]) == nil)
        #expect(try store.get([2]) == [])
        let (entries, revision) = try store.scan(prefix: [1])
        #expect(entries.map(\.key) == [[1, 2]])
        #expect(revision == 2)
        #expect(try store.scan(prefix: []).entries.map(\.key) == [[1, 2], [2]])
        #expect(try store.scan(prefix: [], after: [1, 2], limit: 1).entries.map(\.key) == [[2]])
        try store.copy(to: directory.path + "/copy.mdb")
        #expect(try LMDBKeyValueStore(path: directory.path + "/copy.mdb").revision() == 2)
    }

    @Test func racingIncrementsLoseNothing() async throws {
        let store = try LMDBKeyValueStore(path: directory.path + "/meta.mdb")
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    for _ in 0..<25 {
                        #expect(code { _ = try store.update { try $0.put([1], [($0.get([1])?[0] ?? 0) + 1]) } } == nil)
                    }
                }
            }
        }
        #expect(try store.get([1]) == [100])
        #expect(try store.revision() == 100)
    }
}
