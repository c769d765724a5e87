public import NeedletailCore

/// A coordinator, as the others find it in the metadata under `coordinators/ID`.
public struct CoordinatorEntry: Sendable, Hashable {
    public var id: UInt64
    /// host:port
    public var address: String

    public init(id: UInt64, address: String) {
        self.id = id
        self.address = address
    }
}

/// The coordinator that leads, under `leader`. The revision at which the entry was made is the leader's term.
public struct LeaderEntry: Sendable, Hashable {
    public var coordinator: CoordinatorEntry
    /// The lease to which the entry is bound: a coordinator that had to take another one no longer leads.
    public var lease: Int64

    public init(coordinator: CoordinatorEntry, lease: Int64) {
        self.coordinator = coordinator
        self.lease = lease
    }
}

/// A shard worker that a leader has met, under `nodes/ID`: how it is, heartbeats say.
public struct NodeEntry: Sendable, Hashable {
    public var id: NodeID
    /// host:port
    public var address: String
    public var zone: String
    public var weight: Double
    /// 0: not known.
    public var memoryLimitBytes: UInt64
    public var diskLimitBytes: UInt64
    /// The operator wants it empty: its replicas go elsewhere, none comes.
    public var isDrained: Bool

    public init(
        id: NodeID, address: String, zone: String = "", weight: Double = 1, memoryLimitBytes: UInt64 = 0, diskLimitBytes: UInt64 = 0, isDrained: Bool = false
    ) {
        self.id = id
        self.address = address
        self.zone = zone
        self.weight = weight
        self.memoryLimitBytes = memoryLimitBytes
        self.diskLimitBytes = diskLimitBytes
        self.isDrained = isDrained
    }

    public init(id: NodeID, address: String, facts: NodeFacts, isDrained: Bool) {
        self.init(
            id: id, address: address, zone: facts.zone, weight: facts.weight, memoryLimitBytes: facts.memoryLimitBytes, diskLimitBytes: facts.diskLimitBytes,
            isDrained: isDrained)
    }

    public var facts: NodeFacts { NodeFacts(zone: zone, weight: weight, memoryLimitBytes: memoryLimitBytes, diskLimitBytes: diskLimitBytes) }
}

private let format: UInt8 = 1

private func begin(_ bytes: [UInt8], _ what: String) throws(NeedletailError) -> ByteReader {
    var reader = ByteReader(bytes)
    let version = try reader.u8()
    guard version == format else {
        throw NeedletailError(.unimplemented, "the entry of a \(what) has format \(version), this build reads \(format); upgrade the coordinator")
    }
    return reader
}

// Encodings: a format version, then the fields in order. What follows them belongs to later versions and is passed over.
extension CoordinatorEntry {
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(format)
        writer.u64(id)
        writer.string(address)
        return writer.bytes
    }

    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = try begin(bytes, "coordinator")
        self.init(id: try reader.u64(), address: try reader.string())
    }
}

extension LeaderEntry {
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(format)
        writer.u64(coordinator.id)
        writer.string(coordinator.address)
        writer.u64(UInt64(bitPattern: lease))
        return writer.bytes
    }

    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = try begin(bytes, "leader")
        let coordinator = CoordinatorEntry(id: try reader.u64(), address: try reader.string())
        self.init(coordinator: coordinator, lease: Int64(bitPattern: try reader.u64()))
    }
}

extension NodeEntry {
    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(format)
        writer.u64(id.value)
        writer.string(address)
        writer.string(zone)
        writer.f64(weight)
        writer.u64(memoryLimitBytes)
        writer.u64(diskLimitBytes)
        writer.u8(isDrained ? 1 : 0)
        return writer.bytes
    }

    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        var reader = try begin(bytes, "shard worker")
        self.init(id: NodeID(try reader.u64()), address: try reader.string())
        // Earlier versions knew no more.
        if (try? reader.expectEnd()) != nil { return }
        zone = try reader.string()
        weight = try reader.f64()
        memoryLimitBytes = try reader.u64()
        diskLimitBytes = try reader.u64()
        isDrained = try reader.u8() != 0
    }
}
