import NeedletailCore
import NeedletailMetadata
import NeedletailTestSupport
import Testing

/// What every metadata store promises.
@Suite(.serialized, .timeLimit(.minutes(1))) struct ConformanceTests {
    @Test(arguments: StoreKind.allCases) func keepsValuesWithTheirRevisions(_ kind: StoreKind) async throws {
        try await kind.withStore { store in
            #expect(try await store.get("a/1") == nil)
            let first = try await store.put("a/1", [1])
            let second = try await store.put("a/2", [])
            let third = try await store.put("b", [3])
            #expect(second == first + 1 && third == second + 1)
            #expect(try await store.get("a/1") == MetadataEntry(key: "a/1", value: [1], revision: first))
            let entries = [MetadataEntry(key: "a/1", value: [1], revision: first), MetadataEntry(key: "a/2", value: [], revision: second)]
            #expect(try await store.entries(prefix: "a/") == MetadataSnapshot(entries: entries, revision: third))
            #expect(try await store.entries(prefix: "").entries.map(\.key) == ["a/1", "a/2", "b"])
            let fourth = try await store.delete("a/1")
            #expect(try await store.get("a/1") == nil)
            #expect(try await store.delete("a/1") == fourth, "nothing was there to change")
        }
    }

    @Test(arguments: StoreKind.allCases) func changesAllOrNothing(_ kind: StoreKind) async throws {
        try await kind.withStore { store in
            let first = try await store.put("x", [1])
            let wrong: [MetadataComparison] = [.value("x", [2]), .value("y", []), .revision("x", first + 1), .revision("y", first), .absent("x")]
            for comparison in wrong {
                let outcome = try await store.transact(MetadataTransaction(if: [.value("x", [1]), comparison], [.put("x", [9]), .put("y", [9])]))
                #expect(outcome == MetadataOutcome(succeeded: false, revision: first), "\(comparison)")
            }
            #expect(try await store.entries(prefix: "").entries.map(\.value) == [[1]])
            let right: [MetadataComparison] = [.value("x", [1]), .revision("x", first), .absent("y")]
            let outcome = try await store.transact(MetadataTransaction(if: right, [.put("y", [2]), .delete("x"), .put("z", [3])]))
            #expect(outcome == MetadataOutcome(succeeded: true, revision: first + 1))
            #expect(try await store.entries(prefix: "").entries.map(\.revision) == [first + 1, first + 1])
            let twice = MetadataTransaction(if: [], [.put("x", []), .delete("x")])
            #expect(await code { _ = try await store.transact(twice) } == .invalidArgument)
        }
    }

    @Test(arguments: StoreKind.allCases) func replacesOnlyWhatIsAsExpected(_ kind: StoreKind) async throws {
        try await kind.withStore { store async throws in
            #expect(try await store.replace("a", expected: nil, with: [1]))
            #expect(try await !store.replace("a", expected: nil, with: [2]), "somebody was first")
            #expect(try await !store.replace("a", expected: [9], with: [2]))
            #expect(try await store.replace("a", expected: [1], with: [2]))
            #expect(try await store.replace("a", expected: [2], with: nil))
            #expect(try await store.get("a") == nil)
        }
    }

    @Test(arguments: StoreKind.allCases) func racingIncrementsLoseNothing(_ kind: StoreKind) async throws {
        try await kind.withStore { store in
            try await store.put("n", [0])
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<4 {
                    group.addTask {
                        for _ in 0..<10 {
                            try await eventually {
                                guard let old = try await store.get("n") else { return false }
                                let change = MetadataTransaction(if: [.revision("n", old.revision)], [.put("n", [old.value[0] + 1])])
                                return try await store.transact(change).succeeded
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await store.get("n")?.value == [40])
        }
    }

    @Test(arguments: StoreKind.allCases) func aWatchTellsAllInOrder(_ kind: StoreKind) async throws {
        try await kind.withStore { store in
            let start = try await store.put("w/0", [0])
            // Some before the watch begins, some after.
            try await store.put("w/1", [1])
            try await store.put("elsewhere", [])
            async let seen = store.changes(5, prefix: "w/", after: start)
            _ = try await store.transact(MetadataTransaction(if: [], [.put("w/2", [2]), .delete("w/1")]))
            try await store.delete("w/0")
            try await store.put("w/0", [3])
            let changes = try await seen
            let expected: [MetadataChange] = [
                .init(key: "w/1", value: [1], revision: start + 1), .init(key: "w/2", value: [2], revision: start + 3),
                .init(key: "w/1", value: nil, revision: start + 3), .init(key: "w/0", value: nil, revision: start + 4),
                .init(key: "w/0", value: [3], revision: start + 5),
            ]
            // Within a transaction the order is the store's.
            func ordered(_ changes: [MetadataChange]) -> [MetadataChange] { changes.sorted { ($0.revision, $0.key) < ($1.revision, $1.key) } }
            #expect(ordered(changes) == ordered(expected))
            #expect(changes.map(\.revision) == changes.map(\.revision).sorted())
        }
    }

    @Test(arguments: StoreKind.allCases) func aLeaseTakesItsKeysWithIt(_ kind: StoreKind) async throws {
        try await kind.withStore { store in
            let lease = try await store.grantLease(.milliseconds(1500))
            #expect(lease.length >= .milliseconds(1500))
            let start = try await store.put("bound", [1], lease: lease)
            try await store.put("freed", [1], lease: lease)
            try await store.put("freed", [2])
            async let gone = store.changes(3, after: start)
            try await eventually { try await store.get("bound") == nil }
            let last = try await gone.last
            #expect(last != nil && last?.value == nil)
            #expect(try await store.get("freed")?.value == [2])
            #expect(await code { try await store.keepAlive(lease) } == .notFound)
            #expect(await code { try await store.put("late", [], lease: lease) } == .notFound)
            try await store.revoke(lease)
        }
    }

    @Test(arguments: StoreKind.allCases) func aLeaseThatIsKeptAliveLasts(_ kind: StoreKind) async throws {
        try await kind.withStore { store in
            let kept = try await store.grantLease(.seconds(1))
            // Ends later than the kept one would by itself.
            let witness = try await store.grantLease(.seconds(2))
            try await store.put("kept", [], lease: kept)
            try await store.put("witness", [], lease: witness)
            try await eventually {
                try await store.keepAlive(kept)
                return try await store.get("witness") == nil
            }
            #expect(try await store.get("kept") != nil)
            try await store.revoke(kept)
            #expect(try await store.get("kept") == nil)
        }
    }

    @Test(arguments: StoreKind.allCases) func aWatchEndsWithItsStore(_ kind: StoreKind) async throws {
        try await kind.withStore { store in
            let start = try await store.put("a", [])
            async let seen = store.changes(2, after: start)
            try await store.put("a", [1])
            await store.close()
            let count = try await seen.count
            #expect(count <= 1)
        }
    }
}
