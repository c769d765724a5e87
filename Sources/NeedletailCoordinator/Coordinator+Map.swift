internal import NeedletailCluster
public import NeedletailCore
internal import NeedletailMetadata
internal import NeedletailSecurity
internal import Synchronization

/// The copy of the cluster's metadata that a coordinator answers from.
struct MetadataCopy {
    /// Every entry there is, those of collections being made or removed included, by the collection's name.
    var collections = MapCopy<CollectionEntry>()
    /// Those that are alive, by their keys.
    var coordinators = MapCopy<CoordinatorEntry>()
    /// One at most.
    var leader = MapCopy<LeaderEntry>()
    /// Shard workers that were ever heard of.
    var nodes = MapCopy<NodeEntry>()
    /// Backups, restores and deletions, those that ended lately included.
    var backups = MapCopy<BackupOperation>()
    /// Moves, those that ended lately included.
    var operations = MapCopy<Move>()
    /// Under the same prefix.
    var splits = MapCopy<Split>()
    var merges = MapCopy<Merge>()
    var events = MapCopy<ClusterEvent>()
    /// One at most.
    var moveSettings = MapCopy<MoveSettings>()
    /// API keys by their ids, and when each was used last, in milliseconds since 1970.
    var keys = MapCopy<AccessKey>()
    var keyUses = MapCopy<UInt64>()

    static let collectionsPrefix = "collections/"
    static let coordinatorsPrefix = "coordinators/"
    static let nodesPrefix = "nodes/"
    static let leaderKey = "leader"
    static let operationsPrefix = "operations/"
    static let eventsPrefix = "events/"
    static let moveSettingsKey = "moves"
    static let keysPrefix = "keys/"
    static let keyUsesPrefix = "key-uses/"

    /// How far the watch is.
    var revision: UInt64 { collections.watched }

    init() {}

    /// - Throws: `dataLoss` when an entry is damaged, `unimplemented` when a newer version wrote it.
    init(_ snapshot: MetadataSnapshot) throws { try reset(to: snapshot) }

    mutating func reset(to snapshot: MetadataSnapshot) throws {
        func parsed<Value>(
            _ prefix: String, _ parse: ([UInt8]) throws(NeedletailError) -> Value, where isMeant: ([UInt8]) -> Bool = { _ in true }
        ) throws -> [(key: String, value: Value, revision: UInt64)] {
            try snapshot.entries.filter { $0.key.hasPrefix(prefix) && isMeant($0.value) }
                .map { (key: String($0.key.dropFirst(prefix.count)), value: try parse($0.value), revision: $0.revision) }
        }
        collections.reset(to: try parsed(Self.collectionsPrefix, CollectionEntry.init), revision: snapshot.revision)
        coordinators.reset(to: try parsed(Self.coordinatorsPrefix, CoordinatorEntry.init), revision: snapshot.revision)
        nodes.reset(to: try parsed(Self.nodesPrefix, NodeEntry.init), revision: snapshot.revision)
        leader.reset(to: try parsed(Self.leaderKey, LeaderEntry.init), revision: snapshot.revision)
        operations.reset(to: try parsed(Self.operationsPrefix, Move.init) { OperationKind($0) == .move }, revision: snapshot.revision)
        backups.reset(to: try parsed(Self.operationsPrefix, BackupOperation.init) { OperationKind($0) == .backup }, revision: snapshot.revision)
        splits.reset(to: try parsed(Self.operationsPrefix, Split.init) { OperationKind($0) == .split }, revision: snapshot.revision)
        merges.reset(to: try parsed(Self.operationsPrefix, Merge.init) { OperationKind($0) == .merge }, revision: snapshot.revision)
        events.reset(to: try parsed(Self.eventsPrefix, ClusterEvent.init), revision: snapshot.revision)
        moveSettings.reset(to: try parsed(Self.moveSettingsKey, MoveSettings.init), revision: snapshot.revision)
        keys.reset(to: try parsed(Self.keysPrefix, AccessKey.init), revision: snapshot.revision)
        keyUses.reset(to: try parsed(Self.keyUsesPrefix, Self.milliseconds), revision: snapshot.revision)
    }

    /// Takes what a watch tells. An entry that cannot be read stays as it was known.
    /// - Returns: the problems with such entries.
    mutating func take(_ changes: [MetadataChange], revision: UInt64) -> [NeedletailError] {
        var problems: [NeedletailError] = []
        for change in changes {
            do throws(NeedletailError) { try take(change) } catch { problems.append(error) }
        }
        collections.advance(to: revision)
        coordinators.advance(to: revision)
        nodes.advance(to: revision)
        leader.advance(to: revision)
        backups.advance(to: revision)
        operations.advance(to: revision)
        splits.advance(to: revision)
        merges.advance(to: revision)
        events.advance(to: revision)
        moveSettings.advance(to: revision)
        keys.advance(to: revision)
        keyUses.advance(to: revision)
        return problems
    }

