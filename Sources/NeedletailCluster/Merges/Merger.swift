public import NeedletailCore

/// Decides how a merge goes on. Pure, and without a memory of its own, as `Splitter`, whose reasons hold for each of the two parents here: both are
/// sealed in their epochs, all of both is on every member of the in-sync set, which is the same for both, all members close, and the cut-over
/// names the places of both.
public enum Merger {
    public struct Circumstances: Sendable {
        /// The parents', in their order; nil where one is gone.
        public var places: [ShardPlace?]
        /// By node, what it answered just now.
        public var progress: [NodeID: MergeProgress] = [:]
        /// Since the merge's last change.
        public var age: Duration = .zero
        /// Whether the child's replicas know their place.
        public var isServed = false
        /// Those that still have files to remove, as far as is known; without nodes that are gone.
        public var undropped: [NodeID] = []

        public init(places: [ShardPlace?]) { self.places = places }
    }

    public enum Order: Sendable, Equatable {
        /// Make this the merge. In the same transaction the place, if there is one, takes that of the parents when the step is `dropping`, otherwise
        /// that of its number.
        case change(Merge, place: ShardPlace?)
        /// Ask all members to answer no more reads, then decide again.
        case close
        /// Have the primary of this place give its epoch up, for the next one.
        case resign(ShardPlace)
        /// Ask these nodes to remove the files of `Merge.dropped`.
        case drop([NodeID])
        case wait(String)
        case nothing
    }

    public static func next(_ merge: Merge, _ now: Circumstances) -> Order {
        switch merge.step {
        case .done, .cancelled, .failed: return .nothing
        case .preparing: return prepare(merge, now)
        case .sealing: return seal(merge, now)
        case .unsealing: return unseal(merge, now)
        case .dropping:
            if !now.isServed, !now.undropped.isEmpty { return .wait("the merged shard begins to serve") }
            return now.undropped.isEmpty ? at(merge, .done, "") : .drop(now.undropped)
        case .undropping:
            return now.undropped.isEmpty ? at(merge, merge.isCancelled ? .cancelled : .failed) : .drop(now.undropped)
        }
    }

    private static func at(_ merge: Merge, _ step: ReshardingStep, _ problem: String? = nil) -> Order {
        var next = merge
        next.step = step
        if let problem { next.problem = problem }
        return .change(next, place: nil)
    }

    /// nil when one is gone.
    private static func places(_ now: Circumstances) -> [ShardPlace]? {
        let places = now.places.compactMap { $0 }
        return places.count == 2 ? places : nil
    }

    /// Whether the same nodes have replicas of both, and are in sync with both. Until then there is no set for the child that is not smaller.
    private static func agree(_ places: [ShardPlace]) -> Bool {
        Set(places[0].replicas) == Set(places[1].replicas) && Set(places[0].inSync) == Set(places[1].inSync)
    }

    private static func prepare(_ merge: Merge, _ now: Circumstances) -> Order {
        guard let places = places(now) else { return at(merge, .undropping, "a shard is gone") }
        if merge.isCancelled { return at(merge, .undropping) }
        let nodes = Set(places.flatMap(\.replicas))
        if !nodes.isSubset(of: merge.nodes) {
            var next = merge
            next.nodes = nodes.union(merge.nodes).sorted()
            return .change(next, place: nil)
        }
        guard merge.problem.isEmpty || now.age >= Splitter.patience else { return .wait("they were sealed in vain a moment ago") }
        guard agree(places) else { return .wait("not the same nodes have replicas of both shards in sync") }
        let lagging = places[0].inSync.filter { node in
            now.progress[node].map { !$0.hasReached($0.parents.map(\.end), within: Splitter.nearRecords) } ?? true
        }
        guard lagging.isEmpty else { return .wait("the merged shard on \(lagging.map(\.description).joined(separator: ", ")) is not there yet") }
        var next = merge
        next.step = .sealing
        for index in places.indices { next.parents[index].sealEpoch = places[index].epoch + 1 }
        return .change(next, place: nil)
    }

    private static func seal(_ merge: Merge, _ now: Circumstances) -> Order {
        guard let places = places(now) else { return at(merge, .undropping, "a shard is gone") }
        // The other one may be sealed all the same.
        guard isBefore(merge, places) else { return at(merge, .unsealing, merge.isCancelled ? nil : "another epoch began") }
        if merge.isCancelled { return at(merge, .unsealing) }
        let late = now.age >= Splitter.patience
        guard agree(places), let ends = ends(places, now), places[0].inSync.allSatisfy({ now.progress[$0]?.hasReached(ends) ?? false }) else {
            return late ? at(merge, .unsealing, "not all of both shards was in the merged one in time") : .wait("writes wait for the merged shard")
        }
        guard places[0].inSync.allSatisfy({ now.progress[$0]?.parents.allSatisfy(\.isClosed) ?? false }) else {
            return late ? at(merge, .unsealing, "not all replicas stopped answering reads in time") : .close
        }
        var next = merge
        (next.step, next.problem) = (.dropping, "")
        return .change(next, place: place(merge, places))
    }

    private static func isBefore(_ merge: Merge, _ places: [ShardPlace]) -> Bool {
        zip(merge.parents, places).allSatisfy { $1.epoch < $0.sealEpoch }
    }

    /// Where the parents' logs end for good; nil while a primary may still write.
    private static func ends(_ places: [ShardPlace], _ now: Circumstances) -> [UInt64]? {
        let sealed = places.indices.compactMap { index -> UInt64? in
            guard let parents = now.progress[places[index].primary]?.parents, parents.count == 2, parents[index].isSealed else { return nil }
            return parents[index].end
        }
        return sealed.count == 2 ? sealed : nil
    }

    /// Whether or not a primary heard of its seal: an epoch that is not before it undoes it.
    private static func unseal(_ merge: Merge, _ now: Circumstances) -> Order {
        guard let places = places(now) else { return at(merge, .undropping, "a shard is gone") }
        let next = merge.isCancelled ? ReshardingStep.undropping : .preparing
        guard let index = places.indices.first(where: { places[$0].epoch < merge.parents[$0].sealEpoch }) else { return at(merge, next) }
        guard places[index].replicas.count == 1 else { return .resign(places[index]) }
        // A replica alone needs nobody's promise: nobody else can have led it.
        var unsealed = places[index]
        unsealed.epoch = merge.parents[index].sealEpoch
        unsealed.version += 1
        return .change(merge, place: unsealed)
    }

    /// What takes the parents' place. A session on either of them, or on one that they were parts of, holds on it: its log ends where the sum
    /// of the parents' ends says, and every member has it up to there.
    public static func place(_ merge: Merge, _ parents: [ShardPlace]) -> ShardPlace {
        var place = ShardPlace(
            number: merge.child.number, range: merge.child.range, primary: parents[Int(merge.id % 2)].primary, epoch: merge.epoch,
            replicas: parents[0].replicas, inSync: parents[0].inSync, version: (parents.map(\.version).max() ?? 0) + 1)
        for ancestor in parents.flatMap({ $0.ancestors + [$0.number] }) where !place.ancestors.contains(ancestor) { place.ancestors.append(ancestor) }
        return place
    }
}
