import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport
import Testing

private let nodes = [NodeID(1), NodeID(2), NodeID(3)]

private func place(_ replicas: [NodeID], epoch: UInt64 = 5) -> ShardPlace {
    ShardPlace(number: 4, range: HashRange(first: 100, last: 199), primary: replicas[0], epoch: epoch, replicas: replicas, version: 9)
}

private func split(_ place: ShardPlace) -> Split {
    Split(
        id: 7, collection: "c", parent: ShardID(incarnation: Incarnation(3), number: place.number), place: place, at: 149, firstNumber: 8,
        reason: "asked for", nowMilliseconds: 5)
}

@Test func aSplitSurvivesItsEncoding() throws {
    var one = split(place(nodes))
    (one.step, one.sealEpoch, one.isCancelled, one.problem) = (.sealing, 6, true, "why")
    #expect(try Split(encoded: one.encoded) == one)
    #expect(OperationKind(one.encoded) == .split)
    for length in 0..<one.encoded.count { #expect(throws: NeedletailError.self) { try Split(encoded: Array(one.encoded.prefix(length))) } }
}

@Test func thePartsTileTheShardAndContinueIt() {
    var parent = place(nodes)
    (parent.ancestors, parent.inSync) = ([1], [nodes[0], nodes[2]])
    var one = split(parent)
    one.sealEpoch = 6
    let parts = Splitter.places(one, parent)
    #expect(parts.map(\.range) == [HashRange(first: 100, last: 149), HashRange(first: 150, last: 199)])
    #expect(parts.map(\.number) == [8, 9] && parts.allSatisfy { $0.ancestors == [1, 4] && $0.epoch == 6 && $0.version == 10 })
    #expect(parts.map(\.primary) == [nodes[0], nodes[2]] && parts.allSatisfy { $0.inSync == parent.inSync && $0.replicas == nodes })
}

@Test func noPartServesBeforeEveryMemberHasEverything() {
    let parent = place(nodes)
    var one = split(parent)
    (one.step, one.sealEpoch) = (.sealing, 6)
    var now = Splitter.Circumstances(place: parent)
    func progress(_ end: UInt64, _ parts: [UInt64], isSealed: Bool = false, isClosed: Bool = true, isReady: Bool = true) -> SplitProgress {
        SplitProgress(end: end, isSealed: isSealed, isClosed: isClosed, children: parts.map { .init(isReady: isReady, end: $0) })
    }
    func isOver() -> Bool { if case .change(let next, let places) = Splitter.next(one, now) { next.step == .dropping && places.count == 2 } else { false } }
    now.progress = [nodes[0]: progress(50, [50, 50], isSealed: true), nodes[1]: progress(50, [50, 50]), nodes[2]: progress(50, [50, 50])]
    #expect(isOver())
    let good = now
    for change in [
        progress(50, [50, 49]), progress(50, [49, 50]), progress(50, []), progress(50, [50, 50], isReady: false),
    ] {
        now = good
        now.progress[nodes[1]] = change
        #expect(!isOver())
    }
    now = good
    now.progress[nodes[2]] = nil
    #expect(!isOver())
    // Nobody sealed; or another member did, which says nothing of the primary.
    now = good
    now.progress[nodes[0]]?.isSealed = false
    now.progress[nodes[1]]?.isSealed = true
    #expect(!isOver())
    // Another epoch began.
    now = good
    now.place?.epoch = 6
    #expect(!isOver())
    // A member may still answer reads; it is asked not to, for a while.
    now = good
    now.progress[nodes[1]]?.isClosed = false
    #expect(Splitter.next(one, now) == .close)
    now.age = Splitter.patience
    guard case .change(let given, let places) = Splitter.next(one, now) else { Issue.record("it waits without end"); return }
    #expect(given.step == .unsealing && places.isEmpty)
}

@Test func aSessionOfTheWholeHoldsForItsParts() throws {
    var entry = CollectionEntry(
        spec: CollectionSpec(name: "c", fields: [VectorField(name: "v", dimensions: 4, metric: .l2)], shardCount: 1), incarnation: Incarnation(3),
        state: .active, shards: [])
    for (number, range) in [(UInt32(3), HashRange(first: 0, last: 99)), (4, HashRange(first: 100, last: .max))] {
        var place = ShardPlace(number: number, range: range, primary: NodeID(1), epoch: 2)
        place.ancestors = number == 3 ? [0, 1] : [0]
        entry.shards.append(place)
    }
    entry.nextNumber = 9
    #expect(try CollectionEntry(encoded: entry.encoded) == entry)
    let read = ReadOptions(session: Session(incarnation: Incarnation(3), sequences: [0: 7, 1: 12, 4: 9]))
    let adapted = entry.adapted(read)
    #expect(entry.shards.map { adapted.condition(entry.shardID($0)).sequence } == [12, 9])
    #expect(!entry.isOlder(than: read.session))
    #expect(entry.isOlder(than: Session(incarnation: Incarnation(3), sequences: [5: 1])))
    #expect(!entry.isOlder(than: Session(incarnation: Incarnation(4), sequences: [5: 1])))
}

/// Worlds in which members come and go, fail over and lag, and the leader forgets all but the metadata: a split ends, and no part serves that lacks a
/// record of any epoch.
@Test(arguments: 0..<400) func everySplitEndsOnceAndLosesNothing(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    var parent = place(Array(nodes.prefix(1 + seed % 3)))
    // By node: its parent's log, of which a prefix is committed everywhere in the set; its parts.
    var logs = [NodeID: UInt64]()
    var parts = [NodeID: UInt64]()
    for node in parent.replicas { (logs[node], parts[node]) = (10, 0) }
    var (sealed, closed) = ([NodeID: UInt64](), [NodeID: UInt64]())
    var acknowledged: UInt64 = 10
    var one = split(parent)
    var age = Duration.zero
    var outcome: [ShardPlace] = []
    var steps = 0
    while !one.step.hasEnded, steps < 4000 {
        steps += 1
        let isQuiet = steps > 2000
        if !outcome.isEmpty || one.step == .undropping {
            var now = Splitter.Circumstances(place: outcome.isEmpty ? parent : nil)
            now.isServed = true
            if case .change(let next, _) = Splitter.next(one, now) { one = next }
            continue
        }
        // The primary writes.
        let primary = parent.primary
        if sealed[primary, default: 0] <= parent.epoch, random.next() % 2 == 0 { logs[primary, default: 0] += 1 }
        for node in parent.inSync where isQuiet || random.next() % 2 == 0 { logs[node] = max(logs[node] ?? 0, min(logs[primary] ?? 0, (logs[node] ?? 0) + 5)) }
        let committed = parent.inSync.compactMap { logs[$0] }.min() ?? 0
        acknowledged = max(acknowledged, committed)
        for node in parent.inSync where isQuiet || random.next() % 3 > 0 { parts[node] = min(committed, (parts[node] ?? 0) + 20) }
        if !isQuiet, parent.inSync.count > 1, random.next() % 40 == 0 {
            // A failover: the one with the longest log, which is cut to nobody's loss.
            parent.epoch += 1
            parent.version += 1
            parent.primary = parent.inSync.max { (logs[$0] ?? 0) < (logs[$1] ?? 0) } ?? primary
        }
        if !isQuiet, random.next() % 300 == 0 { one.isCancelled = one.step.holdsReplaced }
        var now = Splitter.Circumstances(place: parent)
        age += .milliseconds(Int(random.next() % 100))
        now.age = age
        for node in parent.inSync where isQuiet || random.next() % 4 > 0 {
            var isSealed = false
            if one.step == .sealing, node == parent.primary, parent.epoch + 1 == one.sealEpoch {
                sealed[node] = one.sealEpoch
                isSealed = true
            }
            let part = SplitProgress.Child(isReady: true, end: parts[node] ?? 0)
            let isClosed = closed[node, default: 0] >= one.sealEpoch
            now.progress[node] = SplitProgress(end: logs[node] ?? 0, isSealed: isSealed, isClosed: isClosed, children: [part, part])
        }
        switch Splitter.next(one, now) {
        case .change(let next, let places):
            // The transaction names what it was decided from, so it may fail, and be decided anew.
            if random.next() % 5 == 0 { break }
            (one, age) = (next, .zero)
            if places.count == 1 { parent = places[0] }
            if places.count == 2 { outcome = places }
        case .close: for node in now.progress.keys { closed[node] = one.sealEpoch }
        case .resign:
            parent.epoch += 1
            parent.version += 1
        case .drop, .wait, .nothing: break
        }
    }
    #expect(one.step.hasEnded)
    if one.step == .done {
        #expect(parent.inSync.allSatisfy { closed[$0, default: 0] > parent.epoch })
        for place in outcome { for node in place.inSync { #expect((parts[node] ?? 0) >= acknowledged && parts[node] == logs[parent.primary]) } }
    } else {
        #expect(one.step == .cancelled && outcome.isEmpty)
        #expect(sealed[parent.primary, default: 0] <= parent.epoch && closed[parent.primary, default: 0] <= parent.epoch)
    }
}
