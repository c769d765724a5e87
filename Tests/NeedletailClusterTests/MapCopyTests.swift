import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport
import Testing

@Suite struct MapCopyTests {
    @Test func laterRevisionsWinInWhateverOrder() {
        var copy = MapCopy<Int>()
        copy.change("a", to: 1, revision: 5)
        // Deleted here at 9; the watch is still to tell of 7.
        copy.change("a", to: nil, revision: 9)
        copy.change("a", to: 2, revision: 7)
        #expect(copy.values.isEmpty && copy.revision("a") == nil)
        copy.advance(to: 9)
        copy.change("a", to: 3, revision: 11)
        #expect(copy.values == ["a": 3] && copy.revision("a") == 11)
    }

    @Test func aSnapshotRemovesWhatItLacksButNotWhatIsNewer() {
        var copy = MapCopy<Int>()
        copy.change("gone", to: 1, revision: 3)
        copy.change("mine", to: 2, revision: 12)
        copy.change("deleted", to: nil, revision: 13)
        copy.reset(to: [("there", 4, 8), ("deleted", 5, 4)], revision: 10)
        #expect(copy.values == ["there": 4, "mine": 2] && copy.watched == 10)
    }

    /// However one's own changes and the watch interleave, the copy ends as the store is.
    @Test func endsAsTheStoreIs() {
        var generator = SeededGenerator.fresh()
        for _ in 0..<200 {
            var store: [String: Int] = [:]
            var log: [(key: String, value: Int?, revision: UInt64)] = []
            var copy = MapCopy<Int>()
            var told = 0
            for revision in 1...UInt64(40) {
                let key = "\(Int.random(in: 0..<4, using: &generator))"
                let value: Int? = Bool.random(using: &generator) ? Int(revision) : nil
                store[key] = value
                log.append((key, value, revision))
                if Bool.random(using: &generator) { copy.change(key, to: value, revision: revision) }
                while told < log.count, Int.random(in: 0..<3, using: &generator) == 0 {
                    copy.change(log[told].key, to: log[told].value, revision: log[told].revision)
                    copy.advance(to: log[told].revision)
                    told += 1
                }
            }
            for news in log[told...] {
                copy.change(news.key, to: news.value, revision: news.revision)
                copy.advance(to: news.revision)
            }
            #expect(copy.values == store)
        }
    }

    @Test func leasesAreCountedFromTheSendingAndShort() {
        let start = ContinuousClock.now
        var lease = CountedLease()
        #expect(!lease.isHeld(at: start))
        lease.extend(sent: start, length: .seconds(10))
        #expect(lease.isHeld(at: start + .milliseconds(8999)) && !lease.isHeld(at: start + .seconds(9)))
        // An older answer that comes late.
        lease.extend(sent: start - .seconds(5), length: .seconds(10))
        #expect(lease.isHeld(at: start + .milliseconds(8999)))
    }

    @Test func entriesSurviveTheirEncoding() throws {
        let coordinator = CoordinatorEntry(id: 7, address: "a:1")
        #expect(try CoordinatorEntry(encoded: coordinator.encoded) == coordinator)
        let leader = LeaderEntry(coordinator: coordinator, lease: -3)
        #expect(try LeaderEntry(encoded: leader.encoded) == leader)
        let node = NodeEntry(id: NodeID(9), address: "b:2")
        #expect(try NodeEntry(encoded: node.encoded) == node)
        #expect(try NodeEntry(encoded: node.encoded + [1]) == node, "a later version may add to it")
        #expect(throws: NeedletailError.self) { try NodeEntry(encoded: [2] + node.encoded.dropFirst()) }
        for count in 0..<leader.encoded.count {
            #expect(throws: NeedletailError.self) { try LeaderEntry(encoded: Array(leader.encoded.prefix(count))) }
        }
    }
}
