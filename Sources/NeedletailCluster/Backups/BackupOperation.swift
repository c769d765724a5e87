public import NeedletailCore

/// A backup, a restore, or the removal of a backup, as the metadata keep it under `operations/ID` from its beginning on: whoever leads goes on
/// with it. What it does in a step may be done again; the change to the next step is made once.
public struct BackupOperation: Sendable, Hashable {
    public enum Step: UInt8, Sendable, CaseIterable {
        /// Backup: replicas store what they hold, and the manifest comes last.
        case storing = 1
        /// Restore: the backup is read, and places are found for its shards.
        case planning = 2
        /// The replicas are made from the backup's files.
        case filling = 3
        /// With another number of shards: every point is written to the new ones.
        case copying = 4
        /// Deletion: the manifest goes, then what no other backup needs.
        case removing = 5
        case done = 6
        case cancelled = 7
        case failed = 8

        public var hasEnded: Bool { self == .done || self == .cancelled || self == .failed }
    }

    /// How far a shard of the backup has been copied.
    public enum Cursor: Sendable, Hashable {
        case after(PointID)
        case complete
    }

    public struct Figures: Sendable, Hashable {
        public var progress: UInt64 = 0
        public var total: UInt64 = 0
        public var bytes: UInt64 = 0
        public var newBytes: UInt64 = 0
        public var heldMicroseconds: UInt64 = 0

        public init() {}
    }

    public var id: UInt64
    public var kind: BackupKind
    public var step: Step
    public var target: String
    public var name: String
    /// Backed up, or made.
    public var collection: String
    /// Of the restore; 0: as in the backup.
    public var shardCount: UInt32 = 0
    public var replicationFactor: UInt32 = 0
    /// Of the collection that is made; 0 before it is planned.
    public var incarnation = Incarnation(0)
    /// Of the collection that has the backup's own shards while points are copied; 0 without one.
    public var staging = Incarnation(0)
    /// By the number of the backup's shard.
    public var cursors: [UInt32: Cursor] = [:]
    /// Somebody asked for it not to be done.
    public var isCancelled = false
    /// Why it failed, or waits.
    public var problem = ""
    public var failure: NeedletailError.Code?
    public var figures = Figures()
    /// By the leader's clock, in milliseconds since 1970.
    public var createdMilliseconds: Int64
    public var changedMilliseconds: Int64

    public init(id: UInt64, kind: BackupKind, target: String, name: String, collection: String, nowMilliseconds: Int64) {
        self.id = id
        self.kind = kind
        step =
            switch kind {
            case .backup: .storing
            case .restore: .planning
            case .deletion: .removing
            }
        self.target = target
        self.name = name
        self.collection = collection
        (createdMilliseconds, changedMilliseconds) = (nowMilliseconds, nowMilliseconds)
    }

    public var key: String { Incarnation(id).description }

    /// Under this name in the metadata is the collection with the backup's own shards.
    public var stagingName: String { "restore.\(key)" }

    /// The operation when it is about to be undone, for this reason or because somebody asked for that.
    public func undone(_ reason: NeedletailError?) -> BackupOperation {
        var next = self
        next.isCancelled = true
        if let reason { (next.problem, next.failure) = (reason.message, reason.code) }
        return next
    }

    /// The operation when nothing is left of it.
    public func ended(_ reason: NeedletailError?) -> BackupOperation {
        var next = undone(reason)
        next.step = next.failure == nil ? .cancelled : .failed
        next.cursors = [:]
        return next
    }

    /// The operation when it is done.
    public var done: BackupOperation {
        var next = self
        (next.step, next.problem, next.cursors) = (.done, "", [:])
        return next
    }

    /// Whether the two must not run at once: one removes what the other counts on.
    public func excludes(_ other: BackupOperation) -> Bool {
        target == other.target && id != other.id && (kind == .deletion || other.kind == .deletion)
    }
}

extension BackupOperation {
    private static let format: UInt8 = 1

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.u8(OperationKind.backup.rawValue)
        writer.u8(Self.format)
        writer.u64(id)
        writer.u8(kind.rawValue)
        writer.u8(step.rawValue)
        for text in [target, name, collection, problem] { writer.string(text) }
        writer.u32(shardCount)
        writer.u32(replicationFactor)
        writer.u64(incarnation.value)
        writer.u64(staging.value)
        writer.varint(UInt64(cursors.count))
        for (shard, cursor) in cursors.sorted(by: { $0.key < $1.key }) {
            writer.u32(shard)
            switch cursor {
            case .complete: writer.bytes([])
            case .after(let id): writer.bytes(id.orderedKey)
            }
        }
        writer.u8(isCancelled ? 1 : 0)
        writer.u8(UInt8(failure?.rawValue ?? 0))
        for value in [figures.progress, figures.total, figures.bytes, figures.newBytes, figures.heldMicroseconds] { writer.u64(value) }
        writer.u64(UInt64(bitPattern: createdMilliseconds))
        writer.u64(UInt64(bitPattern: changedMilliseconds))
        return writer.bytes
    }

    /// - Throws: `dataLoss` for damaged bytes, `unimplemented` for those of a newer version.
    public init(encoded bytes: [UInt8]) throws(NeedletailError) {
        func damaged(_ what: String) -> NeedletailError { NeedletailError(.dataLoss, "an operation is damaged: unknown \(what)") }
        var reader = ByteReader(bytes)
        let (envelope, format) = (try reader.u8(), try reader.u8())
        guard envelope == OperationKind.backup.rawValue, format == Self.format else {
            throw NeedletailError(
                .unimplemented, "an operation has kind \(envelope) and format \(format), which this build does not know; upgrade the coordinator")
        }
        let id = try reader.u64()
        guard let kind = BackupKind(rawValue: try reader.u8()) else { throw damaged("kind") }
        guard let step = Step(rawValue: try reader.u8()) else { throw damaged("step") }
        let (target, name, collection, problem) = (try reader.string(), try reader.string(), try reader.string(), try reader.string())
        self.init(id: id, kind: kind, target: target, name: name, collection: collection, nowMilliseconds: 0)
        (self.step, self.problem) = (step, problem)
        (shardCount, replicationFactor) = (try reader.u32(), try reader.u32())
        (incarnation, staging) = (Incarnation(try reader.u64()), Incarnation(try reader.u64()))
        for _ in 0..<(try reader.count(minimumItemBytes: 5)) {
            let (shard, key) = (try reader.u32(), try reader.bytes())
            if key.isEmpty {
                cursors[shard] = .complete
            } else {
                guard let point = PointID(orderedKey: key) else { throw damaged("cursor") }
                cursors[shard] = .after(point)
            }
        }
        isCancelled = try reader.u8() != 0
        failure = NeedletailError.Code(rawValue: Int(try reader.u8()))
        (figures.progress, figures.total) = (try reader.u64(), try reader.u64())
        (figures.bytes, figures.newBytes, figures.heldMicroseconds) = (try reader.u64(), try reader.u64(), try reader.u64())
        createdMilliseconds = Int64(bitPattern: try reader.u64())
        changedMilliseconds = Int64(bitPattern: try reader.u64())
    }
}

extension BackupOperation.Step {
    public var name: String {
        switch self {
        case .storing: "storing"
        case .planning: "planning"
        case .filling: "filling"
        case .copying: "copying"
        case .removing: "removing"
        case .done: "done"
        case .cancelled: "cancelled"
        case .failed: "failed"
        }
    }
}
