public import NeedletailCore

/// Decides how a split goes on. Pure, and without a memory of its own, as `Mover`: the split's step and the parent's place say all, with what the
/// parent's nodes answered last.
///
/// The seal rests on epochs. In epoch e only its primary appends, and once that has put on its disk that it takes nothing more in e, no
/// record of e follows what its log ends with, F. All of it has to be committed, that is on every member of the in-sync set, before a member's
/// child has it. Any other primary begins a later epoch, by a change of the place; the cut-over names the place's revision. So either the shard
/// got another epoch, and the seal is broken and made once more, or the children of all members have exactly what was ever acknowledged.
///
/// Reads go on until the last moment: then every member puts on its disk that it answers none of epochs before the seal. So what a child
/// has written is never missing from an answer that began later, by whatever map it was asked for.
public enum Splitter {
    public struct Circumstances: Sendable {
        /// nil when the collection is gone.
        public var place: ShardPlace?
        /// By node, what it answered just now.
        public var progress: [NodeID: SplitProgress] = [:]
        /// Since the split's last change.
        public var age: Duration = .zero
        /// Whether the children's replicas know their places.
        public var isServed = false
        /// Those that still have files to remove, as far as is known; without nodes that are gone.
        public var undropped: [NodeID] = []

        public init(place: ShardPlace?) { self.place = place }
    }

    public enum Order: Sendable, Equatable {
        /// Make this the split. With places: they take the parent's, in the same transaction.
        case change(Split, places: [ShardPlace])
        /// Ask all members to answer no more reads, then decide again.
        case close
        /// Have the parent's primary give its epoch up, for the next one.
        case resign
        /// Ask these nodes to remove the files of `Split.dropped`.
        case drop([NodeID])
        case wait(String)
        case nothing
    }

    /// So far children may be behind when the parent is sealed: what is left is a moment's work.
    public static let nearRecords: UInt64 = 64
    /// Writes wait for the cut-over no longer than this, then go on; and so long before it is tried again.
    public static let patience = Duration.seconds(2)

    public static func next(_ split: Split, _ now: Circumstances) -> Order {
        switch split.step {
        case .done, .cancelled, .failed: return .nothing
        case .preparing: return prepare(split, now)
        case .sealing: return seal(split, now)
        case .unsealing: return unseal(split, now)
        case .dropping:
            if !now.isServed, now.undropped.isEmpty == false { return .wait("the parts begin to serve") }
            return now.undropped.isEmpty ? end(split, .done, "") : .drop(now.undropped)
        case .undropping:
            if now.undropped.isEmpty { return end(split, split.isCancelled ? .cancelled : .failed, split.problem) }
            return .drop(now.undropped)
        }
    }

    private static func at(_ split: Split, _ step: ReshardingStep, _ problem: String? = nil) -> Order {
        var next = split
        next.step = step
        if let problem { next.problem = problem }
        return .change(next, places: [])
    }

    private static func end(_ split: Split, _ step: ReshardingStep, _ problem: String) -> Order { at(split, step, problem) }

    private static func prepare(_ split: Split, _ now: Circumstances) -> Order {
        guard let place = now.place else { return at(split, .undropping, "the shard is gone") }
        if split.isCancelled { return at(split, .undropping) }
        if !Set(place.replicas).isSubset(of: split.nodes) {
            var next = split
            next.nodes = Set(split.nodes + place.replicas).sorted()
            return .change(next, places: [])
        }
        guard split.problem.isEmpty || now.age >= patience else { return .wait("it was sealed in vain a moment ago") }
        let lagging = place.inSync.filter { node in now.progress[node].map { !$0.hasReached($0.end, within: nearRecords) } ?? true }
        guard lagging.isEmpty else { return .wait("the parts on \(lagging.map(\.description).joined(separator: ", ")) are not there yet") }
        var next = split
        (next.step, next.sealEpoch) = (.sealing, place.epoch + 1)
        return .change(next, places: [])
    }

    private static func seal(_ split: Split, _ now: Circumstances) -> Order {
        guard let place = now.place else { return at(split, .undropping, "the shard is gone") }
        guard place.epoch < split.sealEpoch else { return at(split, split.isCancelled ? .undropping : .preparing, "another epoch began") }
        if split.isCancelled { return at(split, .unsealing) }
        if let primary = now.progress[place.primary], primary.isSealed,
            place.inSync.allSatisfy({ now.progress[$0]?.hasReached(primary.end) ?? false })
        {
            guard place.inSync.allSatisfy({ now.progress[$0]?.isClosed ?? false }) else {
                return now.age >= patience ? at(split, .unsealing, "not all replicas stopped answering reads in time") : .close
            }
            var next = split
            (next.step, next.problem) = (.dropping, "")
            return .change(next, places: places(split, place))
        }
        return now.age >= patience ? at(split, .unsealing, "not all parts had everything in time") : .wait("writes wait for the parts")
    }

    /// Whether or not the primary heard of the seal: an epoch that is not before it undoes it.
    private static func unseal(_ split: Split, _ now: Circumstances) -> Order {
        guard let place = now.place else { return at(split, .undropping, "the shard is gone") }
        if place.epoch >= split.sealEpoch { return at(split, split.isCancelled ? .undropping : .preparing) }
        guard place.replicas.count == 1 else { return .resign }
        // A replica alone needs nobody's promise: nobody else can have led it.
        var next = split
        next.step = split.isCancelled ? .undropping : .preparing
        var unsealed = place
        unsealed.epoch = split.sealEpoch
        unsealed.version += 1
        return .change(next, places: [unsealed])
    }

    /// What takes the parent's place. Each child begins in the epoch of the seal, in which nobody led the parent: records of earlier ones are in
    /// their logs. The first is led by the parent's primary, the other by another member if there is one.
    public static func places(_ split: Split, _ parent: ShardPlace) -> [ShardPlace] {
        let others = parent.inSync.filter { $0 != parent.primary }
        let second = others.isEmpty ? parent.primary : others[Int(split.id % UInt64(others.count))]
        return zip(split.children, [parent.primary, second]).map { child, primary in
            var place = ShardPlace(
                number: child.number, range: child.range, primary: primary, epoch: split.sealEpoch, replicas: parent.replicas, inSync: parent.inSync,
                version: parent.version + 1)
            place.ancestors = parent.ancestors + [parent.number]
            return place
        }
    }
}
