/// Which replicas may answer a read.
public enum ReadConsistency: UInt8, Sendable, Hashable, CaseIterable {
    /// Any that is in sync. It may lack the last moments' writes.
    case anyInSync = 0
    /// The primary of each shard: every acknowledged write is in the answer.
    case primary = 1
}

public struct ReadOptions: Sendable, Equatable {
    public var consistency: ReadConsistency
    /// The answer is of a state that is no older than this.
    public var session: Session?

    public init(consistency: ReadConsistency = .anyInSync, session: Session? = nil) {
        self.consistency = consistency
        self.session = session
    }

    /// What the replica of a shard must be or have to answer. A session of another life of the collection's name says nothing.
    public func condition(_ shard: ShardID) -> ReadCondition {
        let seen = session?.incarnation == shard.incarnation ? session?.sequences[shard.number] : nil
        return ReadCondition(isPrimary: consistency == .primary, sequence: seen ?? 0)
    }
}

/// What a replica must be or have to answer a read.
public struct ReadCondition: Sendable, Hashable {
    /// Only as the primary of the present epoch.
    public var isPrimary: Bool
    /// Every write up to here is to be visible.
    public var sequence: UInt64

    public init(isPrimary: Bool = false, sequence: UInt64 = 0) {
        self.isPrimary = isPrimary
        self.sequence = sequence
    }

    /// Whether any in-sync replica may answer at once.
    public var isNone: Bool { !isPrimary && sequence == 0 }
}

/// How much of a collection somebody has seen: by shard the highest sequence number. Clients keep it as bytes.
public struct Session: Sendable, Hashable {
    public var incarnation: Incarnation
    /// Shard number → sequence number.
    public var sequences: [UInt32: UInt64]

    private static let format: UInt8 = 1

    public init(incarnation: Incarnation, sequences: [UInt32: UInt64] = [:]) {
        self.incarnation = incarnation
        self.sequences = sequences
    }

    /// Format, incarnation, then pairs of shard number and sequence number.
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(Self.format)
        writer.u64(incarnation.value)
        writer.varint(UInt64(sequences.count))
        for (shard, sequence) in sequences.sorted(by: { $0.key < $1.key }) {
            writer.varint(UInt64(shard))
            writer.varint(sequence)
        }
        return writer.bytes
    }

    /// - Throws: `invalidArgument` for bytes that are no session.
    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        do throws(NeedletailError) {
            var reader = ByteReader(bytes)
            guard try reader.u8() == Self.format else { throw NeedletailError(.dataLoss, "its format is unknown to this version") }
            incarnation = Incarnation(try reader.u64())
            sequences = [:]
            for _ in 0..<(try reader.count(minimumItemBytes: 2)) {
                guard let shard = UInt32(exactly: try reader.varint()) else { throw NeedletailError(.dataLoss, "a shard number is too large") }
                sequences[shard] = try reader.varint()
            }
            try reader.expectEnd()
        } catch {
            throw NeedletailError(.invalidArgument, "the session cannot be read: \(error.message); send one from an earlier answer, unchanged, or none")
        }
    }

    /// Takes in what was seen besides.
    public mutating func merge(_ other: Session) {
        if other.incarnation == incarnation { sequences.merge(other.sequences) { max($0, $1) } } else { self = other }
    }
}

extension OperationID {
    /// 16 bytes, big-endian.
    public var bytes: [UInt8] {
        [high, low].flatMap { word in (0..<8).map { UInt8(truncatingIfNeeded: word >> UInt64(56 - 8 * $0)) } }
    }

    /// - Throws: `invalidArgument` unless there are 16 bytes that are not all 0.
    public init(bytes: [UInt8]) throws(NeedletailError) {
        func word(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reduce(0) { $0 << 8 | UInt64($1) } }
        guard bytes.count == 16, bytes.contains(where: { $0 != 0 }) else {
            throw NeedletailError(.invalidArgument, "operation_id has 16 random bytes, not \(bytes.count) or zeros only")
        }
        self.init(high: word(bytes[..<8]), low: word(bytes[8...]))
    }
}
