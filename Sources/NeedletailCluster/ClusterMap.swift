public import NeedletailCore

/// Where one shard lives. Changed by compare-and-swap in the metadata store only.
public struct ShardPlace: Sendable, Hashable {
    public var number: UInt32
    public var range: HashRange
    /// The node that holds the primary replica; a member of `inSync`.
    public var primary: NodeID
    /// Grows each time the primary changes.
    public var epoch: UInt64
    /// The nodes that hold a copy or are about to, in order of their ids.
    public var replicas: [NodeID]
    /// Those of `replicas` that have every acknowledged write: a future primary comes from among them. In order of their ids.
    public var inSync: [NodeID]
    /// Grows with each change of this place. Whoever wants to change it names the version that it starts from, so that of all changes
    /// wanted from one version at most one is made, and a late one never finds the sets again as it knew them.
    public var version: UInt64
    /// The shards that it is a part of, by their numbers: its records continue theirs.
    public var ancestors: [UInt32] = []

    /// - Parameters:
    ///   - replicas: the primary alone when nil.
    ///   - inSync: all replicas when nil.
    public init(
        number: UInt32, range: HashRange, primary: NodeID, epoch: UInt64, replicas: [NodeID]? = nil, inSync: [NodeID]? = nil,
        version: UInt64 = 1
    ) {
        self.number = number
        self.range = range
        self.primary = primary
        self.epoch = epoch
        self.replicas = (replicas ?? [primary]).sorted()
        self.inSync = (inSync ?? self.replicas).sorted()
        self.version = version
    }

    /// Whether the sets agree with each other, upon which replication relies.
    var isSound: Bool {
        Set(replicas).count == replicas.count && inSync.contains(primary) && Set(inSync).count == inSync.count && inSync.allSatisfy(replicas.contains)
    }
}

/// A collection as the metadata store knows it.
public struct CollectionEntry: Sendable, Hashable {
    /// A collection is visible to clients while `active`. One that is being made or removed survives a crash of the coordinator in
    /// that state, and the next one finishes the work.
    public enum State: UInt8, Sendable {
        case creating = 1
        case active = 2
        case deleting = 3
        /// Being made from a backup: an operation under `operations/ID` goes on with it, or has it removed.
        case restoring = 4
    }

    public var spec: CollectionSpec
    public var incarnation: Incarnation
    public var state: State
    /// In order of their ranges, which tile the hash space.
    public var shards: [ShardPlace]
    /// Of the fields whose codecs are trained, at most one each.
    public var models: [FieldModel] = []
    /// Greater than every shard number that was ever used or set aside for a split.
    public var nextNumber: UInt32

    public init(spec: CollectionSpec, incarnation: Incarnation, state: State, shards: [ShardPlace]) {
        self.spec = spec
        self.incarnation = incarnation
        self.state = state
        self.shards = shards
        nextNumber = Self.numberAfter(shards)
    }

    private static func numberAfter(_ shards: [ShardPlace]) -> UInt32 { (shards.map(\.number).max() ?? 0) + 1 }

    public func shardID(_ place: ShardPlace) -> ShardID { ShardID(incarnation: incarnation, number: place.number) }

    /// The shard that holds this id: ranges are sorted, so a binary search.
    public func place(of id: PointID) -> ShardPlace {
        let hash = id.placementHash
        var (low, high) = (0, shards.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if shards[middle].range.last < hash { low = middle + 1 } else { high = middle }
        }
        return shards[low]
    }

    /// A session that names shards which have been split since says as much of their parts. A session of another life says nothing.
    public func adapted(_ read: ReadOptions) -> ReadOptions {
        guard var session = read.session, session.incarnation == incarnation else { return read }
        for shard in shards {
            let seen = shard.ancestors.compactMap { session.sequences[$0] }.max() ?? 0
            if seen > session.sequences[shard.number] ?? 0 { session.sequences[shard.number] = seen }
        }
        var adapted = read
        adapted.session = session
        return adapted
    }

    /// Whether a session names shards that are not here: this map is older than it, or the session is made up.
    public func isOlder(than session: Session?) -> Bool {
        guard let session, session.incarnation == incarnation else { return false }
        let known = Set(shards.map(\.number) + shards.flatMap(\.ancestors))
        return !session.sequences.keys.allSatisfy(known.contains)
    }

    public func model(field: Int) -> FieldModel? { models.first { $0.field == field } }

