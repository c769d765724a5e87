import NeedletailCore

/// How a log behaves; the defaults suit a server.
public struct LogConfiguration: Sendable {
    public enum SyncMode: Sendable, Equatable {
        /// `commit()` returns after an fdatasync: what it returns from survives a power cut.
        case everyCommit
        /// `commit()` only writes (survives a crash of the process); the owner calls `sync()` this often. A power cut loses at most
        /// that much.
        case interval(Duration)
    }

    public var syncMode: SyncMode = .everyCommit
    /// A segment that reached this size is followed by a new one at the next commit.
    public var segmentBytes = 64 << 20
    /// Free space on the file system before a log that ran into a full disk resumes.
    public var resumeFreeBytes: UInt64 = 64 << 20
    /// The least time between two attempts to resume.
    public var retryInterval: Duration = .seconds(1)

    public init() {}
}

/// What opening a log found.
public struct LogRecovery: Sendable, Equatable {
    /// A torn end that was cut off: never acknowledged bytes of a write that was under way at a crash.
    public struct Cut: Sendable, Equatable {
        public let path: String
        public let offset: Int
        public let bytesCut: Int
        public let reason: String
    }

    public var cut: Cut?
    public var recordCount = 0
    public var segmentCount = 0
}

/// What `ReplicaLog.repair` took out of a log.
public struct LogRepair: Sendable, Equatable {
    /// The last sequence still in the log; 0 when none is.
    public var lastSequence: UInt64 = 0
    /// Where the log was cut, or nil when it was whole.
    public var cutPath: String?
    public var cutOffset = 0
    /// How much was moved to `.damaged` files.
    public var bytesRemoved = 0
    public var damagedPaths: [String] = []
    public var reason = ""
}

/// One segment of an open log.
struct LogSegment: Sendable {
    /// Where a record begins, for starting a replay in the middle.
    struct Mark {
        let sequence: UInt64
        let offset: Int
    }

    static let markEveryBytes = 256 << 10

    let firstSequence: UInt64
    let path: String
    let salt: UInt32
    var lastSequence: UInt64
    var sizeBytes: Int
    private(set) var marks: [Mark] = []

    init(firstSequence: UInt64, path: String, salt: UInt32) {
        self.firstSequence = firstSequence
        self.path = path
        self.salt = salt
        lastSequence = firstSequence &- 1
        sizeBytes = LogFormat.headerBytes
    }

    var isEmpty: Bool { lastSequence &+ 1 == firstSequence }

    mutating func mark(sequence: UInt64, offset: Int) {
        if offset - (marks.last?.offset ?? 0) >= Self.markEveryBytes { marks.append(Mark(sequence: sequence, offset: offset)) }
    }

    mutating func forgetMarks(from offset: Int) { marks.removeAll { $0.offset >= offset } }

    /// A record boundary at or before `sequence`, as near as is known.
    func start(for sequence: UInt64) -> Mark {
        marks.last { $0.sequence <= sequence } ?? Mark(sequence: firstSequence, offset: LogFormat.headerBytes)
    }
}

extension [LogEpoch] {
    /// Takes note of a record that follows those known so far.
    mutating func note(epoch: UInt64, sequence: UInt64) {
        if last?.epoch != epoch { append(LogEpoch(epoch: epoch, firstSequence: sequence)) }
    }
}
