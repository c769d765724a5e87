public import NeedletailCore

/// Decides how a move goes on. Pure, and without a memory of its own: the move's step and the shard's place, both in the metadata, say all.
///
/// A step that changes the place changes the move with it, in one transaction that names the revisions of both and the leader's term: so it
/// is made once, whoever leads and however often it is tried. What is asked of nodes (to hand over, to remove files) may be asked again.
/// At every moment of a move the shard has all the replicas in sync that it had before, or the new one in place of the old.
public enum Mover {
    public struct Circumstances: Sendable {
        /// nil when the collection is gone.
        public var place: ShardPlace?
        public var minInSync: Int
        /// Those that will not come back soon.
        public var lost: Set<NodeID>
        /// Whether the primary is known to act in the place's epoch.
        public var isLed: Bool

        public init(place: ShardPlace?, minInSync: Int = 1, lost: Set<NodeID> = [], isLed: Bool = true) {
            self.place = place
            self.minInSync = minInSync
            self.lost = lost
            self.isLed = isLed
        }
    }

    public enum Order: Sendable, Equatable {
        /// Make this the move, and this the place if it is not nil, in one transaction.
        case change(Move, place: ShardPlace?)
        /// Ask the primary to hand over to this node once that has everything.
        case handOver(to: NodeID)
        /// Ask the node to remove its replica's files, then `dropped`.
        case drop(NodeID)
        /// Nothing is to be done before something else has happened.
        case wait(String)
        case nothing
    }

    public static func next(_ move: Move, _ now: Circumstances) -> Order {
        if move.step.hasEnded { return .nothing }
        guard let place = now.place else { return end(move, .failed, "the collection was deleted") }
        switch move.step {
        case .adding: return begin(move, place, now)
        case .catchingUp: return catchUp(move, place, now)
        case .leading: return lead(move, place, now)
        case .removing: return remove(move, place, now)
        case .undoing: return undo(move, place)
        case .dropping, .undropping:
            guard let node = move.dropped, !now.lost.contains(node), !place.replicas.contains(node) else { return dropped(move) }
            return .drop(node)
        case .done, .cancelled, .failed: return .nothing
        }
    }

    /// The files of the replica that left are gone.
    public static func dropped(_ move: Move) -> Order { end(move, move.step == .dropping ? .done : .cancelled, move.problem) }

    /// What `step` looks like to be continued with.
    private static func at(_ move: Move, _ step: Move.Step) -> Move {
        var next = move
        next.step = step
        return next
    }

    private static func end(_ move: Move, _ step: Move.Step, _ problem: String) -> Order {
        var ended = at(move, step)
        ended.problem = problem
        return .change(ended, place: nil)
    }

    private static func undone(_ move: Move, _ problem: String) -> Order {
        var undone = at(move, .undoing)
        undone.problem = problem
        undone.isCancelled = true
        return .change(undone, place: nil)
    }

    private static func begin(_ move: Move, _ place: ShardPlace, _ now: Circumstances) -> Order {
        if move.isCancelled { return end(move, .cancelled, move.problem) }
        if let from = move.from, !place.replicas.contains(from) { return end(move, .failed, "node \(from) has no replica of the shard any more") }
        if let to = move.to, now.lost.contains(to) { return end(move, .failed, "node \(to) is gone") }
        if move.isLeadOnly {
            guard let to = move.to, place.inSync.contains(to) else { return end(move, .failed, "the node that was to lead is not in sync") }
            return .change(at(move, .leading), place: nil)
        }
        guard let to = move.to else { return .change(at(move, afterCatchingUp(move, place)), place: nil) }
        guard !place.replicas.contains(to) else { return end(move, .failed, "node \(to) has a replica of the shard already") }
        var next = place
        next.replicas = (place.replicas + [to]).sorted()
        next.version += 1
        return .change(at(move, .catchingUp), place: next)
    }

    private static func afterCatchingUp(_ move: Move, _ place: ShardPlace) -> Move.Step {
        guard let from = move.from else { return .done }
        return place.primary == from ? .leading : .removing
    }

    private static func catchUp(_ move: Move, _ place: ShardPlace, _ now: Circumstances) -> Order {
        if move.isCancelled { return .change(at(move, .undoing), place: nil) }
        guard let to = move.to, place.replicas.contains(to) else { return end(move, .failed, "the new replica was taken out of the shard") }
        if place.inSync.contains(to) { return .change(at(move, afterCatchingUp(move, place)), place: nil) }
        if now.lost.contains(to) { return undone(move, "node \(to) is gone") }
        return .wait("the new replica catches up")
    }