    private mutating func take(_ change: MetadataChange) throws(NeedletailError) {
        func take<Value>(
            _ prefix: String, into copy: inout MapCopy<Value>, _ parse: ([UInt8]) throws(NeedletailError) -> Value
        ) throws(NeedletailError) {
            guard change.key.hasPrefix(prefix) else { return }
            var value: Value?
            if let bytes = change.value { value = try parse(bytes) }
            copy.change(String(change.key.dropFirst(prefix.count)), to: value, revision: change.revision)
        }
        try take(Self.collectionsPrefix, into: &collections) { bytes throws(NeedletailError) in try CollectionEntry(encoded: bytes) }
        try take(Self.coordinatorsPrefix, into: &coordinators) { bytes throws(NeedletailError) in try CoordinatorEntry(encoded: bytes) }
        try take(Self.nodesPrefix, into: &nodes) { bytes throws(NeedletailError) in try NodeEntry(encoded: bytes) }
        try take(Self.leaderKey, into: &leader) { bytes throws(NeedletailError) in try LeaderEntry(encoded: bytes) }
        // Of one that was removed it is not told what it was.
        let kind = change.value.map(OperationKind.init)
        if kind == nil || kind == .backup {
            try take(Self.operationsPrefix, into: &backups) { bytes throws(NeedletailError) in try BackupOperation(encoded: bytes) }
        }
        if kind == nil || kind == .split { try take(Self.operationsPrefix, into: &splits) { bytes throws(NeedletailError) in try Split(encoded: bytes) } }
        if kind == nil || kind == .merge { try take(Self.operationsPrefix, into: &merges) { bytes throws(NeedletailError) in try Merge(encoded: bytes) } }
        if kind == nil || kind == .move { try take(Self.operationsPrefix, into: &operations) { bytes throws(NeedletailError) in try Move(encoded: bytes) } }
        try take(Self.eventsPrefix, into: &events) { bytes throws(NeedletailError) in try ClusterEvent(encoded: bytes) }
        try take(Self.moveSettingsKey, into: &moveSettings) { bytes throws(NeedletailError) in try MoveSettings(encoded: bytes) }
        try take(Self.keysPrefix, into: &keys) { bytes throws(NeedletailError) in try AccessKey(encoded: bytes) }
        try take(Self.keyUsesPrefix, into: &keyUses) { bytes throws(NeedletailError) in try Self.milliseconds(bytes) }
    }

    private static func milliseconds(_ bytes: [UInt8]) throws(NeedletailError) -> UInt64 {
        var reader = ByteReader(bytes)
        return try reader.u64()
    }
}

extension Coordinator {
    /// Keeps the copy of the metadata as the store has them, until cancelled. Returns at once when nobody else can change the store.
    /// - Parameter report: told of what keeps the copy from being complete; the work goes on.
    public func follow(report: @Sendable (NeedletailError) -> Void) async {
        if metadata.isExclusive { return }
        var last: NeedletailError?
        while !Task.isCancelled {
            do {
                try await takeNews(report)
                last = nil
            } catch {
                let failure = Self.wrap(error)
                if !Task.isCancelled, failure.message != last?.message { report(failure) }
                last = failure
                try? await Task.sleep(for: .milliseconds(500))
            }
        }
    }

    private func takeNews(_ report: @Sendable (NeedletailError) -> Void) async throws {
        for try await news in metadata.watch(prefix: "", after: state.withLock { $0.copy.revision }) {
            switch news {
            case .changes(let changes, let revision):
                for problem in state.withLock({ $0.take(changes, revision: revision) }) { report(problem) }
            case .compacted:
                let snapshot = try await metadata.entries(prefix: "")
                try state.withLock { try $0.copy.reset(to: snapshot) }
            }
        }
    }

    /// Returns when this coordinator's copy is as another one said it had made it, so that whoever asked here finds it here; or after a
    /// second: a copy may lag.
    func waitForCopy(_ deadline: Deadline?, _ isSo: (MetadataCopy) -> Bool) async {
        let patience = Deadline.after(.seconds(1))
        let end = deadline.map { min($0, patience) } ?? patience
        while !state.withLock({ isSo($0.copy) }), !end.isPast, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(2)) }
    }
}

extension Coordinator.State {
    /// The leader shows a collection when each of its replicas has said that it serves, so those of one that is new here do, whether
    /// or not their heartbeats have come to this coordinator yet.
    fileprivate mutating func take(_ changes: [MetadataChange], revision: UInt64) -> [NeedletailError] {
        let names = Set(changes.map(\.key).filter { $0.hasPrefix(MetadataCopy.collectionsPrefix) }.map { $0.dropFirst(MetadataCopy.collectionsPrefix.count) })
        let before = names.map { (name: String($0), entry: copy.collections.values[String($0)]) }
        let problems = copy.take(changes, revision: revision)
        for (name, former) in before {
            guard let entry = copy.collections.values[name], entry.state == .active else { continue }
            if let former, former.incarnation == entry.incarnation, former.state == .active { continue }
            for place in entry.shards {
                for node in place.inSync { membership.serves(entry.shardID(place), epoch: place.epoch, on: node) }
            }
        }
        return problems
    }
}
