/// What a user declares of a collection, and what the cluster made of it.
public struct CollectionSpec: Sendable, Hashable {
    public var name: String
    public var fields: [VectorField]
    /// 1 … 256.
    public var shardCount: Int
    public var replicationFactor: Int
    public var durability: Durability
    /// Of writes that name none.
    public var writeConsistency: WriteConsistency
    /// A write is refused while fewer replicas than this are in sync. 1 … `replicationFactor`.
    public var minInSync: Int

    public init(
        name: String, fields: [VectorField], shardCount: Int = 1, replicationFactor: Int = 1, durability: Durability = .everyCommit,
        writeConsistency: WriteConsistency = .allInSync, minInSync: Int = 1
    ) {
        self.name = name
        self.fields = fields
        self.shardCount = shardCount
        self.replicationFactor = replicationFactor
        self.durability = durability
        self.writeConsistency = writeConsistency
        self.minInSync = minInSync
    }

    /// - Throws: `invalidArgument` naming what is wrong and the range that is right.
    public func validate() throws(NeedletailError) {
        guard Self.isValid(name: name) else {
            throw NeedletailError(
                .invalidArgument,
                "a collection's name has 1 to \(Limits.nameBytes) letters, digits, '.', '_' or '-' and begins with a letter or digit; got \"\(name)\"")
        }
        guard (1...Limits.fieldsPerCollection).contains(fields.count) else {
            throw NeedletailError(
                .invalidArgument, "a collection has 1 to \(Limits.fieldsPerCollection) vector fields, not \(fields.count)")
        }
        for field in fields { try field.validate() }
        guard Set(fields.map(\.name)).count == fields.count else {
            throw NeedletailError(.invalidArgument, "two vector fields have the same name; give each its own")
        }
        guard (1...Limits.shardsPerCollection).contains(shardCount) else {
            throw NeedletailError(.invalidArgument, "shard_count must be 1 to \(Limits.shardsPerCollection), not \(shardCount)")
        }
        guard (1...Limits.replicasPerShard).contains(replicationFactor) else {
            throw NeedletailError(.invalidArgument, "replication_factor must be 1 to \(Limits.replicasPerShard), not \(replicationFactor)")
        }
        guard (1...replicationFactor).contains(minInSync) else {
            throw NeedletailError(
                .invalidArgument, "min_in_sync must be 1 to replication_factor, which is \(replicationFactor), not \(minInSync)")
        }
    }

    public static func isValid(name: String) -> Bool {
        func isWord(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
            default: false
            }
        }
        guard (1...Limits.nameBytes).contains(name.utf8.count), let first = name.utf8.first, isWord(first) else { return false }
        return name.utf8.allSatisfy { isWord($0) || [UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-")].contains($0) }
    }
}

/// When a write counts as safe.
public enum Durability: Sendable, Hashable {
    /// Acknowledged after the log is on disk (fdatasync, shared by all writes that wait).
    case everyCommit
    /// Acknowledged after the log is with the operating system; synced every `milliseconds`. A crash of the process loses nothing, a
    /// crash of the machine may lose the writes of the last interval.
    case interval(milliseconds: Int)
}

/// How many replicas have a write on disk when it is acknowledged. What cannot be met fails; it is never lowered to those that are alive.
public enum WriteConsistency: UInt8, Sendable, Hashable, CaseIterable {
    /// Every member of the in-sync set: no later primary can lack the write.
    case allInSync = 0
    /// More than half of the in-sync set, the primary among them. Lost when all that have it are lost at once.
    case majority = 1
    /// The primary. Lost with it unless it comes back before another one takes over.
    case primary = 2
}

/// One life of a collection. A collection deleted and made again under its old name has another incarnation, so that a late message
/// for the old one can never touch the new one.
public struct Incarnation: Sendable, Hashable, CustomStringConvertible {
    public var value: UInt64
    public init(_ value: UInt64) { self.value = value }
    public var description: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

/// A contiguous range of the 64-bit hash space, both ends included.
public struct HashRange: Sendable, Hashable {
    public var first: UInt64
    public var last: UInt64

    public init(first: UInt64, last: UInt64) {
        precondition(first <= last, "a hash range runs upwards")
        self.first = first
        self.last = last
    }

    public func contains(_ hash: UInt64) -> Bool { first <= hash && hash <= last }

    /// The whole space cut into `count` ranges whose sizes differ by at most one.
    public static func dividing(into count: Int) -> [HashRange] {
        precondition(count > 0)
        // The start of range i is floor(i × 2^64 / count), with the 128-bit product's high word as the quotient's numerator.
        func start(_ index: Int) -> UInt64 {
            UInt64(count).dividingFullWidth((UInt64(index), 0)).quotient
        }
        return (0..<count).map { HashRange(first: start($0), last: $0 + 1 == count ? .max : start($0 + 1) - 1) }
    }
}

/// A shard: which collection's life, and which of its shards. Shard numbers are never reused within an incarnation.
public struct ShardID: Sendable, Hashable, Comparable, CustomStringConvertible {
    public var incarnation: Incarnation
    public var number: UInt32

    public init(incarnation: Incarnation, number: UInt32) {
        self.incarnation = incarnation
        self.number = number
    }

    public var description: String { "\(incarnation)/\(number)" }

    public static func < (left: ShardID, right: ShardID) -> Bool {
        (left.incarnation.value, left.number) < (right.incarnation.value, right.number)
    }
}