    private static func lead(_ move: Move, _ place: ShardPlace, _ now: Circumstances) -> Order {
        if move.isLeadOnly {
            guard let to = move.to, place.primary != to else { return end(move, .done, "") }
            if move.isCancelled { return end(move, .cancelled, move.problem) }
            guard place.inSync.contains(to) else { return end(move, .failed, "the node that was to lead is no longer in sync") }
            return .handOver(to: to)
        }
        if move.isCancelled { return cancelled(move) }
        guard let from = move.from, place.primary == from else { return .change(at(move, .removing), place: nil) }
        if let to = move.to, !place.inSync.contains(to) { return .change(at(move, .catchingUp), place: nil) }
        guard let heir = move.to ?? place.inSync.first(where: { $0 != from }) else { return .wait("no other replica is in sync") }
        return .handOver(to: heir)
    }

    /// A removal alone has nothing to undo.
    private static func cancelled(_ move: Move) -> Order {
        move.to == nil ? end(move, .cancelled, move.problem) : .change(at(move, .undoing), place: nil)
    }

    private static func remove(_ move: Move, _ place: ShardPlace, _ now: Circumstances) -> Order {
        if move.isCancelled { return cancelled(move) }
        guard let from = move.from, place.replicas.contains(from) else { return .change(at(move, .dropping), place: nil) }
        if place.primary == from { return .change(at(move, .leading), place: nil) }
        if let to = move.to, !place.inSync.contains(to) { return .change(at(move, .catchingUp), place: nil) }
        // A request that fails is tried again while a shard has several replicas: until the new primary answers, it keeps them.
        guard now.isLed else { return .wait("the new primary has no lease yet") }
        let staying = place.inSync.filter { $0 != from }
        // A replica that is not in sync can leave at any time.
        if place.inSync.contains(from), staying.count < now.minInSync {
            return .wait("\(staying.count) replicas would be in sync, and the collection wants \(now.minInSync)")
        }
        return .change(at(move, .dropping), place: without(from, place))
    }

    private static func without(_ node: NodeID, _ place: ShardPlace) -> ShardPlace {
        var next = place
        next.replicas.removeAll { $0 == node }
        next.inSync.removeAll { $0 == node }
        next.version += 1
        return next
    }

    private static func undo(_ move: Move, _ place: ShardPlace) -> Order {
        guard let to = move.to, place.replicas.contains(to) else { return .change(at(move, .undropping), place: nil) }
        guard place.primary == to else { return .change(at(move, .undropping), place: without(to, place)) }
        if let heir = move.from.flatMap({ place.inSync.contains($0) ? $0 : nil }) ?? place.inSync.first(where: { $0 != to }) { return .handOver(to: heir) }
        return .wait("no other replica is in sync")
    }
}

/// How many moves there are at once.
public struct MoveLimits: Sendable, Hashable {
    public var atOnce: Int
    public var perNode: Int

    public init(atOnce: Int = 2, perNode: Int = 1) {
        self.atOnce = atOnce
        self.perNode = perNode
    }

    /// Which of the moves that wait may begin: urgent causes first, then the oldest. At most one a shard.
    public func startable(_ moves: some Collection<Move>, isHeld: Bool) -> [Move] {
        if isHeld { return moves.filter { $0.step == .adding && $0.isCancelled }.sorted { $0.id < $1.id } }
        // Whoever only waits for a node to remove files holds nobody up.
        let running = moves.filter { $0.step.isUnderWay && $0.dropped == nil }
        var (count, shards, nodes) = (running.count, Set(running.map(\.shard)), [NodeID: Int]())
        for move in running { for node in move.nodes { nodes[node, default: 0] += 1 } }
        var begun: [Move] = []
        let waiting = moves.filter { $0.step == .adding }
        for move in waiting.sorted(by: { ($0.cause.rawValue, $0.createdMilliseconds, $0.id) < ($1.cause.rawValue, $1.createdMilliseconds, $1.id) }) {
            let isFree = count < atOnce && !shards.contains(move.shard) && move.nodes.allSatisfy { nodes[$0, default: 0] < perNode }
            guard isFree || move.isCancelled else { continue }
            begun.append(move)
            if move.isCancelled { continue }
            count += 1
            shards.insert(move.shard)
            for node in move.nodes { nodes[node, default: 0] += 1 }
        }
        return begun
    }
}

/// When and how much the cluster moves by itself.
public struct MovePolicy: Sendable, Hashable {
    public var limits: MoveLimits
    /// A node that was silent for so long counts as gone: what it held is made elsewhere.
    public var lostAfter: Duration
    /// Nothing moves for balance before all nodes have been there, and all shards healthy, for so long.
    public var stableFor: Duration
    /// A shard that was moved for balance, or by hand, is left alone for so long.
    public var rest: Duration
    /// A shard with a replica larger than this is split; nil: only when somebody asks.
    public var splitAboveBytes: UInt64?
    /// Neighbours whose replicas are together smaller than this are merged; nil: only when somebody asks.
    public var mergeBelowBytes: UInt64?

    public init(limits: MoveLimits = MoveLimits(), lostAfter: Duration = .seconds(600), stableFor: Duration = .seconds(30), rest: Duration = .seconds(600)) {
        self.limits = limits
        self.lostAfter = lostAfter
        self.stableFor = stableFor
        self.rest = rest
    }
}
