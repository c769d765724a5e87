public import NeedletailCore

/// Something the leader did or saw, for people. The metadata keep the last ones, under `events/N`.
public struct ClusterEvent: Sendable, Hashable {
    public var number: UInt64
    /// By the leader's clock, in milliseconds since 1970.
    public var milliseconds: Int64
    /// "move", "failover", "in-sync", "node", "operator".
    public var kind: String
    public var message: String

    /// How many the metadata keep.
    public static let kept: UInt64 = 256

    public init(number: UInt64, milliseconds: Int64, kind: String, message: String) {
        self.number = number
        self.milliseconds = milliseconds
        self.kind = kind
        self.message = message
    }

    /// Of the ring's place that it takes.
    public var key: String { Incarnation(number % Self.kept).description }

    private static let format: UInt8 = 1

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(Self.format)
        writer.u64(number)
        writer.u64(UInt64(bitPattern: milliseconds))
        writer.string(kind)
        writer.string(message)
        return writer.bytes
    }

    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        let format = try reader.u8()
        guard format == Self.format else {
            throw NeedletailError(.unimplemented, "an event has format \(format), this build reads \(Self.format); upgrade the coordinator")
        }
        self.init(
            number: try reader.u64(), milliseconds: Int64(bitPattern: try reader.u64()), kind: try reader.string(), message: try reader.string())
    }
}

/// What the operator wants of moves as a whole, under `moves`.
public struct MoveSettings: Sendable, Hashable {
    /// No move begins or takes a further step.
    public var isPaused: Bool

    public init(isPaused: Bool = false) { self.isPaused = isPaused }

    public var encoded: [UInt8] { [1, isPaused ? 1 : 0] }

    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = ByteReader(bytes)
        let format = try reader.u8()
        guard format == 1 else {
            throw NeedletailError(.unimplemented, "the settings of moves have format \(format), this build reads 1; upgrade the coordinator")
        }
        isPaused = try reader.u8() != 0
    }
}
