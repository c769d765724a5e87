import NeedletailCluster
import NeedletailCore
import NeedletailTestSupport
import Testing

private let nodes = [NodeID(1), NodeID(2), NodeID(3)]
private let ranges = [HashRange(first: 100, last: 149), HashRange(first: 150, last: 199)]

private func places(_ replicas: [NodeID], epochs: [UInt64] = [5, 3]) -> [ShardPlace] {
    [
        ShardPlace(number: 4, range: ranges[0], primary: replicas[0], epoch: epochs[0], replicas: replicas, version: 9),
        ShardPlace(number: 2, range: ranges[1], primary: replicas[replicas.count - 1], epoch: epochs[1], replicas: replicas, version: 6),
    ]
}

private func merge(_ places: [ShardPlace]) -> Merge {
    Merge(id: 7, collection: "c", incarnation: Incarnation(3), places: places, number: 8, reason: "asked for", nowMilliseconds: 5)
}

private func sealing(_ places: [ShardPlace]) -> Merge {
    var one = merge(places)
    one.step = .sealing
    for index in places.indices { one.parents[index].sealEpoch = places[index].epoch + 1 }
    return one
}

@Test func aMergeSurvivesItsEncoding() throws {
    var one = sealing(places(nodes))
    (one.isCancelled, one.problem) = (true, "why")
    #expect(try Merge(encoded: one.encoded) == one)
    #expect(OperationKind(one.encoded) == .merge)
    for length in 0..<one.encoded.count { #expect(throws: NeedletailError.self) { try Merge(encoded: Array(one.encoded.prefix(length))) } }
    var later = one.encoded
    later[1] += 1
    #expect { try Merge(encoded: later) } throws: { ($0 as? NeedletailError)?.code == .unimplemented }
}

@Test func theMergedShardContinuesBoth() throws {
    var parents = places(nodes)
    (parents[0].ancestors, parents[1].ancestors) = ([1], [1, 0])
    for index in parents.indices { parents[index].inSync = [nodes[0], nodes[2]] }
    let place = Merger.place(sealing(parents), parents)
    #expect(place.number == 8 && place.range == HashRange(first: 100, last: 199) && place.epoch == 6 && place.version == 10)
    #expect(place.ancestors == [1, 4, 0, 2] && place.inSync == [nodes[0], nodes[2]] && place.replicas == nodes)
    #expect(place.primary == nodes[2])
    // A session on one of them, and on one that they were parts of, holds on it; no later format is needed for that.
    var entry = CollectionEntry(
        spec: CollectionSpec(name: "c", fields: [VectorField(name: "v", dimensions: 4, metric: .l2)], shardCount: 1), incarnation: Incarnation(3),
        state: .active, shards: [ShardPlace(number: 3, range: HashRange(first: 0, last: 99), primary: nodes[0], epoch: 1), place])
    entry.shards[1].range = HashRange(first: 100, last: .max)
    entry.nextNumber = 9
    #expect(entry.encoded[0] == 4)
    #expect(try CollectionEntry(encoded: entry.encoded) == entry)
    let read = ReadOptions(session: Session(incarnation: Incarnation(3), sequences: [4: 7, 2: 12, 3: 1]))
    #expect(entry.adapted(read).condition(entry.shardID(place)).sequence == 12 && !entry.isOlder(than: read.session))
}

@Test func theMergedShardDoesNotServeBeforeEveryMemberHasBoth() {
    let parents = places(nodes)
    let one = sealing(parents)
    func progress(_ taken: [UInt64], sealed: [Bool] = [false, false], isClosed: Bool = true, isReady: Bool = true, waiting: UInt64 = 0) -> MergeProgress {
        let both = zip([UInt64(50), 70], zip(taken, sealed)).map { MergeProgress.Parent(end: $0, isSealed: $1.1, isClosed: isClosed, taken: $1.0) }
        return MergeProgress(parents: both, isReady: isReady, waiting: waiting)
    }
    var good = Merger.Circumstances(places: parents)
    good.progress = [nodes[0]: progress([50, 70], sealed: [true, false]), nodes[1]: progress([50, 70]), nodes[2]: progress([50, 70], sealed: [false, true])]
    func isOver(_ now: Merger.Circumstances) -> Bool {
        if case .change(let next, let place?) = Merger.next(one, now) { next.step == .dropping && place.number == 8 } else { false }
    }
    #expect(isOver(good))
    func changed(_ change: (inout Merger.Circumstances) -> Void) -> Merger.Circumstances {
        var now = good
        change(&now)
        return now
    }
    let bad = [
        changed { $0.progress[nodes[1]] = progress([49, 70]) }, changed { $0.progress[nodes[1]] = progress([50, 69]) },
        changed { $0.progress[nodes[1]] = progress([50, 70], waiting: 1) }, changed { $0.progress[nodes[1]] = progress([50, 70], isReady: false) },
        changed { $0.progress[nodes[2]] = nil }, changed { $0.progress[nodes[1]]?.parents.removeLast() },
        // One primary is not sealed; another member is, which says nothing.
        changed { $0.progress[nodes[0]]?.parents[0].isSealed = false }, changed { $0.progress[nodes[2]]?.parents[1].isSealed = false },
        changed {
            $0.progress[nodes[0]]?.parents[0].isSealed = false
            $0.progress[nodes[1]]?.parents[0].isSealed = true
        },
        // Another epoch, another set, or no shard.
        changed { $0.places[1]?.epoch = 4 }, changed { $0.places[0]?.inSync.removeLast() }, changed { $0.places[0] = nil },
    ]
    for now in bad { #expect(!isOver(now)) }
    // A member may still answer reads of one of them; it is asked not to, for a while.
    var open = changed { $0.progress[nodes[1]]?.parents[1].isClosed = false }
    #expect(Merger.next(one, open) == .close)
    open.age = Splitter.patience
    guard case .change(let given, nil) = Merger.next(one, open) else { Issue.record("it waits without end"); return }
    #expect(given.step == .unsealing)
    // One of them went on to another epoch: the other one has to as well.
    guard case .change(let broken, nil) = Merger.next(one, changed { $0.places[1]?.epoch = 4 }) else { Issue.record("nothing is done"); return }
    #expect(broken.step == .unsealing)
    #expect(Merger.next(broken, changed { $0.places[1]?.epoch = 4 }) == .resign(parents[0]))
}

/// Worlds in which members come and go, fail over and lag, and the leader forgets all but the metadata: a merge ends, and the merged shard serves with
/// every record of both, or both go on.
@Test(arguments: 0..<400) func everyMergeEndsOnceAndLosesNothing(seed: Int) {
    var random = SeededGenerator(seed: UInt64(seed))
    var parents = places(Array(nodes.prefix(1 + seed % 3)))
    /// By parent and node: its log, of which a prefix is committed everywhere in the set; what the merged replica has of it.
    var logs = parents.map { parent in Dictionary(uniqueKeysWithValues: parent.replicas.map { ($0, UInt64(10)) }) }
    var taken = parents.map { parent in Dictionary(uniqueKeysWithValues: parent.replicas.map { ($0, UInt64(0)) }) }
    var (sealed, closed) = ([[NodeID: UInt64]](repeating: [:], count: 2), [[NodeID: UInt64]](repeating: [:], count: 2))
    var acknowledged: [UInt64] = [10, 10]
    var one = merge(parents)
    var age = Duration.zero
    var outcome: ShardPlace?
    var steps = 0

    /// What happens to one of the two while nobody decides.
    func live(_ index: Int, isQuiet: Bool) {
        let primary = parents[index].primary
        if sealed[index][primary, default: 0] <= parents[index].epoch, random.next() % 2 == 0 { logs[index][primary, default: 0] += 1 }
        let end = logs[index][primary] ?? 0
        for node in parents[index].inSync where isQuiet || random.next() % 2 == 0 {
            logs[index][node] = max(logs[index][node] ?? 0, min(end, (logs[index][node] ?? 0) + 5))
        }
        let committed = parents[index].inSync.compactMap { logs[index][$0] }.min() ?? 0
        acknowledged[index] = max(acknowledged[index], committed)
        for node in parents[index].inSync where isQuiet || random.next() % 3 > 0 { taken[index][node] = min(committed, (taken[index][node] ?? 0) + 20) }
        if !isQuiet, parents[index].inSync.count > 1, random.next() % 60 == 0 {
            // A failover: the one with the longest log, which is cut to nobody's loss.
            parents[index].epoch += 1
            parents[index].version += 1
            parents[index].primary = parents[index].inSync.max { (logs[index][$0] ?? 0) < (logs[index][$1] ?? 0) } ?? primary
        }
    }

    func answer(_ node: NodeID) -> MergeProgress {
        let progress = parents.indices.map { index -> MergeProgress.Parent in
            let epoch = one.parents[index].sealEpoch
            let isSealed = one.step == .sealing && node == parents[index].primary && parents[index].epoch + 1 == epoch
            if isSealed { sealed[index][node] = epoch }
            return MergeProgress.Parent(
                end: logs[index][node] ?? 0, isSealed: isSealed, isClosed: closed[index][node, default: 0] >= max(epoch, 1), taken: taken[index][node] ?? 0)
        }
        return MergeProgress(parents: progress, isReady: true, waiting: 0)
    }

    while !one.step.hasEnded, steps < 4000 {
        steps += 1
        let isQuiet = steps > 2000
        if outcome != nil || one.step == .undropping {
            var now = Merger.Circumstances(places: parents)
            now.isServed = true
            if case .change(let next, _) = Merger.next(one, now) { one = next }
            continue
        }
        for index in parents.indices { live(index, isQuiet: isQuiet) }
        if !isQuiet, random.next() % 300 == 0 { one.isCancelled = one.step.holdsReplaced }
        var now = Merger.Circumstances(places: parents)
        age += .milliseconds(Int(random.next() % 100))
        now.age = age
        for node in parents[0].inSync where isQuiet || random.next() % 4 > 0 { now.progress[node] = answer(node) }
        switch Merger.next(one, now) {
        case .change(let next, let place):
            // The transaction names what it was decided from, so it may fail, and be decided anew.
            if random.next() % 5 == 0 { break }
            (one, age) = (next, .zero)
            if let place, next.step == .dropping { outcome = place } else if let place { parents[place.number == 4 ? 0 : 1] = place }
        case .close: for node in now.progress.keys { for index in parents.indices { closed[index][node] = one.parents[index].sealEpoch } }
        case .resign(let place):
            for index in parents.indices where parents[index] == place {
                parents[index].epoch += 1
                parents[index].version += 1
            }
        case .drop, .wait, .nothing: break
        }
    }
    #expect(one.step.hasEnded)
    for index in parents.indices {
        if one.step == .done, let outcome {
            #expect(outcome.epoch > parents[index].epoch && parents[index].inSync.allSatisfy { closed[index][$0, default: 0] > parents[index].epoch })
            for node in outcome.inSync {
                #expect((taken[index][node] ?? 0) >= acknowledged[index] && taken[index][node] == logs[index][parents[index].primary])
            }
        } else {
            #expect(one.step == .cancelled && outcome == nil)
            #expect(sealed[index][parents[index].primary, default: 0] <= parents[index].epoch)
            #expect(closed[index][parents[index].primary, default: 0] <= parents[index].epoch)
        }
    }
}