    /// - Parameter address: that of a node, as far as it is known.
    public func assignment(_ place: ShardPlace, address: (NodeID) -> String?) -> ReplicaAssignment {
        ReplicaAssignment(
            shard: shardID(place), range: place.range, epoch: place.epoch, collection: spec, primary: place.primary,
            members: place.replicas.map { .init(node: $0, address: address($0) ?? "", isInSync: place.inSync.contains($0)) },
            version: place.version)
    }

    /// Checks that the shards tile the hash space, upon which routing relies.
    /// - Throws: `dataLoss` when they do not.
    public func validate() throws(NeedletailError) {
        var next: UInt64? = 0
        for shard in shards {
            guard shard.range.first == next, shard.isSound else { throw damaged }
            next = shard.range.last == .max ? nil : shard.range.last + 1
        }
        guard next == nil else { throw damaged }
    }

    private var damaged: NeedletailError {
        NeedletailError(
            .dataLoss,
            "the shard map of collection \"\(spec.name)\" is damaged: its ranges do not tile the hash space or its replicas contradict each other; "
                + "put the coordinator's data folder back from a copy")
    }
}

extension CollectionEntry {
    /// That of the collection's definition in it: from 2 on with codec models, from 3 on with replicas beside the primary. Beyond that 4, with
    /// ancestors, for collections that were split only: a coordinator of the version before reads the others while a cluster is upgraded.
    private static let newest: UInt8 = 4

    private var version: UInt8 {
        shards.allSatisfy(\.ancestors.isEmpty) && nextNumber == Self.numberAfter(shards) ? CollectionSpec.format : Self.newest
    }

    /// The form in which the metadata store keeps it.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        let version = version
        writer.u8(version)
        writer.u64(incarnation.value)
        writer.u8(state.rawValue)
        spec.encode(to: &writer)
        writer.varint(UInt64(shards.count))
        for shard in shards {
            writer.u32(shard.number)
            writer.u64(shard.range.first)
            writer.u64(shard.range.last)
            writer.u64(shard.primary.value)
            writer.u64(shard.epoch)
            writer.varint(UInt64(shard.replicas.count))
            for node in shard.replicas {
                writer.u64(node.value)
                writer.u8(shard.inSync.contains(node) ? 1 : 0)
            }
            writer.u64(shard.version)
            guard version >= 4 else { continue }
            writer.varint(UInt64(shard.ancestors.count))
            for ancestor in shard.ancestors { writer.u32(ancestor) }
        }
        writer.varint(UInt64(models.count))
        for model in models { model.encode(to: &writer) }
        if version >= 4 { writer.u32(nextNumber) }
        return writer.bytes
    }

    /// - Throws: `dataLoss` when the bytes are damaged, `unimplemented` when a newer version wrote them.
    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        let version = try reader.u8()
        guard (1...Self.newest).contains(version) else {
            throw NeedletailError(.unimplemented, "collection metadata have format \(version), this build reads 1 to \(Self.newest); upgrade the coordinator")
        }
        incarnation = Incarnation(try reader.u64())
        guard let state = State(rawValue: try reader.u8()) else { throw NeedletailError(.dataLoss, "collection metadata are damaged: unknown state") }
        self.state = state
        spec = try CollectionSpec(from: &reader, format: min(version, CollectionSpec.format))
        (shards, nextNumber) = ([], 0)
        for _ in 0..<(try reader.count()) {
            let number = try reader.u32()
            let (first, last) = (try reader.u64(), try reader.u64())
            guard first <= last else { throw NeedletailError(.dataLoss, "collection metadata are damaged: a hash range runs backwards") }
            var place = ShardPlace(
                number: number, range: HashRange(first: first, last: last), primary: NodeID(try reader.u64()), epoch: try reader.u64())
            if version >= 3 {
                (place.replicas, place.inSync) = ([], [])
                for _ in 0..<(try reader.count(minimumItemBytes: 9)) {
                    let node = NodeID(try reader.u64())
                    place.replicas.append(node)
                    if try reader.u8() != 0 { place.inSync.append(node) }
                }
                place.version = try reader.u64()
            }
            if version >= 4 { for _ in 0..<(try reader.count(minimumItemBytes: 4)) { place.ancestors.append(try reader.u32()) } }
            shards.append(place)
        }
        if version >= 2 { for _ in 0..<(try reader.count()) { models.append(try FieldModel(from: &reader)) } }
        nextNumber = version >= 4 ? try reader.u32() : Self.numberAfter(shards)
        try reader.expectEnd()
        guard models.allSatisfy({ spec.fields.indices.contains($0.field) }) else {
            throw NeedletailError(.dataLoss, "collection metadata are damaged: a codec model is of no field")
        }
        try validate()
    }
}
